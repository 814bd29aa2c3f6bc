"""`locum suite`: what a version is asked before a release, written, checked, looked at and divided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from locum.commands.common import JsonOption, counted, err, out, print_json, say, settings, table, tell_wrong

if TYPE_CHECKING:
    from locum.errors import BadInputError
    from locum.evaluate.findings import Finding
    from locum.evaluate.suite import Suite
    from locum.evaluate.suite_check import SuiteReport
    from locum.evaluate.suite_picture import SuitePicture
    from locum.evaluate.suite_power import Reach, SuitePower
    from locum.settings import Settings

app = typer.Typer(help="Suites: what a version is asked before a release.", no_args_is_help=True)
SHOWN = 10  # findings of one check of one suite
SAMPLES = 3  # samples that are shown of a suite
_COLUMNS = 6  # topics that a table of two parts shows

DomainArgument = Annotated[str, typer.Argument(help="The domain's name.")]
SuiteArgument = Annotated[str | None, typer.Argument(help="The suite's name; else all of the domain.")]


@app.command("new")
def new(
    domain: DomainArgument,
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    kind: Annotated[
        str | None,
        typer.Option(
            help="Begin with example rows of this kind: question, conversation, choice, extraction, free, preference "
            "or decline."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="`test` for the domain's test split, or a JSON Lines file whose rows are copied."),
    ] = None,
) -> None:
    """Write a commented suite for a domain, with example rows or with those of a file.

    Example: locum suite new medical triage --kind choice
    """
    from locum.adapters.domains import load_domain
    from locum.evaluate.suite_new import new_suite

    in_force = settings()
    loaded, data_path = load_domain(in_force.domains, domain), in_force.data_path(domain)
    path = new_suite(loaded, name, kind=kind, source=source, data_path=data_path)
    rows = "" if source == "test" else f" and {path.parent / 'samples.jsonl'}"
    say(f"Wrote {path}{rows}. Next: locum suite check {domain} {name}")


@app.command("check")
def check(
    domain: Annotated[str | None, typer.Argument(help="The domain's name; else all domains.")] = None,
    name: SuiteArgument = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Whose training split must not hold the samples, such as medical@candidate; else the candidate's, "
            "else that of the version in production, else the next version's."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check suites: rows, repetitions, metrics, slices, thresholds, overlap with training; exits 1 if any is wrong.

    Example: locum suite check medical --model medical@candidate
    """
    from locum.errors import CheckFailedError
    from locum.evaluate.suite_check import check_suites

    reports = check_suites(settings(), domain, name, ref=model, console=None if as_json else err)
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        for report in reports:
            _tell_report(report)
        if not reports:
            say(f"There is no domain in {settings().domains}. Start one: locum domain new NAME")
    wrong = sum(len(report.wrong) for report in reports)
    if wrong:
        places = ", ".join(f"{report.domain}/{report.suite}" for report in reports if report.wrong)
        raise CheckFailedError(f"{wrong:,} {'thing is' if wrong == 1 else 'things are'} wrong in {places}")


