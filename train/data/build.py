"""A domain's data on disk: three splits and a record of what they are."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.card import DomainCard, Source
from locum.adapters.conversations import Conversation, Preference
from locum.adapters.domains import Domain
from locum.adapters.manifest import DataRecord, Split
from locum.errors import BadInputError, CheckFailedError, ConflictError, NotFoundError
from locum.train.data.accepted import Accepted, ReviewRecord, read_accepted
from locum.train.data.cleaning import Cleaner
from locum.train.data.places import state
from locum.train.data.progress import BuildProgress
from locum.train.data.reading import Read, Reject, Unanswered, Unwanted
from locum.train.data.source import Origin, origins, with_system
from locum.train.data.split import NAMES, SplitName, smallest_difference
from locum.train.data.work import Work

RECORD_FILE = "data.json"
REJECTS_FILE = "rejects.jsonl"
NEAR_FILE = "near-duplicates.jsonl"
REPORT_FILE, DATA_CARD_FILE = "report.html", "data-card.md"
PREFERENCES = "preferences"
COMMIT_ROWS = 1000
SHOWN = 3


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Record):
    """What one step did to how many rows, and why."""

    step: str
    action: str
    reason: str
    rows: int


class Topics(_Record):
    """Rows of each topic."""

    before: dict[str, int] = Field(description="training rows before balancing")
    train: dict[str, int]
    validation: dict[str, int]
    test: dict[str, int]

    def table(self) -> list[tuple[str, int, int, int, int]]:
        """Name, and rows of training before and after balancing, of validation and of test."""
        names = sorted({*self.before, *self.validation, *self.test})
        return [
            (name, *(found.get(name, 0) for found in (self.before, self.train, self.validation, self.test)))  # type: ignore[misc]
            for name in names
        ]


class DataBuild(_Record):
    """What data.json holds."""

    domain: str
    record: DataRecord
    rows_read: int = Field(description="rows that the source gave, those that do not fit included")
    rejects: int = Field(description="rows that do not fit; they are in rejects.jsonl")
    near_duplicates: int = Field(
        description="rows that are nearly the same as others; they are in near-duplicates.jsonl"
    )
    steps: list[Step]
    topics: Topics
    leak: str = Field(description="the result of the leak check, in a sentence")
    sureness: str = Field(description="what differences the test split can show, in a sentence")
    origins: list[str] = Field(description="the recipe or each file, and what says what format it is")
    source: str = Field(description="the recipe or the files that the rows came from")
    packages: list[str] = Field(description="pinned packages that the recipe reads")
    licence: str
    reviews: ReviewRecord | None = Field(None, description="what models wrote and people decided on")


def build_data(domain: Domain, out: Path, *, reviews: Path | None = None) -> DataBuild:
    """Read a domain's source, split it, check it for leaks and write it to the folder `out`.

    What people accepted in the queue `reviews` counts as one more source.

    Memory is bounded, however many rows there are. The folder is put in place whole; what was there is replaced. A
    build that was interrupted is taken up where it stopped. With a card that has `preferences`, these are built too,
    into the folder `preferences` in it. A bar on the terminal shows how far it is.

    Raises:
        BadInputError: the source is wrong, has too many rows that do not fit, or too few to fill every split.
        NotFoundError: the recipe or a file is not there.
        UnavailableError: the recipe needs a package that is not installed, or a file's place does not answer.
        CheckFailedError: a held-out item is also in a split that is learnt from.
        ConflictError: another process is building the same data.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _alone(out), _part(out) as part, BuildProgress(domain.name) as progress:
        progress.stage("looking at the files")
        source, accepted = domain.card.source, read_accepted(reviews)
        given = origins(domain, source, Conversation) if source else []
        with closing(_work(domain, source, given, out, progress, accepted=accepted)) as work:
            build = _build(domain, source, given, work, part, progress, accepted=accepted)
            held_out = set(work.questions("test"))
        if (preferences := domain.card.preferences) is not None:
            folder = part / PREFERENCES
            folder.mkdir()
            given = origins(domain, preferences, Preference)
            with closing(_work(domain, preferences, given, out, progress, held_out=held_out)) as work:
                _build(domain, preferences, given, work, folder, progress)
        part.chmod(0o755)
        if out.exists():
            _keep_reports(out, part)
            shutil.rmtree(out)
        part.rename(out)
        _rejects_beside(out).unlink(missing_ok=True)
        shutil.rmtree(_work_folder(out))
    return build


def _keep_reports(old: Path, new: Path) -> None:
    """What `locum data report` wrote of the very same data stays."""
    for record in (RECORD_FILE, f"{PREFERENCES}/{RECORD_FILE}"):
        texts = [(folder / record).read_bytes() if (folder / record).is_file() else b"" for folder in (old, new)]
        if texts[0] != texts[1]:
            return
    for name in (REPORT_FILE, DATA_CARD_FILE):
        if (old / name).is_file():
            (old / name).rename(new / name)


