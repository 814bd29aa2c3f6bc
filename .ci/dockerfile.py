"""A reader for this repository's Dockerfile: its steps, without Docker. What it does not know, it refuses."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field

# Each changes how the image is built or what runs in it.
KNOWN = {
    "FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One instruction, with the variables filled in that it sees; not those of RUN's shell."""

    instruction: str
    value: str
    environment: dict[str, str]
    user: str = "root"
    folder: str = "/"

    def words(self) -> list[str]:
        """Its value as a list: JSON where it is JSON, else a shell's words."""
        return list(json.loads(self.value)) if self.value.startswith("[") else shlex.split(self.value)


@dataclass
class _State:
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"


def read(text: str, *, path: str) -> list[Step]:
    """The steps of a Dockerfile in their order, each with the environment, the user and the folder it is run in.

    `path` is the PATH of the image that it is built from.

    Raises:
        ValueError: an instruction that this reader does not know.
    """
    state = _State(environment={"PATH": path})
    return [_step(instruction, value, state) for instruction, value in _instructions(text)]


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(part[0].upper(), part[1] if len(part) > 1 else "") for part in parts]


def _step(instruction: str, value: str, state: _State) -> Step:
    if instruction not in KNOWN:
        raise ValueError(f"the Dockerfile has an instruction that .ci/dockerfile.py does not know: {instruction}")
    if instruction not in {"RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"}:
        value = _filled(value, {**state.arguments, **state.environment})
    if instruction == "ARG":
        name, _, default = value.partition("=")
        state.arguments[name] = default
    elif instruction == "ENV":
        state.environment |= dict(word.split("=", 1) for word in shlex.split(value))
    elif instruction == "USER":
        state.user = value
    elif instruction == "WORKDIR":
        state.folder = value
    seen = {**state.arguments, **state.environment} if instruction == "RUN" else dict(state.environment)
    return Step(instruction, value, seen, state.user, state.folder)


def _filled(value: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], ""), value)
