"""A worker whose accelerate parts models on CPUs too: by itself it does so on GPUs only, though FSDP itself can."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch.distributed
from accelerate import PartialState
from accelerate.utils import DistributedType

from locum.train import worker


def gloo(*_: Any) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


if __name__ == "__main__":
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = gloo
    torch.distributed.init_process_group("gloo")
    worker.main(Path(sys.argv[1]))
