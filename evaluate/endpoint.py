"""What a live endpoint serves: read from its `/models` before anything is asked of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.manifest import Manifest
from locum.errors import CheckFailedError, NotFoundError, UnauthorizedError, UnavailableError, UnservableError
from locum.network import on_loopback
from locum.settings import NO_SUCH_PATH, authorization

_TIMEOUT_S = 30.0


class _Base(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kind: Literal["base"]
    fingerprint: str
    max_rank: int | None = None


class _Alias(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kind: Literal["alias"]
    version: str


class _Version(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kind: Literal["version"]
    digest: str
    base_fingerprint: str
    problem: str | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str
    locum: Annotated[_Base | _Alias | _Version, Field(discriminator="kind")]


class _State(BaseModel):
    model_config = ConfigDict(extra="ignore")
    problems: dict[str, str] = {}


class _Models(BaseModel):
    model_config = ConfigDict(extra="ignore")
    data: list[_Entry]
    locum: _State = _State()


@dataclass(frozen=True)
class ServedVersion:
    digest: str
    base_fingerprint: str
    problem: str | None = None  # why it is never answered there


@dataclass(frozen=True)
class Endpoint:
    """A Locum server as it describes itself.

    `max_rank` is the highest rank that it holds, where it says so; `problems` is, by alias, why one does not mean there
    what the registry says.
    """

    url: str
    base: str
    fingerprint: str
    versions: dict[str, ServedVersion] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    max_rank: int | None = None
    problems: dict[str, str] = field(default_factory=dict)

    def check(self, manifest: Manifest) -> None:
        """Make sure that what this endpoint serves under a version's name is what the registry means by it.

        Raises:
            UnavailableError: the endpoint does not serve the version, or cannot.
            CheckFailedError: it serves other weights under that name, or over another base model.
        """
        served = self.versions.get(manifest.name)
        if served is None and self.fingerprint != manifest.base_fingerprint:
            raise UnavailableError(
                f"{self.url} serves the base model {self.base} ({self.fingerprint[:12]}), and {manifest.name} was made "
                f"for {manifest.base} ({manifest.base_fingerprint[:12]})",
                hint=f"`locum serve --base {manifest.base}` starts a server of that one, `--endpoint` names another",
            )
        if served is None:
            known = ", ".join(sorted(self.versions)) or "none"
            raise UnavailableError(
                f"{self.url} does not serve {manifest.name} (versions there: {known})",
                hint="does the server use this registry? `locum config` shows which one is in force here",
            )
        _must_equal(f"the digest of {manifest.name}", served.digest, manifest.digest, self.url)
        _must_equal(f"the base model of {manifest.name}", served.base_fingerprint, manifest.base_fingerprint, self.url)
        _must_equal("the base model in service", self.fingerprint, manifest.base_fingerprint, self.url)
        if served.problem is not None:
            raise UnservableError(f"{self.url} cannot serve {manifest.name}: {served.problem}")


def read_endpoint(url: str, *, api_key: str = "", timeout: float = _TIMEOUT_S) -> Endpoint:
    """Ask a server what it serves.

    Args:
        url: the OpenAI-compatible root, such as `http://127.0.0.1:8000/v1`.
        timeout: seconds that it may take.

    Raises:
        UnavailableError: nothing answers there, or what answers is not a Locum server that is ready.
        UnauthorizedError: it wants another key.
    """
    import httpx

    headers, trusts = authorization(api_key), not on_loopback(url)
    try:
        response = httpx.get(f"{url}/models", headers=headers, timeout=timeout, trust_env=trusts)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise UnavailableError(
            f"no server answers at {url} ({type(error).__name__}: {error})",
            hint="`locum serve` starts one; --endpoint or the setting `endpoint` says where it is",
        ) from None
    if response.status_code == 404:
        raise UnavailableError(
            f"{url}/models does not exist: what answers there is no OpenAI-compatible server",
            hint=NO_SUCH_PATH,
        )
    if response.status_code != 200:
        raise error_of(response.status_code, response.content, url)
    try:
        models = _Models.model_validate_json(response.content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UnavailableError(
            f"{url}/models is not the list of a Locum server: {where}: {problem['msg']}",
            hint="evaluation needs a server started by `locum serve`, or a vLLM with VLLM_PLUGINS=locum",
        ) from None
    bases = [(entry.id, entry.locum) for entry in models.data if isinstance(entry.locum, _Base)]
    if len(bases) != 1:
        raise UnavailableError(f"{url}/models lists {len(bases)} base models, expected one")
    [(base, described)] = bases
    return Endpoint(
        url=url,
        base=base,
        fingerprint=described.fingerprint,
        max_rank=described.max_rank,
        problems=models.locum.problems,
        versions={
            entry.id: ServedVersion(entry.locum.digest, entry.locum.base_fingerprint, entry.locum.problem)
            for entry in models.data
            if isinstance(entry.locum, _Version)
        },
        aliases={entry.id: entry.locum.version for entry in models.data if isinstance(entry.locum, _Alias)},
    )


def error_of(status: int, content: bytes, url: str) -> NotFoundError | UnauthorizedError | UnavailableError:
    """What a status other than 200 means for whoever asked."""
    said = message_of(content)
    if status in (401, 403):
        return UnauthorizedError(f"{url} refuses the key: {said}", hint="LOCUM_API_KEY holds the key that is sent")
    if status == 404:
        return NotFoundError(f"{url}: {said}")
    if is_unservable(status, content):
        return UnservableError(f"{url}: {said}")
    return UnavailableError(f"{url} answers {status}: {said}")


def is_unservable(status: int, content: bytes) -> bool:
    """Whether a server says that it cannot answer for as long as it runs, whatever it is asked of that version."""
    if status != UnservableError.http_status:
        return False
    try:
        return bool(json.loads(content)["error"]["type"] == UnservableError.type)
    except (ValueError, KeyError, TypeError):
        return False


def message_of(content: bytes) -> str:
    """The message of an error in OpenAI's format, else the start of whatever came."""
    try:
        body: Any = json.loads(content)
        return str(body["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace") or "no text"


def _must_equal(what: str, served: str, registered: str, url: str) -> None:
    if served != registered:
        raise CheckFailedError(
            f"{what} differs: {url} serves {served}, the registry has {registered}",
            hint="the server and this command must use one registry; `locum adapters verify` compares further",
        )
