"""An adapter merged into its base model: a whole checkpoint, which answers without PEFT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from locum.adapters.artifact import DTYPES
from locum.adapters.base import TOKENIZER_FILES, Base
from locum.adapters.manifest import Manifest
from locum.adapters.probes import ask_checkpoint, compare_probe_logprobs, quiet_libraries, tolerance_for
from locum.errors import BadInputError, CheckFailedError, DiskFullError, OutOfMemoryError, UnavailableError

SHARD = "5GB"
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_ROOM = 1.1  # times what the weights take


def merge(
    manifest: Manifest, artifact: Path, base: Base, folder: Path, *, say: Callable[[str], None] = lambda _: None
) -> None:
    """Write base model and adapter as one checkpoint, and check that it answers as the version does.

    The sum is made in float32 and rounded once, to the number type of the base model.

    Raises:
        BadInputError: the base model is quantised, so that no sum would be exact.
        CheckFailedError: the checkpoint does not reproduce the version's known answers.
        DiskFullError, OutOfMemoryError: there is too little room.
        UnavailableError: PEFT is not installed.
    """
    _check_base(base)
    _check_room(base, folder)
    say(f"merging {manifest.name} into {base.name}")
    _write(artifact, base, folder)
    for name in ("config.json", "generation_config.json", *TOKENIZER_FILES, "LICENSE*"):
        for path in base.path.glob(name):
            shutil.copyfile(path, folder / path.name)
    if manifest.probes:
        say("asking the merged checkpoint for the known answers")
        _check_answers(manifest, base, folder)


def _write(artifact: Path, base: Base, folder: Path) -> None:
    try:
        quiet_libraries()
        from peft import PeftModel
    except ModuleNotFoundError:
        raise UnavailableError(
            "merging needs PEFT, which is not installed", hint="pip install 'locum[train]'"
        ) from None
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, artifact).merge_and_unload(safe_merge=True)
    merged.to(getattr(torch, base.dtype)).save_pretrained(folder, max_shard_size=SHARD)


def _check_base(base: Base) -> None:
    config = json.loads((base.path / "config.json").read_text(encoding="utf-8"))
    if base.dtype not in DTYPES or "quantization_config" in config:
        raise BadInputError(
            f"{base.name} is quantised ({base.dtype}): expected weights in {', '.join(DTYPES)} to merge into",
            hint="--as peft gives the adapter alone",
        )


def _check_room(base: Base, folder: Path) -> None:
    import psutil

    memory, free = int(4 * base.parameters * _ROOM), psutil.virtual_memory().available
    if free < memory:
        raise OutOfMemoryError(
            f"merging into {base.name} takes {memory / 1e9:.1f} GB of memory, found {free / 1e9:.1f} GB free",
            hint="merge on a larger machine, or --as peft gives the adapter alone",
        )
    needed, room = int(_BYTES[base.dtype] * base.parameters * _ROOM), shutil.disk_usage(folder).free
    if room < needed:
        raise DiskFullError(
            f"the merged checkpoint takes {needed / 1e9:.1f} GB, found {room / 1e9:.1f} GB free at {folder.parent}"
        )


def _check_answers(manifest: Manifest, base: Base, folder: Path) -> None:
    said = ask_checkpoint(folder, manifest.probes)
    report = compare_probe_logprobs(manifest.probes, said, tolerance=tolerance_for(base.dtype))
    if not report.passed:
        raise CheckFailedError(
            f"the merged checkpoint does not answer as {manifest.name} does, and was removed: {report.summary}",
            hint="--as peft gives the adapter alone, which does",
        )
