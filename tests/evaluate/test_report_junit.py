"""JUnit XML, in the shape that Jenkins' xUnit plugin publishes as junit-10.xsd."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from locum.evaluate.answers import Answer
from locum.evaluate.junit import junit_report
from locum.evaluate.result import EvaluationResult

Made = Callable[..., tuple[EvaluationResult, list[Answer]]]
# By junit-10.xsd: the attributes that an element may have, and its children in their order.
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id"},
    "property": {"name", "value"},
    "testcase": {"name", "assertions", "time", "classname", "status"},
    "failure": {"type", "message"},
    "properties": set(),
    "system-out": set(),
}
CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase"],
    "properties": ["property"],
    "testcase": ["failure", "system-out"],
}


def require_shape(element: ElementTree.Element) -> None:
    assert element.attrib.keys() <= ATTRIBUTES[element.tag]
    order = [CHILDREN[element.tag].index(child.tag) for child in element]
    assert order == sorted(order)
    for child in element:
        require_shape(child)


def test_every_check_is_a_test_case_and_the_counts_are_right(made: Made) -> None:
    passed, failed = made()[0], made({"version": 0.1, "base": 0.5})[0]
    root = ElementTree.fromstring(junit_report([passed, failed]))
    require_shape(root)
    for suite, result in zip(root.iter("testsuite"), (passed, failed), strict=True):
        cases = suite.findall("testcase")
        assert len(cases) == int(suite.get("tests", "")) == len(result.checks)
        broken = [check.reason for check in result.checks if not check.met]
        assert [failure.get("message") for failure in suite.iter("failure")] == broken
        assert int(suite.get("failures", "")) == len(broken)
    assert int(root.get("failures", "")) > 0
    assert root.get("tests") == str(len(passed.checks) + len(failed.checks))


def test_names_of_cases_are_unique_and_the_same_from_run_to_run(made: Made) -> None:
    named = []
    for shares in ({"version": 0.7, "base": 0.1}, {"version": 0.2, "base": 0.5}):
        root = ElementTree.fromstring(junit_report([made(shares)[0]]))
        named.append([(case.get("classname"), case.get("name")) for case in root.iter("testcase")])
        assert len(set(named[-1])) == len(named[-1])
    assert named[0] == named[1]


def test_what_cannot_be_told_is_a_failure_that_says_so(made: Made) -> None:
    result, _ = made()
    unclear = [check.model_copy(update={"status": "unclear"}) for check in result.checks]
    root = ElementTree.fromstring(junit_report([result.model_copy(update={"checks": unclear})]))
    assert {failure.get("type") for failure in root.iter("failure")} == {"not enough evidence"}
    assert len(list(root.iter("failure"))) == len(unclear)


def test_properties_tell_for_exactly_what_the_checks_were_made(made: Made) -> None:
    result, _ = made()
    root = ElementTree.fromstring(junit_report([result]))
    properties = {each.get("name"): each.get("value") for each in root.iter("property")}
    assert properties["version_digest"] == result.version_digest
    assert properties["suite_digest"] == result.suite_digest
    assert properties["status"] == "passed"
    assert float(properties["score"] or "") == round(result.score.mean, 6)


def test_a_reason_with_controls_and_markup_stays_well_formed(made: Made) -> None:
    result, _ = made({"version": 0.1, "base": 0.5})
    checks = [check.model_copy(update={"reason": "<b>\x00\x1b]]>&\ufffe"}) for check in result.checks]
    root = ElementTree.fromstring(junit_report([result.model_copy(update={"checks": checks})]))
    assert next(root.iter("failure")).get("message") == "<b>␀␛]]>&[U+FFFE]"