def load_data(path: Path) -> DataRecord:
    """The record of the data in a folder that `build_data` wrote.

    Raises:
        NotFoundError: there is no built data.
    """
    return load_build(path).record


def load_build(path: Path) -> DataBuild:
    """All that is known of the data in a folder that `build_data` wrote.

    Raises:
        NotFoundError: there is no built data.
    """
    try:
        build = DataBuild.model_validate_json((path / RECORD_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        build = None
    if build is None or not all(split_file(path, name).is_file() for name in NAMES):
        raise NotFoundError(f"there is no built data in {path}", hint=f"locum data build {path.name}")
    return build


def split_file(path: Path, name: SplitName) -> Path:
    """The JSON Lines file of one split in a folder of built data."""
    return path / f"{name}.jsonl"


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    _work_folder(out).mkdir(exist_ok=True)
    lock = FileLock(_work_folder(out) / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConflictError(f"another process is building {out}", hint="wait for it") from None
    with lock:
        yield


@contextmanager
def _part(out: Path) -> Iterator[Path]:
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _work_folder(out: Path) -> Path:
    return out.parent / f".{out.name}.work"


def _rejects_beside(out: Path) -> Path:
    return out.parent / f"{out.name}-{REJECTS_FILE}"


def _work(
    domain: Domain,
    source: Source | None,
    given: Sequence[Origin],
    out: Path,
    progress: BuildProgress,
    *,
    held_out: Collection[bytes] = (),
    accepted: Accepted | None = None,
) -> Work:
    """The table with all rows of a source, and of what people accepted, dealt to their splits."""
    # what the table depends on: another card, or a file that changed, begins a new one
    card = domain.card
    facts: list[Any] = [
        source.model_dump(mode="json") if source else None,
        card.cleaning.model_dump(mode="json"),
        card.system_prompt,
        [[each.location, state(each.location)] for each in given],
    ]
    if accepted:
        facts += [accepted.state, card.documents and card.documents.group]
    if source is not None and source is card.preferences:  # the same files may be rows of the other kind, too
        facts.append(PREFERENCES)
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    work = Work(_work_folder(out) / f"{name}.db")
    try:
        sizes = [origin.size for origin in given]
        progress.stage("reading", total=sum(filter(None, sizes)) if all(sizes) else None)
        before = 0
        for number, origin in enumerate(given):
            _read(work, number, origin, card, progress, before, kin=accepted.rows if accepted else frozenset())
            before += origin.size or 0
        if source:
            _check_rejects(work, source, sum(work.progress(number) for number in range(len(given))), out)
        if accepted:
            _read(work, len(given), accepted.origin(card, work.kin), card, progress, before)
        work.deal(domain.card.duplicates, domain.card.balance, held_out, stage=progress.stage)
    except BaseException:
        work.close()
        raise
    return work


def _read(
    work: Work,
    number: int,
    origin: Origin,
    card: DomainCard,
    progress: BuildProgress,
    before: int,
    *,
    kin: Collection[str] = (),
) -> None:
    """Take the rows of an origin into the table.

    Args:
        before: bytes of the origins before it.
        kin: digests of the rows that others are variants of.
    """
    rows, clean = work.progress(number), Cleaner(card.cleaning)
    read_before = work.read() - rows

    def watch(share: float) -> None:
        progress.reached(before + share * (origin.size or 0), read_before + rows)

    for item in origin.rows(rows, watch):
        rows += 1
        if isinstance(item, (Read, Unwanted)):
            for remark in item.remarks:
                work.note("fields", remark.action, remark.sentence)
        if isinstance(item, Reject):
            work.reject(item)
        elif isinstance(item, Unanswered):
            work.note("answers", "dropped", "without an answer")
        elif isinstance(item, Unwanted):
            work.note("fields", "dropped", f"not to be learnt: {item.reason}")
        else:
            if item.expert:
                work.note("interview", "kept", f"answered by {item.expert}")
            cleaned = clean(item.row)
            for change in cleaned.changes:
                work.note(change.step, change.action, change.reason)
            if cleaned.row is not None:
                # Dealt without it: editing the card's system prompt must not deal the rows anew.
                work.add(cleaned.row, with_system(cleaned.row, card.system_prompt))
                if kin and item.row.digest in kin:
                    work.add_kin(item.row.digest, cleaned.row)
        if rows % COMMIT_ROWS == 0:
            work.reached(number, rows)
    work.reached(number, rows)
    watch(1)


def _check_rejects(work: Work, source: Source, read: int, out: Path) -> None:
    rejected = work.rejected()
    if rejected <= source.max_rejects * read:
        return
    beside = _rejects_beside(out)
    _write_lines(beside, (reject.as_json() for reject in work.rejects()))
    told = "".join(f"\n  {reject}" for reject in islice(work.rejects(), SHOWN))
    raise BadInputError(
        f"{rejected:,} of {read:,} rows do not fit, at most {source.max_rejects:.0%} may (source.max_rejects):{told}",
        hint=f"all of them are in {beside}",
    )


def _build(
    domain: Domain,
    source: Source | None,
    given: Sequence[Origin],
    work: Work,
    part: Path,
    progress: BuildProgress,
    *,
    accepted: Accepted | None = None,
) -> DataBuild:
    progress.stage("writing")
    counts = {name: work.count(name) for name in NAMES}
    _check_filled(domain, source, counts, work.read())
    licences = [source.licence if source else ""]
    if accepted and accepted.items:
        given = [*given, accepted.origin(domain.card, work.kin)]
        licences.append(domain.card.documents.licence if domain.card.documents else "")
    leak = _check_leaks(work, counts)
    splits = {name: Split(rows=counts[name], digest=_write_split(work, name, split_file(part, name))) for name in NAMES}
    listing = "".join(f"{splits[name].digest}  {name}\n" for name in NAMES)
    record = DataRecord(digest=hashlib.sha256(listing.encode()).hexdigest(), splits=splits)
    rejects = _write_lines(part / REJECTS_FILE, (reject.as_json() for reject in work.rejects()))
    pairs = (
        {"similarity": round(pair.similarity, 3), "row": pair.later, "is_like": pair.earlier}
        for pair in work.near_pairs()
    )
    near = _write_lines(part / NEAR_FILE, (json.dumps(pair, ensure_ascii=False) for pair in pairs))
    steps = [*work.changes(), *(("splits", "dropped", reason, rows) for reason, rows in work.dropped().items())]
    build = DataBuild(
        domain=domain.name,
        record=record,
        rows_read=work.read(),
        rejects=rejects,
        near_duplicates=near,
        steps=[Step(step=step, action=action, reason=reason, rows=rows) for step, action, reason, rows in steps],
        topics=Topics(
            before=work.topics("train", all_rows=True),
            **{name: work.topics(name) for name in NAMES},
        ),
        leak=leak,
        sureness=_sureness(work.groups("test")),
        origins=[origin.told for origin in given],
        source=(source.recipe or ", ".join(source.files)) if source else "what people accepted",
        packages=source.packages if source else [],
        licence="; ".join(licence for licence in licences if licence),
        reviews=accepted.record if accepted else None,
    )
    (part / RECORD_FILE).write_text(build.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return build


def _check_filled(domain: Domain, source: Source | None, counts: dict[SplitName, int], read: int) -> None:
    if read == 0 and source is None:
        raise BadInputError(
            f"the data of {domain.name} is empty: its card has no `source`, and no item is accepted yet",
            hint=f"locum data generate {domain.name}, then locum data review {domain.name}",
        )
    if read == 0:
        raise BadInputError(
            f"the data of {domain.name} is empty: its source gave no row",
            hint="the card's `source` names the recipe or the files",
        )
    empty = [name for name in NAMES if not counts[name]]
    if empty:
        told = ", ".join(f"{name} {counts[name]}" for name in NAMES)
        raise BadInputError(
            f"the {read} rows of {domain.name} leave the {' and '.join(empty)} split empty ({told})",
            hint="rows are dealt 80/10/10 by a hash of their group, or of the row where there is none: "
            "add rows, in about a hundred groups or more",
        )


def _check_leaks(work: Work, counts: dict[SplitName, int]) -> str:
    """Make sure that no held-out item, nor a trivial variant, is learnt from; returns the result as a sentence."""
    pairs: tuple[tuple[SplitName, SplitName], ...] = (
        ("test", "train"),
        ("test", "validation"),
        ("validation", "train"),
    )
    for held_out, learnt in pairs:
        leaked = work.leaks(held_out, learnt)
        if leaked:
            raise CheckFailedError(
                f"{len(leaked):,} of {counts[held_out]:,} {held_out} items are among the {learnt} items too, "
                f"expected none; the first: {leaked[0]}",
                hint="this is a fault in Locum: it should have dropped them",
            )
    return (
        f"0 of {counts['test']:,} test items, nor a trivial variant of one, "
        f"are among the {counts['train']:,} training items"
    )


def _sureness(groups: int) -> str:
    smallest = smallest_difference(groups)
    many = f"{groups:,} independent test items"
    if smallest == 1:
        return f"{many} can show no difference between two models: hundreds are needed"
    return f"{many} can show that two models differ by {smallest:.0%} or more of the answers"


def _write_split(work: Work, name: SplitName, file: Path) -> str:
    """Write a split's rows; returns the SHA-256 over their digests."""
    digest, separator = hashlib.sha256(), ""
    with file.open("w", encoding="utf-8") as out:
        for final, text in work.rows(name):
            out.write(text + "\n")
            digest.update((separator + final.hex()).encode())
            separator = "\n"
    return digest.hexdigest()


def _write_lines(file: Path, lines: Iterable[str]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(line + "\n")
            count += 1
    return count
