"""What the design allows a registry to be: the world as anybody can see it, and what each action makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from locum.adapters.registry import Registry
from tests.adapters.worker import SUITE, Order

DOMAINS = ("legal", "medical")


@dataclass(frozen=True)
class World:
    """What there is in a registry, as far as anybody can see it."""

    versions: dict[str, str] = field(default_factory=dict)  # digest by name
    aliases: dict[str, str] = field(default_factory=dict)
    history: tuple[tuple[str, str, str | None], ...] = ()  # action, version, replaced; oldest first, by domain
    required: dict[str, str] = field(default_factory=dict)  # digest of the suite by domain
    # suite digest, whether it passed, and the version in production that answered too; newest first
    evaluations: dict[str, tuple[tuple[str, bool, str | None], ...]] = field(default_factory=dict)


def seen_in(registry: Registry) -> World:
    snapshot = registry.snapshot()
    lines = [line for domain in DOMAINS for line in reversed(registry.history(domain))]
    required = {domain: registry.required_suites(domain) for domain in DOMAINS}
    return World(
        versions={name: entry.manifest.digest for name, entry in snapshot.versions.items()},
        aliases=dict(snapshot.aliases),
        history=tuple((line.action, line.version, line.replaced) for line in lines),
        required={domain: suites[SUITE] for domain, suites in required.items() if suites},
        evaluations={
            name: tuple((each.suite_digest, each.passed, each.production) for each in found)
            for name in snapshot.versions
            if (found := registry.evaluations(name))
        },
    )


def after(world: World, order: Order, *, digests: list[str], next_number: int) -> tuple[World, str]:
    """What the design says that an action does: the world then, and the action's outcome."""
    domain, name = order.domain, order.version
    previous, candidate = f"{domain}@previous", f"{domain}@candidate"
    if order.action == "register":
        name = f"{domain}@{next_number}"
        versions = {**world.versions, name: digests[order.artifact]}
        return replace(world, versions=versions, aliases={**world.aliases, candidate: name}), name
    if order.action == "require":
        return replace(world, required={**world.required, domain: order.suite_digest}), domain
    if order.action == "rollback":
        if previous not in world.aliases:
            return world, "ConflictError" if domain in world.aliases else "NotFoundError"
        return moved(world, world.aliases[previous], "rollback"), world.aliases[previous]
    if name not in world.versions:
        return world, "NotFoundError"
    evaluations = world.evaluations.get(name, ())
    if order.action == "evaluate":
        newest = ((order.suite_digest, order.passed, order.beside), *evaluations)
        return replace(world, evaluations={**world.evaluations, name: newest}), name
    if order.action == "delete":
        if name in (world.aliases.get(domain), world.aliases.get(previous)):
            return world, "ConflictError"
        return replace(
            world,
            versions={each: digest for each, digest in world.versions.items() if each != name},
            aliases={alias: target for alias, target in world.aliases.items() if target != name},
            evaluations={each: found for each, found in world.evaluations.items() if each != name},
        ), name
    if world.aliases.get(domain) == name:
        return world, "ConflictError"
    wanted, rival = world.required.get(domain), world.aliases.get(domain)
    exact = [passed for digest, passed, beside in evaluations if digest == wanted and rival in (None, beside)]
    proven = bool(exact) and exact[0]
    if not proven and not order.force:
        return world, "GateError"
    return moved(world, name, "release" if proven else "forced release"), name


def moved(world: World, name: str, action: str) -> World:
    """Production moves to this version, and production's version to `previous`."""
    domain = name.partition("@")[0]
    replaced = world.aliases.get(domain)
    aliases = {
        alias: target for alias, target in world.aliases.items() if (alias, target) != (f"{domain}@candidate", name)
    }
    aliases[domain] = name
    if replaced is not None:
        aliases[f"{domain}@previous"] = replaced
    lines = [*world.history, (action, name, replaced)]
    by_domain = sorted(lines, key=lambda line: DOMAINS.index(line[1].partition("@")[0]))
    return replace(world, aliases=aliases, history=tuple(by_domain))
