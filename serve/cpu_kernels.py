"""Locum's C++ kernels for CPUs: compiled once on the host that runs them, for the CPU that it has."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from locum.serve.host import cpu_flags, find_compiler

logger = logging.getLogger("vllm.locum.cpu")

SOURCE = Path(__file__).parent / "kernels" / "lora.cpp"
FLAGS = ["-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared"]


@cache
def load() -> bool:
    """Make `torch.ops.locum.add_lora` and `add_expand` known; false, with the reason in the log, where it cannot be.

    PyTorch's own `cpp_extension.load` is not used: it needs ninja on the PATH, and waits for ever for the lock of a
    build that was killed.
    """
    compiler = find_compiler()
    if compiler is None:
        logger.warning(
            "no C++ compiler, or no Python.h, found: adapters are served by PyTorch's own operations, which is slower"
        )
        return False
    try:
        torch.ops.load_library(_built(compiler))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        logger.warning("adapters are served by PyTorch's own operations, which is slower; no kernels: %s", reason)
        return False
    for name in ("add_lora", "add_expand"):
        torch.library.register_fake(f"locum::{name}", lambda *args: None)
    return True


def _built(compiler: str) -> Path:
    """The compiled kernels, from the cache if this compiler made them for this source, torch and CPU before.

    The CPU's features are part of the name: a home folder may be shared by hosts with other ones.
    """
    made_from = (SOURCE.read_text(encoding="utf-8"), compiler, *FLAGS, torch.__version__, *sorted(cpu_flags()))
    name = f"locum-{hashlib.sha256(chr(0).join(made_from).encode()).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "locum"
    if not (folder / name).is_file():
        logger.info("compiling Locum's CPU kernels")
        from torch.utils.cpp_extension import include_paths, library_paths

        folder.mkdir(parents=True, exist_ok=True)
        abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
        places = [*(f"-I{path}" for path in include_paths()), *(f"-L{path}" for path in library_paths())]
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished) / name
            command = [compiler, *FLAGS, abi, str(SOURCE), *places, "-ltorch", "-ltorch_cpu", "-lc10", "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made.replace(folder / name)
    return folder / name
