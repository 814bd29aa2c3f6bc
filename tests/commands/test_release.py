"""`locum release`, `rollback` and `history`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.domains import load_domain
from locum.adapters.manifest import EvaluationRecord, Manifest
from locum.adapters.registry import Registry
from locum.evaluate.suite import Suite, load_suites
from locum.settings import Settings
from tests.commands.conftest import Ran
from tests.records import evaluation_of


def passing(manifest: Manifest, suite: Suite) -> EvaluationRecord:
    return evaluation_of(manifest, suite_digest=suite.digest, suite_parts=suite.parts)


def suite(settings: Settings) -> Suite:
    [held_out] = load_suites(load_domain(settings.domains, "legal"), settings.data_path("legal"))
    return held_out


def test_release_without_evidence_exits_1_and_says_what_is_missing(
    locum: Callable[..., Ran], domain_folder: Path, register: Callable[[], Manifest]
) -> None:
    register()
    ran = locum("release", "legal@1")
    assert ran.code == 1
    assert ran.out == ""
    assert "suite held-out: there is no evaluation of legal@1" in ran.err
    assert "locum eval legal" in ran.err
    assert locum("history", "legal", "--json").json == []


def test_release_on_evidence_is_recorded_with_it(
    locum: Callable[..., Ran],
    domain_folder: Path,
    settings: Settings,
    registry: Registry,
    register: Callable[[], Manifest],
) -> None:
    registry.record_evaluation(passing(register(), suite(settings)))
    ran = locum("release", "legal@candidate")
    assert ran.code == 0, ran.err
    assert ran.out == "legal@1 is in production (release by tester).\n"
    [entry] = locum("history", "legal", "--json").json
    assert (entry["action"], entry["version"], entry["by"]) == ("release", "legal@1", "tester")
    assert entry["evidence"][0]["suite"] == "held-out"
    shown = locum("history", "legal").out
    assert "held-out: exact_match 0.900, +0.800 over base [+0.700, +0.900] (passed)" in shown
    assert locum("adapters", "show", "legal", "--json").json["evaluations"][0]["score"] == 0.9
    assert "held-out (2026-01-01 00:00): passed, exact_match 0.900" in locum("adapters", "show", "legal").out


def test_a_changed_suite_makes_old_evidence_worthless(
    locum: Callable[..., Ran],
    domain_folder: Path,
    settings: Settings,
    registry: Registry,
    register: Callable[[], Manifest],
) -> None:
    before = suite(settings)
    registry.record_evaluation(passing(register(), before))
    samples = domain_folder / "suites" / "held-out" / "samples.jsonl"
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:-1]))
    ran = locum("release", "legal@1")
    assert ran.code == 1
    assert "suite held-out: what is asked (its samples or the system prompt) changed since the evaluation" in ran.err
    assert f"is of suite digest {before.digest[:12]}, the suite is now {suite(settings).digest[:12]}" in ran.err
    assert "`locum eval legal --model legal@1` evaluates it" in ran.err


def test_evidence_gathered_under_other_compliance_rules_is_refused_and_the_rules_named(
    locum: Callable[..., Ran],
    domain_folder: Path,
    settings: Settings,
    registry: Registry,
    register: Callable[[], Manifest],
) -> None:
    card, held_out = domain_folder / "card.yaml", domain_folder / "suites" / "held-out" / "suite.yaml"
    held_out.write_text(held_out.read_text() + "metrics: [exact_match, forbidden]\n")
    text = card.read_text()
    card.write_text(text + "compliance: {forbidden: [guaranteed]}\n")
    registry.record_evaluation(passing(register(), suite(settings)))
    card.write_text(text + "compliance: {forbidden: [guaranteed, without risk]}\n")
    ran = locum("release", "legal@1")
    assert ran.code == 1
    assert "suite held-out: the compliance rules changed since the evaluation" in ran.err
    card.write_text(text + "compliance: {forbidden: [guaranteed], referral: true}\n")  # which this suite does not ask
    assert locum("release", "legal@1").code == 0


@pytest.fixture
def evaluated(
    domain_folder: Path, settings: Settings, registry: Registry, register: Callable[[], Manifest]
) -> dict[str, str]:
    """legal@1 has passed the suites that its domain requires: their digests, as the evaluation told the registry."""
    held_out = suite(settings)
    registry.require_suites("legal", {held_out.name: held_out.digest})
    registry.record_evaluation(passing(register(), held_out))
    return {held_out.name: held_out.digest}


def test_a_refused_release_leaves_what_others_decide_by_as_it_was(
    locum: Callable[..., Ran],
    domain_folder: Path,
    registry: Registry,
    evaluated: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = domain_folder / "suites" / "held-out" / "samples.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[1:]))
    assert locum("release", "legal@1").code == 1
    assert registry.required_suites("legal") == evaluated
    monkeypatch.setenv("LOCUM_DOMAINS", str(domain_folder.parent / "nowhere"))
    assert locum("release", "legal@1").code == 0


def test_a_domain_whose_suites_are_gone_is_not_released_by_what_the_registry_remembers(
    locum: Callable[..., Ran], domain_folder: Path, evaluated: dict[str, str]
) -> None:
    (domain_folder / "suites").rename(domain_folder / "moved")
    ran = locum("release", "legal@1")
    assert (ran.code, "legal has no suite: there is no " in ran.err) == (2, True), ran.err


def test_where_the_data_is_not_the_last_evaluation_says_which_suites_decide_and_that_is_told(
    locum: Callable[..., Ran], domain_folder: Path, evaluated: dict[str, str]
) -> None:
    (domain_folder / "suites" / "held-out" / "samples.jsonl").unlink()
    ran = locum("release", "legal@1")
    assert ran.code == 0
    assert "what the last evaluation or release of legal required decides" in ran.err


def test_a_failed_gate_is_told_by_what_it_missed_and_by_that_alone(
    locum: Callable[..., Ran],
    domain_folder: Path,
    settings: Settings,
    registry: Registry,
    register: Callable[[], Manifest],
) -> None:
    failed = passing(register(), suite(settings)).model_copy(
        update={
            "passed": False,
            "status": "failed",
            "reasons": ["8 samples are enough.", "The score 0.1 falls short."],
            "missed": ["The score 0.1 falls short."],
        }
    )
    registry.record_evaluation(failed)
    ran = locum("release", "legal@1")
    assert ran.code == 1
    assert "legal@1 is not released\nsuite held-out: the gate failed:\n  missed: The score 0.1 falls short." in ran.err
    assert "8 samples are enough." not in ran.err
    assert "`locum train legal`" in ran.err


def test_a_forced_release_needs_a_reason_and_shows_it_as_it_was_given(
    locum: Callable[..., Ran], domain_folder: Path, register: Callable[[], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    ran = locum("release", "legal@1", "--force")
    assert ran.code == 2
    assert 'add --reason "…"' in ran.err
    monkeypatch.setenv("LOCUM_USER", "[/ops]")
    ran = locum("release", "legal@1", "--force", "--reason", "court [order] [/7]")
    assert ran.code == 0, ran.err
    assert "by [/ops])" in ran.out
    lacking = "suite held-out: there is no evaluation of legal@1"
    assert f"Lacking: {lacking}" in ran.out
    assert locum("history", "legal", "--json").json[0]["missing"] == [lacking]
    shown = locum("history", "legal")
    assert shown.code == 0
    assert f"  lacking: {lacking}" in shown.out
    assert "court [order] [/7]" in shown.out


def test_rollback_puts_the_former_version_back_and_is_part_of_the_history(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    registry.release(register().name, by="tester", reason="test", force=True)
    released = locum("release", register().name, "--force", "--reason", "better", "--json").json
    assert (released["version"], released["replaced"]) == ("legal@2", "legal@1")
    ran = locum("rollback", "legal", "--reason", "too long", "--json")
    assert ran.code == 0
    assert (ran.json["version"], ran.json["replaced"], ran.json["reason"]) == ("legal@1", "legal@2", "too long")
    entries = locum("history", "legal", "--json").json
    assert sorted(entry["action"] for entry in entries) == ["forced release", "forced release", "rollback"]


def test_a_rollback_goes_as_far_back_as_is_asked_and_only_to_what_was_in_production(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    for number in range(1, 5):
        name = register().name
        if number != 3:
            registry.release(name, by="tester", reason="test", force=True)
    back = locum("rollback", "legal", "--to", "legal@1", "--json").json
    assert (back["version"], back["replaced"], back["action"]) == ("legal@1", "legal@4", "rollback")
    for version, problem in (
        ("legal@1", "legal@1 is in production already"),
        ("legal@3", "legal@3 never was in production"),
        ("legal@9", "there is no legal@9"),
        ("tax@1", "there is no tax@1"),
    ):
        ran = locum("rollback", "legal", "--to", version)
        assert (ran.code, problem in ran.err) == (2, True), ran.err
    assert locum("rollback", "legal", "--json").json["version"] == "legal@4"


def test_what_cannot_be_rolled_back_or_released_exits_2_and_says_why(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    unknown = locum("rollback", "tax")
    assert unknown.code == 2
    assert "there is no domain 'tax'" in unknown.err
    register()
    assert "legal has nothing in production to go back from; there is: legal@1" in locum("rollback", "legal").err
    registry.release("legal@1", by="tester", reason="first", force=True)
    ran = locum("rollback", "legal")
    assert ran.code == 2
    assert "legal has no previous version to go back to" in ran.err
    ran = locum("release", "legal@9")
    assert ran.code == 2
    assert "no legal@9: did you mean legal@1? there is: legal@1, legal" in ran.err


def test_the_history_of_a_name_that_nobody_knows_exits_2(locum: Callable[..., Ran]) -> None:
    ran = locum("history", "astrology")
    assert ran.code == 2
    assert "there is no domain 'astrology'" in ran.err


def test_the_history_of_what_was_never_released_says_how_to_begin(
    locum: Callable[..., Ran], register: Callable[[], Manifest]
) -> None:
    register()
    ran = locum("history", "legal")
    assert ran.code == 0
    assert "locum eval legal" in ran.out
