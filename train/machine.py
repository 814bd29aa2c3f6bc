"""What this machine has: its device, its memory, and how fast it multiplies."""

from __future__ import annotations

import platform
import resource
import sys
import time
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def has_gpu() -> bool:
    """Whether training would run on a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def device_name() -> str:
    """The device that training runs on, for people and to compare runs by."""
    import torch

    if has_gpu():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def memory_for_training() -> int:
    """Bytes that a training in this process may have: free ones, and those that the process holds already.

    On a GPU they are the device's. A container's limit counts where it is lower.
    """
    import torch

    if has_gpu():
        free, _ = torch.cuda.mem_get_info()
        return int(free) + int(torch.cuda.memory_reserved())
    import psutil

    held = int(psutil.Process().memory_info().rss)
    return held + min(int(psutil.virtual_memory().available), _left_in_container())


def _left_in_container() -> int:
    """Bytes below the limit of cgroup v2 (https://docs.kernel.org/admin-guide/cgroup-v2.html), caches not counted."""
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="utf-8"))  # `max` where there is none
        used = int((_CGROUP / "memory.current").read_text(encoding="utf-8"))
        figures = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return sys.maxsize
    return max(0, limit - used + int(figures.get("inactive_file", 0)))


def peak_memory() -> int:
    """Bytes that this process held at most; on a GPU, those of the device."""
    import torch

    if has_gpu():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def busy_cores() -> float:
    """How many cores other programs use now, seen over a quarter of a second in which this one waits."""
    import psutil

    return psutil.cpu_percent(interval=0.25) / 100 * (psutil.cpu_count() or 1)


def present_share() -> tuple[float, float]:
    """The cores that other programs keep busy now, and the part of its full speed that a training has beside them."""
    import os

    import torch

    busy = busy_cores()
    return busy, share_of_cores(torch.get_num_threads(), os.cpu_count() or 1, busy)


def share_of_cores(threads: int, cores: int, busy: float) -> float:
    """The part of its full speed that a program of so many threads has beside others that keep `busy` cores busy:
    where all want more cores than there are, the scheduler deals them out alike."""
    wanted = threads + busy
    return 1.0 if wanted <= cores else cores / wanted


def operations_per_second() -> float:
    """Floating-point operations a second of a matrix product, measured in a quarter of a second."""
    import torch

    gpu = has_gpu()
    size = 4096 if gpu else 1024
    kind = {"device": "cuda", "dtype": torch.bfloat16} if gpu else {"dtype": torch.float32}
    matrix = torch.ones(size, size, **kind)
    best, deadline = 0.0, time.monotonic() + 0.25
    while time.monotonic() < deadline:
        started = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # a GPU has finished when its result is here
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best
