"""lm-evaluation-harness as a package: optional, heavy, and loud."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum.errors import LocumError, NotFoundError, UnavailableError
from locum.text import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def open_harness(include: Path | None) -> Iterator[Any]:
    """The harness, quiet, in the folder that the data files of its task are relative to.

    Raises:
        UnavailableError: it is not installed, or anything goes wrong within.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import lm_eval
        from datasets.utils.logging import disable_progress_bar
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"lm-evaluation-harness is not whole: the package {error.name!r} is not installed",
            hint="pip install 'locum[harness]'",
        ) from None
    disable_progress_bar()
    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)  # it logs what we raise, too
    try:
        with contextlib.chdir(include or Path.cwd()), _silence():
            yield lm_eval
    except LocumError:
        raise
    except Exception as error:
        raise UnavailableError(f"lm-evaluation-harness stopped: {type(error).__name__}: {error}") from error


def task_manager(task: str, include: Path | None) -> Any:
    """What loads the task: from the folder `include` alone, or of those that the harness brings.

    Raises:
        NotFoundError: there is no such task.
    """
    from lm_eval.tasks import TaskManager

    here = None if include is None else str(include)
    manager = TaskManager(include_path=here, include_defaults=include is None)  # reading all its own takes seconds
    if task not in manager.all_tasks:
        where = f"in {here}" if here else "of its own"
        raise NotFoundError(
            f"lm-evaluation-harness has no task {task!r} {where}{did_you_mean(task, manager.all_tasks)}",
            hint="`lm_eval ls tasks` lists its own; `include` names a folder with others",
        )
    return manager


@contextlib.contextmanager
def heard(console: Console | None) -> Iterator[Console | None]:
    """The console; if it writes to standard error, on a stream of its own that `open_harness` does not silence."""
    if console is None or not console.stderr:
        yield console
        return
    from rich.console import Console

    with os.fdopen(os.dup(2), "w") as stream:
        yield Console(file=stream, force_terminal=console.is_terminal)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let neither the harness' bars reach the terminal nor what the commands say that it runs, such as git."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
