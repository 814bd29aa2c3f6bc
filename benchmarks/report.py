"""What the benchmarks share: the machine they ran on, and ratios with their spread."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


def machine(threads: int) -> str:
    """One line: CPU, threads, versions."""
    import torch

    return f"{_cpu()}, {threads} threads, torch {torch.__version__}, Python {platform.python_version()}"


def median_and_spread(ratios: Sequence[float]) -> str:
    """The median, and in brackets the range that it comes from."""
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