@app.command("show")
def show(
    domain: DomainArgument,
    name: SuiteArgument = None,
    sample: Annotated[str | None, typer.Option(help="Show one sample in full, by its id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a domain's suites, or one with its slices, lengths, thresholds and a few samples.

    Example: locum suite show medical icd10-chapters
    """
    from locum.evaluate.suite_picture import picture

    suites, wrong = _load(settings(), domain, name)
    if sample is not None:
        _show_sample(suites, sample, as_json=as_json)
        return
    pictures = [picture(suite) for suite in suites]
    if as_json:
        print_json([each.model_dump(mode="json") for each in pictures])
    elif name is None:
        _show_all(domain, pictures)
    else:
        _show_one(pictures[0], suites[0])
    tell_wrong(wrong)


@app.command("required")
def required(domain: DomainArgument) -> None:
    """Print which suites a release of a domain needs a pass of now, with their digests, as JSON.

    Example: locum suite required medical
    """
    from locum.commands.release import required_suites

    suites = required_suites(settings(), domain)
    print_json(suites and {name: suite.model_dump() for name, suite in suites.items()})


@app.command("split")
def split(
    domain: DomainArgument,
    name: Annotated[str, typer.Argument(help="The suite to divide; it stays as it is.")],
    into: Annotated[str, typer.Option(help="Names of the two new suites, such as dev,holdout.")],
    share: Annotated[float, typer.Option(help="Share of the samples that the first of them gets.")] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Divide a suite in two, by group and within each topic: one to tune by, and one to keep for the release.

    Example: locum suite split medical triage --into dev,holdout --share 0.5
    """
    from locum.adapters.domains import load_domain
    from locum.errors import BadInputError
    from locum.evaluate.suite_split import split_suite

    names = [each.strip() for each in into.split(",")]
    if len(names) != 2:
        raise BadInputError(f"--into {into}: expected two names, such as dev,holdout")
    in_force = settings()
    loaded = load_domain(in_force.domains, domain)
    card = loaded.suite(name)
    parts = split_suite(loaded, card, in_force.data_path(domain), into=(names[0], names[1]), share=share)
    if as_json:
        print_json(
            [
                {"suite": part.name, "card": str(part.card), "samples": part.samples, "groups": part.groups}
                for part in parts
            ]
        )
        return
    topics = sorted({topic for part in parts for topic in part.topics})
    topics = topics if len(topics) <= _COLUMNS else []  # more would fold to nothing that can be read
    rows = [(part.name, part.samples, part.groups, *(part.topics.get(topic, 0) for topic in topics)) for part in parts]
    out.print(table(None, ["suite", "samples", "groups", *topics], rows, first_to_go=topics[::-1]))
    for part in parts:
        if part.samples < card.thresholds.min_samples:
            say(
                f"{part.name} has {part.samples} samples, and its min_samples asks {card.thresholds.min_samples}: "
                f"lower it in {part.card}, or no version can pass."
            )
    say(
        f"{name} is as it was: take {loaded.folder / 'suites' / name} away once the two stand in for it. "
        f"Next: locum suite power {domain}"
    )


@app.command("power")
def power(
    domain: DomainArgument,
    name: SuiteArgument = None,
    difference: Annotated[
        float | None, typer.Option(help="A difference to show: how many samples would that take?")
    ] = None,
    power: Annotated[float, typer.Option(help="How often something that is there is to be seen.")] = 0.8,
    as_json: JsonOption = False,
) -> None:
    """Say what a suite of this size can show, and how many samples a smaller difference takes.

    Example: locum suite power medical --difference 0.05
    """
    from locum.adapters.registry import Registry
    from locum.evaluate.suite_power import last_evaluation, power_of

    in_force = settings()
    suites, wrong = _load(in_force, domain, name)
    registry = Registry.open(in_force)
    found = [power_of(suite, last_evaluation(registry, suite), power=power, difference=difference) for suite in suites]
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        for each in found:
            _tell_power(each)
    tell_wrong(wrong)


def _load(in_force: Settings, domain: str, name: str | None) -> tuple[list[Suite], list[BadInputError]]:
    """The suite of that name, or all that a domain's versions are asked, as far as they can be loaded, and what is
    wrong with the others. Guard suites are found by their name in the card, too.

    Raises:
        BadInputError: there is none that can be loaded.
    """
    from locum.adapters.domains import load_domain
    from locum.errors import BadInputError
    from locum.evaluate.suite import guard_name, load_guard, load_suites

    loaded, data_path = load_domain(in_force.domains, domain), in_force.data_path(domain)
    elsewhere = {guard_name(each): each for each in loaded.card.elsewhere.suites}
    if name is None:
        names = [*loaded.suite_names, *elsewhere]
    else:
        names = [guard_name(name) if name in elsewhere.values() else name]
    suites: list[Suite] = []
    wrong: list[BadInputError] = []
    for each in names:
        try:
            if each in elsewhere:
                suites.append(load_guard(loaded, elsewhere[each], in_force.domains, data_path.parent))
            else:
                suites += load_suites(loaded, data_path, each)
        except BadInputError as error:
            wrong.append(error)
    if not names:
        load_suites(loaded, data_path)  # which says how to write one
    if not suites:
        raise wrong[0]
    return suites, wrong


def _tell_report(report: SuiteReport) -> None:
    """A line on the suite, then the findings, by what is to be done about them; of many the first."""
    mark = "[red]✗[/]" if report.wrong else "[green]✓[/]"
    learned = f"held against what {report.learned} learns from" if report.learned else "not held against any training"
    asked = "" if report.asked == report.samples else f", {report.asked:,} of them asked"
    told = f"{counted(report.samples, 'sample')}{asked}, {learned}" if report.samples else "no sample that can be read"
    out.print(f"{mark} {report.domain}/{report.suite}: {told}.", highlight=False, soft_wrap=True)
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in report.findings:
        alike.setdefault((finding.severity, finding.check, finding.advice), []).append(finding)
    for (severity, _, advice), findings in alike.items():
        for finding in findings[:SHOWN]:
            note = "note: " if severity == "note" else ""
            say(f"{finding.place}: {note}{finding.sentence}")
        if len(findings) > SHOWN:
            out.print(f"… and {len(findings) - SHOWN:,} more of these (--json lists all)", highlight=False)
        say(f"  → {advice}", style="dim")


def _thresholds(suite: SuitePicture) -> str:
    """What the gate asks, in a line."""
    asked = suite.thresholds
    parts = [f"{asked.min_samples} samples", f"score {asked.min_score:g}"]
    parts += [] if asked.min_gain is None else [f"gain > {asked.min_gain:g}"]
    parts += [f"margin {asked.margin:g}"]
    if any(each.judged for each in suite.slices):
        parts += [f"margin {asked.slice_margin:g} on slices of {asked.slice_min_samples} or more"]
    return ", ".join([*parts, *(f"{name} {lowest:g}" for name, lowest in asked.hard.items())])


def _show_all(domain: str, pictures: list[SuitePicture]) -> None:
    columns = ["suite", "version", "samples", "groups", "scored by (the first decides)", "asks", "digest"]
    rows = [
        (
            each.name,
            each.version,
            ", ".join(f"{count:,} {kind}" for kind, count in each.kinds.items()),
            each.groups,
            ", ".join(dict.fromkeys([each.primary, *each.metrics])),
            _thresholds(each),
            each.digest[:12],
        )
        for each in pictures
    ]
    out.print(table(domain, columns, rows, first_to_go=["groups", "version", "asks"]))
    say(f"One of them: locum suite show {domain} {pictures[0].name}", style="dim")


def _show_one(suite: SuitePicture, loaded: Suite) -> None:
    from locum.evaluate.suite_picture import bars

    kinds = ", ".join(f"{count:,} {kind}" for kind, count in suite.kinds.items())
    say(f"{suite.domain}/{suite.name}, version {suite.version}, digest {suite.digest[:12]}", style="bold")
    if suite.description:
        say(suite.description)
    say(f"{counted(suite.samples, 'sample')} ({kinds}) in {counted(suite.groups, 'group')}.")
    say(f"Scored by {', '.join(suite.metrics)}; the gate decides by {suite.primary}.")
    say(f"It asks: {_thresholds(suite)}; confidence {suite.thresholds.confidence:g}.\n")
    rows = [(each.field, each.value, each.samples, "yes" if each.judged else "") for each in suite.slices]
    out.print(table(None, ["slice", "value", "samples", "judged by itself"], rows))
    for what, lengths in (("asked", suite.questions), ("expected", suite.answers)):
        say(f"\nCharacters {what}:")
        for name, bar, count in bars(lengths):
            say(f"{name:>10}  {bar} {count:,}")
    say("")
    for sample in loaded.samples[:SAMPLES]:
        say(f"{sample.id} ({sample.kind}): {_line(sample.question)}  →  {_line(sample.reference)}")
    say(f"One in full: locum suite show {suite.domain} {suite.name} --sample {loaded.samples[0].id}", style="dim")


def _show_sample(suites: list[Suite], identity: str, *, as_json: bool) -> None:
    import json

    from locum.errors import NotFoundError
    from locum.evaluate.samples import row_of

    found = next(((suite, sample) for suite in suites for sample in suite.samples if sample.id == identity), None)
    if found is None:
        names = ", ".join(suite.name for suite in suites)
        raise NotFoundError(
            f"there is no sample {identity!r} in {suites[0].domain}/{names}",
            hint=f"the first is {suites[0].samples[0].id!r}",
        )
    suite, sample = found
    row = {**json.loads(row_of(sample)), "group": sample.group, "length": sample.slices["length"]}
    if as_json:
        print_json({"suite": suite.name, **row})
        return
    import yaml

    text = yaml.safe_dump({"suite": suite.name, **row}, sort_keys=False, allow_unicode=True, width=100)
    say(text.rstrip())


def _tell_power(found: SuitePower) -> None:
    from locum.evaluate.suite_picture import bar

    whole, often = found.whole, f"{100 * found.power:.4g}% of the time"
    size = f"{counted(whole.samples, 'sample')} in {counted(whole.groups, 'group')}"
    margin = f"a version as good as production that it is at most {whole.margin:.3f} worse."
    say(f"{found.domain}/{found.suite}, by {found.metric}, at {100 * found.confidence:.4g} % confidence", style="bold")
    if found.min_gain is None:
        say(f"{size} show, {often}, of {margin}")
    elif whole.gain is None:
        say(f"{size} are too few to show any gain over the base model; they show, {often}, of\n{margin}")
    else:
        gain = f"a true gain of {found.min_gain + whole.gain:.3f} over the base model as more than {found.min_gain:g}"
        say(f"{size} show, {often}, {gain},\nand of {margin}")
    needed = "no number of samples is" if whole.needed is None else f"{whole.needed:,} samples are"
    say(
        f"The suite asks for a margin of {whole.asked_margin:g}: shown {100 * whole.kept:.0f}% of the time; "
        f"{needed} enough to show it {often}."
    )
    if found.min_gain is not None:
        say(f"Gain: {found.gain_from}.", style="dim")
    say(f"Margin: {found.margin_from}.", style="dim")
    if found.reaches[1:]:
        columns = ["slice", "samples", "groups", "margin shown", "margin asked", "is shown", "enough samples"]
        out.print()
        out.print(table(None, columns, [_reach(each) for each in found.reaches[1:]]))
    say(f"\nHow often a version as good as production is shown to keep the margin of {whole.asked_margin:g}:")
    for samples, share in found.curve.items():
        here = "  ← this suite" if samples == whole.samples else ""
        say(f"{samples:>8,} samples  {bar(share, width=30):<30} {100 * share:3.0f} %{here}")
    if found.wished:
        wished = found.wished
        shown = "never shows: they do not differ so much" if wished.gain is None else f"takes {wished.gain:,} samples"
        say(
            f"\nA gain of {wished.difference:g} over the base model {shown}; "
            f"a margin of {wished.difference:g} to production takes {wished.margin:,} samples."
        )
    say("")


def _reach(each: Reach) -> tuple[object, ...]:
    if not each.judged:
        return each.name, each.samples, each.groups, "not judged", "", "", ""
    return (
        each.name,
        each.samples,
        each.groups,
        f"{each.margin:.3f}",
        f"{each.asked_margin:g}",
        f"{100 * each.kept:.0f} %",
        "never" if each.needed is None else f"{each.needed:,}",
    )


def _line(text: str) -> str:
    """The beginning of a text, on one line."""
    plain = " ".join(text.split())
    return plain if len(plain) <= 80 else plain[:79] + "…"
