"""The registry: versions, what their names mean, and on which evidence that changed.

Every change is one transaction, so a crash leaves the old world or the new one. Writers take the database's write
lock first (`BEGIN IMMEDIATE`, or an advisory lock in PostgreSQL): two processes that register at once get two numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.exc import DatabaseError, TimeoutError

from locum import __version__
from locum.adapters import schema
from locum.adapters.database import BUSY_SECONDS, create_database, make_engine
from locum.adapters.domains import check_name
from locum.adapters.evidence import evidence_for, missing_evidence, what_to_do
from locum.adapters.identity import Identity, draw_identity, read_identity, record_marked
from locum.adapters.manifest import DataRecord, EvaluationRecord, Manifest, Origin, Probe
from locum.adapters.migrate import migrate
from locum.adapters.records import Evidence, Release, RequiredSuite, Snapshot, VersionEntry
from locum.adapters.refs import CANDIDATE, PREVIOUS, PRODUCTION, Ref, parse_ref
from locum.adapters.store import ArtifactStore
from locum.adapters.system_prompt import Switch, SystemRole
from locum.errors import BadInputError, ConflictError, GateError, NotFoundError, UnavailableError
from locum.text import did_you_mean

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.settings import Settings

logger = logging.getLogger("locum.registry")

FEW = 100  # versions that are asked for by id; beyond that all are read
WRITE_LOCK = 0x10C0  # the key of PostgreSQL's advisory lock; any number that nobody else uses


class Registry:
    """One registry. Every method opens its own connection, so that threads may share an instance."""

    def __init__(self, url: str, store: ArtifactStore, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """`busy_seconds` is how long a method waits for a database that is locked or does not answer."""
        self._engine = make_engine(url, busy_seconds=busy_seconds)
        self.store = store

    @classmethod
    def open(cls, settings: Settings, *, busy_seconds: float = BUSY_SECONDS) -> Registry:
        """The registry that the settings name; made or migrated when it has to be.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        if not settings.registry:
            settings.home.mkdir(parents=True, exist_ok=True)
        store = ArtifactStore(settings.artifacts_url, cache=settings.home / "cache")
        registry = cls(settings.registry_url, store, busy_seconds=busy_seconds)
        try:
            create_database(registry._engine)
            migrate(registry._engine)
        except (DatabaseError, OSError) as error:
            reason = error.orig if isinstance(error, DatabaseError) else error
            raise UnavailableError(f"the registry {registry._engine.url!r} cannot be opened: {reason}") from None
        registry._mark_what_it_holds()
        return registry

    def register(
        self,
        domain: str,
        folder: Path,
        *,
        base: Base,
        recipe: dict[str, Any],
        data: DataRecord | None,
        training: dict[str, Any],
        probes: list[Probe],
        created_by: str,
        enforced_notices: Sequence[Sequence[str]] = (),
        origin: Origin | None = None,
        system_prompt: str | None = None,
        system: Switch = "never",
        system_role: SystemRole = "system",
    ) -> Manifest:
        """Let an adapter in as the domain's next version; it becomes the candidate.

        Args:
            system_prompt: what it was trained with; none where nobody knows.
            system: when a server gives a chat that system prompt.
            system_role: where system messages reach the model.

        Raises:
            BadInputError: the adapter is not safe or does not fit the base model; says which tensor or field.
            UnavailableError: another registry is just removing the same artifact from the store.
        """
        from locum.adapters.artifact import inspect_artifact

        check_name(domain)
        artifact = inspect_artifact(folder, base.path)
        owner = self.identity().registry
        with self.store.staged(folder, artifact.digest) as place, self.writing() as db:
            self.store.claim(artifact.digest, owner)
            place()
            top = db.scalar(select(func.max(schema.versions.c.number)).where(schema.versions.c.domain == domain))
            manifest = Manifest(
                domain=domain,
                number=(top or 0) + 1,
                digest=artifact.digest,
                base=base.name,
                base_fingerprint=base.fingerprint,
                rank=artifact.rank,
                alpha=artifact.alpha,
                target_modules=artifact.target_modules,
                parameters=artifact.parameters,
                size=artifact.size,
                system_prompt=system_prompt,
                system=system,
                system_role=system_role,
                recipe=recipe,
                data=data,
                training=training,
                probes=probes,
                origin=origin,
                enforced_notices=[list(wordings) for wordings in enforced_notices],
                code_version=__version__,
                created_at=datetime.now(UTC),
                created_by=created_by,
            )
            row = {"domain": domain, "number": manifest.number, "digest": manifest.digest, "deleted": False}
            inserted = db.execute(insert(schema.versions).values(**row, manifest=manifest.model_dump(mode="json")))
            assert inserted.inserted_primary_key is not None
            _point(db, domain, CANDIDATE, inserted.inserted_primary_key[0])
        self._sweep()
        return manifest

    def versions(self, domain: str | None = None) -> list[Manifest]:
        """All versions that are not deleted, by domain and number."""
        table = schema.versions
        query = select(table.c.manifest).where(~table.c.deleted).order_by(table.c.domain, table.c.number)
        if domain is not None:
            query = query.where(table.c.domain == domain)
        with self.reading() as db:
            return [Manifest.model_validate(row) for row in db.scalars(query)]

    def find(self, domain: str, digest: str, base_fingerprint: str) -> Manifest | None:
        """The newest version of a domain that is this very artifact for this very base model."""
        for manifest in reversed(self.versions(domain)):
            if (manifest.digest, manifest.base_fingerprint) == (digest, base_fingerprint):
                return manifest
        return None

    def resolve(self, ref: Ref | str) -> Manifest:
        """The version that a name means now.

        Raises:
            NotFoundError: nothing has this name; lists what there is.
        """
        with self.reading() as db:
            return _resolve(db, ref).manifest

    def revision(self) -> int:
        """Changes with every change that a server must hear of."""
        with self.reading() as db:
            return _revision(db)

    def snapshot(self, last: Snapshot | None = None) -> Snapshot:
        """All versions and aliases at one revision.

        Args:
            last: an earlier snapshot. Versions never change, so the manifests that it has are not read again.
        """
        known = {entry.id: entry for entry in last.versions.values()} if last else {}
        with self.reading() as db:
            table = schema.versions
            columns = (table.c.id, table.c.domain, table.c.number, table.c.digest)
            rows = db.execute(select(*columns).where(~table.c.deleted).order_by(table.c.domain, table.c.number)).all()
            entries = {row.id: _same(known.get(row.id), f"{row.domain}@{row.number}", row.digest) for row in rows}
            new = [version_id for version_id, entry in entries.items() if entry is None]
            query = select(table.c.id, table.c.manifest).where(~table.c.deleted)
            if len(new) <= FEW:
                query = query.where(table.c.id.in_(new))
            read = db.execute(query).all() if new else []
            entries |= {row.id: VersionEntry(row.id, Manifest.model_validate(row.manifest)) for row in read}
            versions = {entry.manifest.name: entry for entry in entries.values() if entry is not None}
            names = {entry.id: name for name, entry in versions.items()}
            aliases = {
                str(Ref(row.domain, alias=row.alias)): names[row.version_id]
                for row in db.execute(select(schema.aliases))
            }
            return Snapshot(revision=_revision(db), versions=versions, aliases=aliases)

    def artifact_path(self, manifest: Manifest) -> Path:
        """A local folder with the version's artifact, checked against its digest.

        Raises:
            CheckFailedError: a file is missing, truncated or changed.
        """
        return self.store.fetch(manifest.digest)

    def record_evaluation(self, record: EvaluationRecord) -> int:
        """Keep an evaluation with its version; returns its id."""
        with self.writing(bump=False) as db:
            entry = _resolve(db, f"{record.domain}@{record.number}")
            values = {"version_id": entry.id, "record": record.model_dump(mode="json")}
            inserted = db.execute(insert(schema.evaluations).values(**values))
            assert inserted.inserted_primary_key is not None
            return int(inserted.inserted_primary_key[0])

    def evaluations(self, ref: Ref | str) -> list[EvaluationRecord]:
        """A version's evaluations, newest first."""
        with self.reading() as db:
            return [record for _, record in _evaluations(db, _resolve(db, ref).id)]

    def require_suites(self, domain: str, suites: dict[str, str]) -> None:
        """Say which suites, by name and digest, a release of this domain needs evidence from."""
        with self.writing(bump=False) as db:
            _require(db, domain, suites)

    def required_suites(self, domain: str) -> dict[str, str]:
        """Digest of each suite that a release of this domain needs evidence from, by name."""
        with self.reading() as db:
            return _required(db, domain)

    def release(
        self,
        ref: Ref | str,
        *,
        by: str,
        reason: str | None = None,
        force: bool = False,
        suites: Mapping[str, RequiredSuite] | None = None,
    ) -> Release:
        """Put a version into production, on the evidence for exactly this digest, base model and suites, and beside
        exactly the version that is in production now.

        Args:
            suites: what the domain's card asks for now, by name; none where that is not at hand: then what the last
                evaluation or release required decides. A refusal leaves that as it was.

        Raises:
            BadInputError: `force` without a reason.
            ConflictError: it is in production already.
            GateError: evidence is missing or the gate failed; says which.
        """
        if force and not (reason or "").strip():
            raise BadInputError("a forced release needs a reason", hint='add --reason "…": it is recorded')
        with self.writing() as db:
            entry = _resolve(db, ref)
            manifest = entry.manifest
            current = _alias(db, manifest.domain, PRODUCTION)
            if current == entry.id:
                raise ConflictError(f"{manifest.name} is in production already")
            production = None if current is None else _entry(db, current).manifest
            if suites is not None:
                _require(db, manifest.domain, {name: suite.digest for name, suite in suites.items()})
            required = _required(db, manifest.domain)
            parts = {name: suite.parts for name, suite in (suites or {}).items()}
            evaluations = _evaluations(db, entry.id)
            records = [record for _, record in evaluations]
            missing = missing_evidence(manifest, required, records, production=production, parts=parts)
            if missing and not force:
                lines = [f"{manifest.name} is not released", *(lack.sentence for lack in missing)]
                raise GateError("\n".join(lines), hint=what_to_do(manifest, missing))
            return self._move(
                db,
                entry,
                action="forced release" if missing else "release",
                by=by,
                reason=reason,
                evidence=evidence_for(manifest, required, evaluations, production=production),
                missing=[lack.sentence for lack in missing],
            )

    def rollback(self, domain: str, *, by: str, to: Ref | str | None = None, reason: str | None = None) -> Release:
        """Put a version back that was in production before: it needs no new evidence.

        Args:
            to: which one; else the one that was there before the present one.

        Raises:
            NotFoundError: the domain, or the version, is not there.
            ConflictError: there was none before, or that version never was in production or is there now.
        """
        with self.writing() as db:
            entry = _previous(db, domain) if to is None else _released_before(db, domain, to)
            return self._move(db, entry, action="rollback", by=by, reason=reason)

    def history(self, domain: str) -> list[Release]:
        """Who put what into production, when and on which evidence; newest first."""
        table = schema.releases
        columns = [table.c[name] for name in Release.model_fields]
        query = select(*columns).where(table.c.domain == domain).order_by(table.c.id.desc())
        with self.reading() as db:
            rows = db.execute(query).mappings().all()
        return [Release.model_validate({**row, "at": _utc(row["at"])}) for row in rows]

    def delete(self, ref: Ref | str) -> Manifest:
        """Take a version out of the registry. Its number and its id are never used again.

        Raises:
            ConflictError: it is in production, or what a rollback would go back to.
        """
        with self.writing() as db:
            entry = _resolve(db, ref)
            manifest = entry.manifest
            for alias in (PRODUCTION, PREVIOUS):
                if _alias(db, manifest.domain, alias) == entry.id:
                    raise ConflictError(
                        f"{manifest.name} is {alias} of {manifest.domain} and is not deleted",
                        hint="release another version first",
                    )
            db.execute(delete(schema.aliases).where(schema.aliases.c.version_id == entry.id))
            db.execute(update(schema.versions).where(schema.versions.c.id == entry.id).values(deleted=True))
        self._sweep()
        return manifest

    def identity(self) -> Identity:
        """What this registry is called in the artifact store, which it may share with others.

        Raises:
            UnavailableError: it has no identity yet, and the database cannot be written to.
        """
        with self.reading() as db:
            found = read_identity(db)
        if found is None:
            with self.writing(bump=False) as db:
                found = draw_identity(db)
        return found

    def other_owners(self, digest: str) -> set[str]:
        """The other registries that hold this artifact, and `UNKNOWN` where there may be some that the store does not
        know of.

        Raises:
            StoreError: the store does not answer.
        """
        return self.store.owners(digest) - {self.identity().registry}

    def _mark_what_it_holds(self) -> None:
        """Once for each store. It is no reason not to open a registry if that cannot be done now."""
        try:
            if self.identity().marked_in != self.store.root:
                self._sweep()
        except UnavailableError as error:
            logger.warning("what this registry holds could not be marked in the artifact store: %s", error)

    def _sweep(self) -> None:
        """Mark the artifacts that versions have as this registry's, and remove those of deleted versions that neither
        another version nor another registry holds, and what killed processes left.

        Whoever registers or deletes does it afterwards, so what is left behind by a process that died in between is
        gone with the next one. An artifact that no version ever had stays (a registration that died on its last
        step): a copy of this registry may have a version of it.
        """
        owner = self.identity().registry
        table = schema.versions
        visible = select(table.c.digest).where(~table.c.deleted)
        deleted = select(table.c.digest).where(table.c.deleted, table.c.digest.not_in(visible))
        with self.writing(bump=False) as db:  # nobody registers the same artifact here while we look and remove
            wanted, unwanted = set(db.scalars(visible)), set(db.scalars(deleted))
            try:
                self.store.sweep(owner, wanted=wanted, unwanted=unwanted)
            except Exception as error:  # what was asked for is done; the next one sweeps again
                logger.warning("artifacts could not be marked as held, or removed when nobody needs them: %s", error)
            else:
                record_marked(db, self.store.root)

    def _move(
        self,
        db: Connection,
        entry: VersionEntry,
        *,
        action: str,
        by: str,
        reason: str | None,
        evidence: Sequence[Evidence] = (),
        missing: Sequence[str] = (),
    ) -> Release:
        manifest = entry.manifest
        current = _alias(db, manifest.domain, PRODUCTION)
        replaced = _entry(db, current).manifest.name if current is not None else None
        _point(db, manifest.domain, PRODUCTION, entry.id)
        _point(db, manifest.domain, PREVIOUS, current)
        if _alias(db, manifest.domain, CANDIDATE) == entry.id:
            _point(db, manifest.domain, CANDIDATE, None)
        release = Release.model_validate(
            {
                "domain": manifest.domain,
                "action": action,
                "version": manifest.name,
                "replaced": replaced,
                "by": by,
                "at": datetime.now(UTC),
                "reason": reason,
                "evidence": list(evidence),
                "missing": list(missing),
            }
        )
        row = {**release.model_dump(), "evidence": [item.model_dump(mode="json") for item in evidence]}
        db.execute(insert(schema.releases).values(**row))
        return release

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection whose queries all see one moment. For the modules of this package that keep tables of their own.

        Raises:
            UnavailableError: the database does not answer.
        """
        with _explained(self._engine), self._engine.connect() as db:
            if self._engine.dialect.name == "postgresql":  # several queries, one moment; SQLite does so by itself
                db = db.execution_options(isolation_level="REPEATABLE READ")
            with db.begin():
                yield db

    @contextmanager
    def writing(self, *, bump: bool = True) -> Iterator[Connection]:
        """A connection that alone may write, in one transaction. `bump` tells the servers that names may have changed.

        Raises:
            UnavailableError: the database does not answer.
        """
        with _explained(self._engine), self._engine.connect() as db:
            if self._engine.dialect.name == "sqlite":
                db = db.execution_options(locum_begin="BEGIN IMMEDIATE")
            with db.begin():
                if self._engine.dialect.name == "postgresql":
                    db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITE_LOCK})
                yield db
                if bump:
                    db.execute(update(schema.state).values(revision=schema.state.c.revision + 1))

    def forget_deleted(self) -> None:
        """Empty SQLite's write-ahead log, which still holds what was deleted. PostgreSQL's vacuum does it by itself."""
        if self._engine.dialect.name == "sqlite":
            with _explained(self._engine), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (DatabaseError, TimeoutError) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        raise UnavailableError(f"the registry {engine.url!r} does not answer: {reason}") from None


def _utc(at: datetime) -> datetime:
    """SQLite gives back what we wrote in UTC without saying so; PostgreSQL in the zone of the session."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _revision(db: Connection) -> int:
    return int(db.scalar(select(schema.state.c.revision)) or 0)


