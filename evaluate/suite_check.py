"""Check suites in the making: cards → rows → metrics and thresholds → overlap with what the version learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.card import CARD_FILE, load_card
from locum.adapters.domains import Domain, domain_names, load_domain
from locum.adapters.manifest import Manifest
from locum.adapters.refs import CANDIDATE, parse_ref
from locum.adapters.suites import SUITE_FILE, SUITES_FOLDER, SuiteCard, files_of, load_suite_card
from locum.adapters.yamlfile import line_of
from locum.errors import BadInputError, LocumError, NotFoundError
from locum.evaluate.findings import Finding, Row, Watch, watching
from locum.evaluate.overlap import TRAIN_FILE, Overlap, learned_from, look_for_overlap, overlap_findings, training_files
from locum.evaluate.suite import asked_of, assemble, guard_name, load_suite, suite_files
from locum.evaluate.suite_fit import check_fit, check_size
from locum.evaluate.suite_rows import Ruler, check_rows, read_rows, ruler
from locum.settings import Settings
from locum.text import alternatives

if TYPE_CHECKING:
    from rich.console import Console

    from locum.adapters.registry import Registry


class SuiteReport(BaseModel):
    """What the check of one suite has found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    suite: str
    samples: int = Field(description="rows that can be read")
    asked: int = Field(description="different samples among them that are asked: no more than the card's `limit`")
    learned: str | None = Field(description="whose training split the samples were looked for in; none: they were not")
    findings: list[Finding]

    @property
    def wrong(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "wrong"]


@dataclass(frozen=True)
class Learner:
    """Whose training split is looked at; no manifest is the next version's. `asked`: a person named the version."""

    manifest: Manifest | None
    asked: bool

    @property
    def name(self) -> str:
        return self.manifest.name if self.manifest else "the next version"

    @property
    def known(self) -> bool:
        """Whether what it learned from can be known: of an adapter from elsewhere it is not recorded."""
        return self.manifest is None or self.manifest.data is not None


def check_suites(
    settings: Settings,
    domain: str | None = None,
    suite: str | None = None,
    *,
    ref: str | None = None,
    console: Console | None = None,
) -> list[SuiteReport]:
    """Check every suite, those of a domain, or one.

    Args:
        ref: the version whose training split must not hold the samples; else the domain's candidate, else its version
            in production, else whichever is trained next on the split that lies there.
        console: where progress is drawn; none for silence.

    Raises:
        NotFoundError: there is no such domain, suite or version, or a domain has no suite.
        BadInputError: the domain's card is wrong, the suite is a guard suite, or `ref` is of another domain.
    """
    if ref is not None:
        of = parse_ref(ref).domain
        if domain not in (None, of):
            raise BadInputError(f"--model: expected a version of {domain}, found {ref!r}")
        domain = of
    from locum.adapters.registry import Registry

    registry = Registry.open(settings)
    reports = []
    with watching(console) as watch:
        for name in [domain] if domain else domain_names(settings.domains):
            reports += _check_domain(settings, registry, name, suite, _learner(registry, name, ref), watch)
    return reports


def _check_domain(
    settings: Settings, registry: Registry, name: str, suite: str | None, learner: Learner, watch: Watch
) -> list[SuiteReport]:
    folder = settings.domains / name
    if not (folder / CARD_FILE).is_file():
        load_domain(settings.domains, name)  # which says what there is
    domain = Domain(load_card(folder / CARD_FILE), folder)
    measure = ruler(settings)
    checked = {
        place.name: _check_suite(settings, registry, domain, place, measure, watch)
        for place in _suite_folders(domain, suite)
    }
    together = [row for rows, _, _ in checked.values() for row in rows]
    threshold = domain.card.duplicates.threshold
    overlaps = [
        look_for_overlap(together, train, threshold=threshold, watch=watch)
        for train in training_files(settings.data_path(name))
        if learner.known
    ]
    return [
        SuiteReport(
            domain=name,
            suite=each,
            samples=len(rows),
            asked=asked,
            learned=learner.name if overlaps and rows else None,
            findings=_in_order([*found, *_against_training(rows, overlaps, learner, settings.data_path(name))]),
        )
        for each, (rows, asked, found) in checked.items()
    ]


