"""A folder for what a command makes on its way and does not keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locum.settings import Settings


@contextmanager
def scratch_folder(in_force: Settings) -> Iterator[Path]:
    """A folder in the home for what is not kept."""
    import tempfile

    in_force.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=in_force.home) as folder:
        yield Path(folder)
