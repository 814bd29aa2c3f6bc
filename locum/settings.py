"""Settings: one `locum.toml`, `LOCUM_*` variables, and what the code defaults to.

A variable wins over the file, the file over the default.
"""

from __future__ import annotations

import getpass
import os
import sys
import tomllib
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from locum.errors import BadInputError
from locum.network import http_url
from locum.text import closest, did_you_mean

CONFIG_FILE = "locum.toml"
ENV_PREFIX = "LOCUM_"
NO_SUCH_PATH = "the URL of an endpoint usually ends in /v1"  # the hint where a server knows no path of OpenAI's API


class _Variables(EnvSettingsSource):
    """`LOCUM_*`, but for what Kubernetes sets in every container beside a service called `locum`."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        if _is_of_kubernetes(found.get("port")):
            _say_passed_over(found.pop("port"))
        for name in os.environ:
            _say_misspelt(name)
        return found


class _File(TomlConfigSettingsSource):
    """locum.toml, with the mark before its text that Windows' editors write; an empty one sets nothing."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return _read_toml(file_path)


def _read_toml(path: Path | Traversable) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


class Settings(BaseSettings):
    """What is in force for one command. Relative paths are relative to the working folder."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, toml_file=CONFIG_FILE, extra="forbid", frozen=True)

    home: Path = Field(Path(".locum"), description="the one folder of state: registry, artifacts, bases, data, runs")
    domains: Path = Field(Path("domains"), description="the folder of domain cards")
    base: str = Field(
        "smollm2-135m-instruct", description="name of the base model in force, as `locum base show` lists it"
    )
    registry: str = Field("", description="SQLAlchemy URL of the registry; empty for SQLite in `home`")
    artifacts: str = Field("", description="fsspec URL of the artifact store; empty for a folder in `home`")
    host: str = Field("127.0.0.1", description="address that `locum serve` listens on")
    port: int = Field(8000, ge=1, le=65535, description="port that `locum serve` listens on")
    endpoint: str = Field("", description="URL of the server to talk to; empty for http://HOST:PORT/v1")
    api_key: SecretStr = Field(
        SecretStr(""), description="bearer token for the chat routes, if the server asks for one"
    )
    admin_token: SecretStr = Field(SecretStr(""), description="bearer token of the admin routes")
    teacher: str = Field(
        "", description="URL of a model that writes data, such as http://127.0.0.1:8000/v1; empty for none"
    )
    teacher_model: str = Field("", description="name of the model that `teacher` is asked for")
    teacher_key: SecretStr = Field(SecretStr(""), description="bearer token for the teacher, if it asks for one")
    user: str = Field(default_factory=lambda: _login_name(), description="who is recorded as having done things")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Variables(settings_cls), _File(settings_cls)

    @property
    def registry_url(self) -> str:
        return self.registry or f"sqlite:///{(self.home / 'registry.db').absolute()}"

    @property
    def artifacts_url(self) -> str:
        return self.artifacts or str((self.home / "artifacts").absolute())

    @property
    def bases(self) -> Path:
        """Base models that `locum base pull` made ready, one folder each."""
        return self.home / "bases"

    @property
    def base_path(self) -> Path:
        return self.bases / self.base

    def variables(self) -> dict[str, str]:
        """These settings as `LOCUM_*` variables, secrets included, for a process that is to have the same."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values |= {"home": self.home.absolute(), "domains": self.domains.absolute()}
        values |= {"registry": self.registry_url, "artifacts": self.artifacts_url}
        return {
            f"{ENV_PREFIX}{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
        }

    def data_path(self, domain: str) -> Path:
        """Folder of a domain's splits: train.jsonl, validation.jsonl, test.jsonl, data.json."""
        return self.home / "data" / domain

    def reviews_path(self, domain: str) -> Path:
        """The file of what a teacher wrote for a domain, and what people decided on it."""
        return self.home / "reviews" / f"{domain}.db"

    @property
    def runs(self) -> Path:
        """Training runs, one folder each."""
        return self.home / "runs"

    @property
    def evaluations(self) -> Path:
        """Evaluations, one folder each."""
        return self.home / "evaluations"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def endpoint_url(self) -> str:
        return (self.endpoint or f"{http_url(self.host, self.port)}/v1").rstrip("/")


def load_settings(**overrides: Any) -> Settings:
    """Settings in force; `overrides` (from command-line options) win over everything.

    Raises:
        BadInputError: the file or a variable holds something wrong; names it.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = "; ".join(_complaint(problem, given) for problem in error.errors())
        unknown = any(problem["type"] == "extra_forbidden" for problem in error.errors())
        hint = f"there are: {', '.join(Settings.model_fields)}" if unknown else None
        raise BadInputError(f"settings: {wrong}", hint=hint) from None
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{CONFIG_FILE}: not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{CONFIG_FILE}: not UTF-8: {error.reason}", hint="save it as UTF-8") from None


def origins(settings: Settings) -> dict[str, str]:
    """For each setting, where its value came from: a variable, the file, or `default`."""
    path = Path(CONFIG_FILE)
    in_file = _read_toml(path) if path.is_file() else {}
    environment = {key.upper() for key, value in os.environ.items() if not _is_of_kubernetes(value)}
    found = {}
    for name in type(settings).model_fields:
        variable = ENV_PREFIX + name.upper()
        found[name] = variable if variable in environment else CONFIG_FILE if name in in_file else "default"
    return found


def _is_of_kubernetes(value: object) -> bool:
    """Whether a variable's value is the URL of a service, as in `LOCUM_PORT=tcp://10.0.0.1:8000`."""
    return str(value).startswith(("tcp://", "udp://", "sctp://"))


@cache
def _say_passed_over(port: object) -> None:
    """Once a process."""
    sys.stderr.write(f"LOCUM_PORT={port} is passed over: Kubernetes sets it for a service called `locum`\n")


@cache
def _say_misspelt(variable: str) -> None:
    """Once a process. A variable that is like none of ours may be somebody else's, or Kubernetes'."""
    known = [f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields]
    meant = closest(variable, known, least=0.87) if variable.startswith(ENV_PREFIX) else None
    if meant not in (None, variable):
        sys.stderr.write(f"{variable} is passed over: there is no such setting; did you mean {meant}?\n")


def _complaint(problem: Any, given: dict[str, Any]) -> str:
    """What is wrong, and where it stands: an option, a variable or the file."""
    name = ".".join(str(part) for part in problem["loc"])
    variable = ENV_PREFIX + name.upper()
    where = name if name in given else variable if variable in os.environ else f"{CONFIG_FILE}: {name}"
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such setting{did_you_mean(name, Settings.model_fields)}"
    return f"{where}: {problem['msg']} (found {problem['input']!r})"


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def authorization(api_key: str) -> dict[str, str]:
    """The header that carries a bearer token, if there is one.

    Raises:
        BadInputError: no header can carry it. Whoever would send it shows it in the error.
    """
    if not (api_key.isascii() and api_key.isprintable()):
        raise BadInputError(
            "the API key holds a line end or a character beyond ASCII, which no header can carry",
            hint="often the last line end of the file that the key comes from (LOCUM_API_KEY, or a judge's variable)",
        )
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