def _entry(db: Connection, version_id: int) -> VersionEntry:
    manifest = db.scalar(select(schema.versions.c.manifest).where(schema.versions.c.id == version_id))
    return VersionEntry(version_id, Manifest.model_validate(manifest))


def _same(entry: VersionEntry | None, name: str, digest: str) -> VersionEntry | None:
    """The entry if it is what it should be: a registry restored from a backup may give an id to another version."""
    if entry is None or (entry.manifest.name, entry.manifest.digest) != (name, digest):
        return None
    return entry


def _resolve(db: Connection, ref: Ref | str) -> VersionEntry:
    ref = parse_ref(ref) if isinstance(ref, str) else ref
    table = schema.versions
    if ref.alias is not None:
        found = _alias(db, ref.domain, ref.alias)
    else:
        query = select(table.c.id).where(table.c.domain == ref.domain, table.c.number == ref.number, ~table.c.deleted)
        found = db.scalar(query)
    if found is None:
        meant = did_you_mean(str(ref), _names(db))
        raise NotFoundError(
            f"there is no {ref}{meant or ';'} {_what_there_is(db, ref.domain)}", hint=_where_from(db, ref.domain)
        )
    return _entry(db, found)


def _previous(db: Connection, domain: str) -> VersionEntry:
    found = _alias(db, domain, PREVIOUS)
    if found is not None:
        return _entry(db, found)
    if _alias(db, domain, PRODUCTION) is None:
        raise NotFoundError(
            f"{domain} has nothing in production to go back from; {_what_there_is(db, domain)}",
            hint=_where_from(db, domain),
        )
    raise ConflictError(
        f"{domain} has no previous version to go back to", hint=f"locum history {domain} shows its releases"
    )


