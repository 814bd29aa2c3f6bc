"""Locum's C++ kernels for CPUs: compiled once on the host that runs them, for the CPU that it has."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from functools import cache
from pathlib import Path

import torch

from locum.serve.host import cpu_flags

logger = logging.getLogger("vllm.locum.cpu")

SOURCE = Path(__file__).parent / "kernels" / "lora.cpp"
FLAGS = ["-O3", "-march=native", "-fopenmp"]


def can_compile() -> bool:
    """Whether there is a C++ compiler: PyTorch needs it for `torch.compile` too."""
    return shutil.which(os.environ.get("CXX", "c++")) is not None


@cache
def load() -> bool:
    """Make `torch.ops.locum.add_lora` and `add_expand` known; false where there is no compiler.

    PyTorch keeps what it compiled (in `~/.cache/torch_extensions`, or in `TORCH_EXTENSIONS_DIR`), by name: the name has
    the CPU's features in it, because a home folder may be shared by hosts with other ones.
    """
    if not can_compile():
        logger.warning("no C++ compiler found: adapters are served by PyTorch's own operations, which is slower")
        return False
    from torch.utils.cpp_extension import load as compile_and_load

    features = hashlib.sha256(" ".join(sorted(cpu_flags())).encode()).hexdigest()[:12]
    logger.info("compiling Locum's CPU kernels, unless they are there")
    compile_and_load(f"locum_cpu_{features}", [str(SOURCE)], extra_cflags=FLAGS, is_python_module=False)
    for name in ("add_lora", "add_expand"):
        torch.library.register_fake(f"locum::{name}", lambda *args: None)
    return True
