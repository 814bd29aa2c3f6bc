"""JUnit XML: every check of the gate as a test case, for the test reports of Jenkins, GitLab, GitHub and others.

The format is the one that Jenkins' xUnit plugin publishes as `junit-10.xsd`: testsuites > testsuite > testcase, with
`failure` in a case that did not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from locum.evaluate.gate import Check
from locum.evaluate.result import EvaluationResult
from locum.evaluate.visible import visible


def junit_report(results: Sequence[EvaluationResult]) -> str:
    """One test suite for each evaluation, one test case for each check of its gate.

    A check that cannot be told is a failure of the type `not enough evidence`: nothing may take it for a pass.
    """
    root = ElementTree.Element(
        "testsuites",
        name="locum",
        tests=str(sum(len(result.checks) for result in results)),
        failures=str(sum(_failures(result) for result in results)),
        errors="0",
    )
    for result in results:
        root.append(_suite(result))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(result: EvaluationResult) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite",
        name=visible(f"{result.version} on {result.suite}"),
        tests=str(len(result.checks)),
        failures=str(_failures(result)),
        errors="0",
        skipped="0",
        time="0",
        timestamp=result.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(result).items():
        ElementTree.SubElement(properties, "property", name=name, value=visible(value))
    names: dict[str, int] = {}
    for check in result.checks:
        names[check.kind] = names.get(check.kind, 0) + 1
        suite.append(_case(result, check, names[check.kind]))
    return suite


def _case(result: EvaluationResult, check: Check, number: int) -> ElementTree.Element:
    """Test reports follow a case by its name from run to run, so that no figure is in it."""
    name = check.kind if number == 1 else f"{check.kind} {number}"
    case = ElementTree.Element(
        "testcase", classname=visible(f"locum.{result.domain}.{result.suite}"), name=name, time="0"
    )
    if check.met:
        ElementTree.SubElement(case, "system-out").text = visible(check.reason)
        return case
    kind = "missed" if check.status == "missed" else "not enough evidence"
    failure = ElementTree.SubElement(case, "failure", message=visible(check.reason), type=kind)
    failure.text = visible(f"{check.reason}\n{result.command}\n")
    return case


def _failures(result: EvaluationResult) -> int:
    return sum(not check.met for check in result.checks)


def _properties(result: EvaluationResult) -> dict[str, str]:
    return {
        "status": result.status,
        "version": result.version,
        "version_digest": result.version_digest,
        "base": result.base,
        "base_fingerprint": result.base_fingerprint,
        "suite_digest": result.suite_digest,
        "samples": str(result.samples),
        "metric": result.metric,
        "score": f"{result.score.mean:.6g}",
        "score_low": f"{result.score.low:.6g}",
        "score_high": f"{result.score.high:.6g}",
        "gain": f"{result.gain.mean:.6g}",
        "endpoint": result.endpoint,
        "command": result.command,
    }