def _check_suite(
    settings: Settings, registry: Registry, domain: Domain, folder: Path, measure: Ruler, watch: Watch
) -> tuple[list[Row], int, list[Finding]]:
    """The rows of one suite, how many samples are asked, and what there is to say of it by itself."""
    card, found = _read_card(folder)
    if card is None:
        return [], 0, found
    if card.lm_eval is not None:
        return _check_task(domain, card, folder, registry, settings)
    try:
        rows, problems = read_rows(suite_files(domain, card, settings.data_path(domain.name)))
    except NotFoundError as error:
        return [], 0, [*found, _missing(domain, card, folder, error)]
    found += problems
    found += check_rows(rows, card.generation, measure, threshold=domain.card.duplicates.threshold, watch=watch)
    asked = asked_of((row.sample for row in rows), card.limit)
    if asked:
        watch(f"{folder.name}: metrics", 0, 1)
        suite = assemble(domain.name, card, asked, options=domain.card.metric_options())
        found += [*check_fit(suite, rows, folder), *check_size(suite, folder, registry)]
    found += _empty_files(suite_files(domain, card, settings.data_path(domain.name)), rows) if not problems else []
    return rows, len(asked), found


def _empty_files(files: Sequence[Path], rows: Sequence[Row]) -> list[Finding]:
    """The files that give no row."""
    full = {row.path for row in rows}
    return [
        Finding(
            check="card",
            place=str(file),
            sentence="is empty",
            advice="add rows, or take it out of `samples`: docs/suites.md",
        )
        for file in files
        if file not in full
    ]


def _check_task(
    domain: Domain, card: SuiteCard, folder: Path, registry: Registry, settings: Settings
) -> tuple[list[Row], int, list[Finding]]:
    """What a task of another tool asks, and whether slices and thresholds can be judged with so many samples."""
    path = folder / SUITE_FILE
    line = line_of(path, "lm_eval")
    try:
        suite = load_suite(domain, card, settings.data_path(domain.name))
    except LocumError as error:
        advice = error.hint or "see lm_eval in the suite.yaml"
        return [], 0, [Finding(check="card", place=f"{path}:{line}", sentence=str(error), advice=advice)]
    rows = [Row(path, line, sample, label=f"sample {sample.id} ") for sample in suite.samples]
    return rows, len(rows), [*check_fit(suite, rows, folder), *check_size(suite, folder, registry)]


def _suite_folders(domain: Domain, suite: str | None) -> list[Path]:
    """The folders of a domain's suites, whatever is in them."""
    there = sorted(path for path in (domain.folder / SUITES_FOLDER).glob("*") if path.is_dir())
    if not there:
        raise NotFoundError(
            f"{domain.name} has no suite: there is no {domain.folder / SUITES_FOLDER}/NAME/{SUITE_FILE}",
            hint=f"locum suite new {domain.name} NAME writes one",
        )
    chosen = [path for path in there if suite in (None, path.name)]
    for name in domain.card.elsewhere.suites:
        if not chosen and suite in (name, guard_name(name)):
            of, _, its = name.rpartition("/")
            raise BadInputError(
                f"{suite} is not a suite of {domain.name}, whose card names it under `elsewhere`: "
                "what is checked is a domain's own",
                hint=f"locum suite check {of} {its}" if of else f"`locum suite show {domain.name} {name}` shows it",
            )
    if not chosen:
        known = [path.name for path in there]
        raise NotFoundError(f"there is no suite {suite!r} of {domain.name}{alternatives(str(suite), known)}")
    return chosen