def _released_before(db: Connection, domain: str, ref: Ref | str) -> VersionEntry:
    entry = _resolve(db, ref)
    name = entry.manifest.name
    if entry.manifest.domain != domain:
        raise BadInputError(f"--to {ref}: expected a version of {domain}")
    if _alias(db, domain, PRODUCTION) == entry.id:
        raise ConflictError(f"{name} is in production already")
    table = schema.releases
    if db.scalar(select(table.c.id).where(table.c.domain == domain, table.c.version == name).limit(1)) is None:
        raise ConflictError(
            f"{name} never was in production, so there is nothing to go back to",
            hint=f"`locum release {name}` puts it there, on its evidence",
        )
    return entry


def _names(db: Connection) -> list[str]:
    """Every name of a version that means one, of all domains."""
    versions, aliases = schema.versions.c, schema.aliases.c
    numbered = db.execute(select(versions.domain, versions.number).where(~versions.deleted))
    named = db.execute(select(aliases.domain, aliases.alias))
    return [
        *(str(Ref(row.domain, number=row.number)) for row in numbered),
        *(str(Ref(row.domain, alias=row.alias)) for row in named),
    ]


def _what_there_is(db: Connection, domain: str) -> str:
    table = schema.versions
    numbers = db.scalars(select(table.c.number).where(table.c.domain == domain, ~table.c.deleted)).all()
    if not numbers:
        domains = db.scalars(select(table.c.domain).where(~table.c.deleted).distinct().order_by(table.c.domain)).all()
        return f"{domain} has no version (domains with versions: {', '.join(domains) or 'none'})"
    aliases = db.scalars(select(schema.aliases.c.alias).where(schema.aliases.c.domain == domain)).all()
    names = [f"{domain}@{number}" for number in sorted(numbers)]
    return f"there is: {', '.join(names + sorted(str(Ref(domain, alias=alias)) for alias in aliases))}"


