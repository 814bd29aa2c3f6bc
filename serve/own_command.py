"""A command of Locum's, run by the server in a process of its own: outside its memory, and bounded in time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from locum.errors import BadInputError, CheckFailedError, LocumError, UnavailableError


async def run_locum(*arguments: str, seconds: float) -> Any:
    """The JSON that a command prints. It is ended when it takes longer than `seconds`, or when nobody waits any more.

    Raises:
        CheckFailedError, BadInputError, UnavailableError: by its exit code, with what it said.
        UnavailableError: it takes too long.
    """
    # What is preloaded and bound for the engine is not for a process beside it.
    unwanted = ("LD_PRELOAD", "VLLM_", "OMP_", "KMP_")
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "locum", *arguments],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={key: value for key, value in os.environ.items() if not key.startswith(unwanted)},
    )
    try:
        async with asyncio.timeout(seconds):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise UnavailableError(
            f"`locum {' '.join(arguments[:2])}` took over {seconds:g} seconds, and was ended"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return json.loads(output)
    kind: type[LocumError] = {1: CheckFailedError, 2: BadInputError}.get(process.returncode or 0, UnavailableError)
    raise kind(complaint.decode(errors="replace").strip().removeprefix("Error: "))