def _read_card(folder: Path) -> tuple[SuiteCard | None, list[Finding]]:
    """The suite's card if it can be read, and what is wrong with the folder."""
    path = folder / SUITE_FILE
    if not path.is_file():
        advice = f"write one, or take the folder away; `locum suite new {folder.parent.parent.name} NAME` writes one"
        return None, [Finding(check="card", place=str(folder), sentence=f"has no {SUITE_FILE}", advice=advice)]
    try:
        card = load_suite_card(folder)
    except BadInputError as error:
        advice = error.hint or "docs/suites.md tells every field"
        return None, [_of_card(path, line, advice) for line in str(error).splitlines()]
    if card.lm_eval is not None:
        return card, []  # which files a task reads, the task says
    idle = sorted(path.name for path in folder.glob("*.jsonl") if path.name not in files_of(card.samples))
    advice = "name it in `samples`, or take it away"
    return card, [
        Finding(check="card", severity="note", place=str(folder / name), sentence="is not asked", advice=advice)
        for name in idle
    ]


def _of_card(path: Path, problem: str, advice: str) -> Finding:
    """A line of an error about a card, `file:line: field: …`, as a finding."""
    rest = problem.removeprefix(str(path))
    line, colon, sentence = rest.removeprefix(":").partition(": ")
    if rest.startswith(":") and colon and line.isdigit():
        return Finding(check="card", place=f"{path}:{line}", sentence=sentence, advice=advice)
    return Finding(check="card", place=str(path), sentence=rest.removeprefix(": ").strip(), advice=advice)


def _missing(domain: Domain, card: SuiteCard, folder: Path, error: NotFoundError) -> Finding:
    advice = "correct `samples`, or put the file there" if files_of(card.samples) else f"locum data build {domain.name}"
    return Finding(check="card", place=str(folder / SUITE_FILE), sentence=str(error), advice=advice)


def _learner(registry: Registry, domain: str, ref: str | None) -> Learner:
    if ref is not None:
        return Learner(registry.resolve(ref), asked=True)
    aliases = registry.snapshot().aliases
    name = aliases.get(f"{domain}@{CANDIDATE}") or aliases.get(domain)
    return Learner(registry.resolve(name) if name else None, asked=False)


def _against_training(
    rows: Sequence[Row], overlaps: Sequence[Overlap], learner: Learner, data_path: Path
) -> list[Finding]:
    """What of a suite was found in training, and whether that is the training that is meant."""
    if not rows:
        return []
    manifest, place = learner.manifest, str(data_path / TRAIN_FILE)
    if manifest is not None and not learner.known:
        told = f": it says of itself {manifest.origin.trained_on!r}" if manifest.origin else ""
        sentence = f"what {learner.name} learned from is not recorded, and no overlap with it can be told{told}"
        advice = "ask those whom it is from for what it was trained on"
        return [Finding(check="training", severity="note", place=place, sentence=sentence, advice=advice)]
    severity = "wrong" if learner.asked else "note"
    if not overlaps:
        sentence = f"is not there: overlap with what {learner.name} learned from was not looked for"
        advice = f"locum data build {data_path.name}"
        return [Finding(check="training", severity=severity, place=place, sentence=sentence, advice=advice)]
    found = []
    if manifest is not None and not any(learned_from(manifest, overlap) for overlap in overlaps):
        sentence = (
            f"is not what {learner.name} learned from (another digest): "
            "overlap was looked for in the split that is there"
        )
        advice = (
            f"build the data of {learner.name} again: locum data build {data_path.name}, "
            "with the card and the source of that time"
        )
        found.append(Finding(check="training", severity=severity, place=place, sentence=sentence, advice=advice))
    for overlap in overlaps:
        own = manifest is not None and learned_from(manifest, overlap)
        who = f"{learner.name} has learned" if own else "the next version will learn"
        found += overlap_findings(rows, overlap, learner=who)
    return found


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    """What is wrong comes before what is to be known; else in the order of the checks."""
    return sorted(findings, key=lambda finding: finding.severity == "note")