def _where_from(db: Connection, domain: str) -> str:
    table = schema.versions
    any_id = db.scalar(select(table.c.id).where(table.c.domain == domain, ~table.c.deleted).limit(1))
    return f"locum train {domain} makes one" if any_id is None else "locum adapters list"


def _alias(db: Connection, domain: str, alias: str) -> int | None:
    table = schema.aliases
    found: int | None = db.scalar(select(table.c.version_id).where(table.c.domain == domain, table.c.alias == alias))
    return found


def _point(db: Connection, domain: str, alias: str, version_id: int | None) -> None:
    table = schema.aliases
    db.execute(delete(table).where(table.c.domain == domain, table.c.alias == alias))
    if version_id is not None:
        db.execute(insert(table).values(domain=domain, alias=alias, version_id=version_id))


def _require(db: Connection, domain: str, suites: Mapping[str, str]) -> None:
    table = schema.required_suites
    db.execute(delete(table).where(table.c.domain == domain))
    rows = [{"domain": domain, "suite": suite, "digest": digest} for suite, digest in suites.items()]
    if rows:
        db.execute(insert(table), rows)


def _required(db: Connection, domain: str) -> dict[str, str]:
    table = schema.required_suites
    return {row.suite: row.digest for row in db.execute(select(table).where(table.c.domain == domain))}


def _evaluations(db: Connection, version_id: int) -> list[tuple[int, EvaluationRecord]]:
    table = schema.evaluations
    rows = db.execute(select(table).where(table.c.version_id == version_id).order_by(table.c.id.desc()))
    return [(row.id, EvaluationRecord.model_validate(row.record)) for row in rows]
