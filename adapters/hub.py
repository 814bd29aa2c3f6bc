"""Adapters on the Hugging Face hub: taken from there with their commit, and given to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from locum.adapters.beside import READ
from locum.adapters.lora_tensors import SHARDS
from locum.adapters.store import FILES
from locum.errors import BadInputError, ConflictError, LocumError, NotFoundError, UnauthorizedError, UnavailableError

SCHEME = "hf://"
_REPOSITORY = re.compile(r"(?:hf://)?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_WANTED = (*FILES, SHARDS, "README.md", *READ)
_SHARD = re.compile(r"adapter_model-\d+-of-\d+\.safetensors")
_TOKEN_HINT = "`hf auth login`, or set HF_TOKEN to a token that may {}"


@dataclass(frozen=True)
class Repository:
    """`hf://ORG/NAME`, or `hf://ORG/NAME@REVISION`."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}"


def parse_repository(text: str) -> Repository | None:
    """The repository that is meant, or nothing where this is no such name.

    Raises:
        BadInputError: it begins with hf:// and does not go on as it must.
    """
    match = _REPOSITORY.fullmatch(text)
    if match is not None:
        return Repository(match["name"], match["revision"])
    if text.startswith(SCHEME):
        raise BadInputError(f"{text!r}: expected hf://ORG/NAME, or hf://ORG/NAME@REVISION")
    return None


def download_adapter(repository: Repository, target: Path) -> tuple[str, list[str]]:
    """Fetch the two files of an adapter, its README and the small files that say how it is to be asked; no code, and
    nothing of its training.

    Returns:
        The commit they are of, and the names of all files there.

    Raises:
        NotFoundError: there is no such repository, or no adapter in it.
        BadInputError: its weights are a pickle.
        UnauthorizedError: the hub does not let this user read it.
        UnavailableError: the hub does not answer, or may not be asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    from locum.adapters.artifact import pickle_hint

    disable_progress_bars()  # the caller says what is going on
    api = HfApi()
    with explained(f"{repository} cannot be read", "read it"):
        info = api.model_info(repository.name, revision=repository.revision)
        there = {file.rfilename for file in info.siblings or []}
        shards = sorted(name for name in there if _SHARD.fullmatch(name)) if SHARDS in there else []
        missing = [name for name in FILES if name not in there and not (name == FILES[1] and shards)]
        if missing == [FILES[1]] and (pickle := "adapter_model.bin") in there:
            raise BadInputError(f"{repository}: expected {FILES[1]}, found {pickle}", hint=pickle_hint(pickle))
        if missing:
            inner = sorted(name.rpartition("/")[0] for name in there if name.endswith(f"/{missing[0]}"))
            if inner and missing[0] == FILES[0]:
                raise NotFoundError(
                    f"{repository} has no {missing[0]} at its top: its adapters are in {', '.join(inner)}",
                    hint=f"hf download {repository.name} --local-dir FOLDER, and import FOLDER/{inner[-1]}",
                )
            whole = "config.json" in there
            raise NotFoundError(
                f"{repository} has no {missing[0]}: it is no LoRA adapter of PEFT",
                hint=f"as a base model: locum base pull {repository.name}" if whole else None,
            )
        for name in (name for name in (*_WANTED, *shards) if name in there):
            api.hf_hub_download(repository.name, name, revision=info.sha, local_dir=target)
    return str(info.sha), sorted(there)


def create_repository(repository: Repository, *, private: bool) -> None:
    """Make the repository, if it is not there: what may not be written is known before the work is done.

    Raises:
        ConflictError: it is there and public, and was to be private.
        UnauthorizedError: there is no token, or it does not let this user write there.
        UnavailableError: the hub does not answer, or may not be asked.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with explained(f"{repository} cannot be written", "write"):
        api.create_repo(repository.name, private=private, exist_ok=True)
        if private and not api.model_info(repository.name).private:
            raise ConflictError(
                f"{repository} is there already and public, expected a private repository",
                hint="choose another name, or make it private on its page first",
            )


def upload(repository: Repository, folder: Path, *, message: str) -> str:
    """Put all files of a folder into the repository, in one commit; returns its address.

    Raises:
        UnauthorizedError, UnavailableError: as `create_repository`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    with explained(f"{repository} cannot be written", "write"):
        commit = HfApi().upload_folder(repo_id=repository.name, folder_path=folder, commit_message=message)
    return str(commit.commit_url)


@contextmanager
def explained(failed: str, purpose: str) -> Iterator[None]:
    """Says of the hub's errors what to do about them."""
    # `HTTPError` is that of the client which this version of the library uses: requests, httpx or httpx2.
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    token = _TOKEN_HINT.format(purpose)
    try:
        yield
    except LocumError:
        raise
    except OfflineModeIsEnabled:
        raise UnavailableError(
            f"{failed}: the hub may not be asked, since HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE"
        ) from None
    except LocalTokenNotFoundError:
        raise UnauthorizedError(f"{failed}: there is no token for the hub", hint=token) from None
    except HFValidationError as error:
        raise BadInputError(f"{failed}: {_first_line(error)}") from None
    except GatedRepoError:
        raise UnauthorizedError(
            f"{failed}: its owners give it to whom they choose", hint="ask for access on its page; then " + token
        ) from None
    except RevisionNotFoundError as error:
        raise NotFoundError(f"{failed}: {_first_line(error)}") from None
    except RepositoryNotFoundError:
        raise NotFoundError(
            f"{failed}: the hub knows no such repository, or shows it to others only",
            hint=f"check the name; if it is private, {token}",
        ) from None
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise UnauthorizedError(f"{failed}: {_first_line(error)}", hint=token) from None
        raise UnavailableError(f"{failed}: {_first_line(error)}") from None
    except (LocalEntryNotFoundError, HTTPError, ConnectionError) as error:
        raise UnavailableError(f"{failed}: the hub does not answer: {_first_line(error)}", hint="try again") from None


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
