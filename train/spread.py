"""On how many processes, of how many hosts, a training runs; and what cannot be spread."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError, NotFoundError, UnavailableError


@dataclass(frozen=True)
class Spread:
    """The same on all hosts, but for `host_rank`."""

    processes: int = 1
    """On each host."""
    hosts: int = 1
    host_rank: int = 0
    rendezvous: str | None = None
    """host:port of host 0, where all meet."""
    config: Path | None = None
    """A configuration of accelerate: FSDP or DeepSpeed instead of a whole model in each process."""

    @property
    def world(self) -> int:
        """Processes of all hosts together."""
        return self.processes * self.hosts

    @property
    def alone(self) -> bool:
        """Whether the training needs no process but this one."""
        return self.world == 1 and self.config is None


ALONE = Spread()

# With other values an adapter, or a checkpoint of it, would be written in parts or not at all.
_FSDP = {"fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT", "fsdp_activation_checkpointing": False}


def check_spread(spread: Spread, recipe: TrainingRecipe) -> None:
    """Refuse, before anything starts, what could not run or would not learn the same as one process.

    Raises:
        BadInputError: the options do not go together, or the recipe cannot be dealt out so.
        UnavailableError: there are not enough cores or GPUs, or a library is not installed.
    """
    for library in ("torch", "accelerate"):
        if importlib.util.find_spec(library) is None:
            raise UnavailableError(
                f"training needs {library}, which is not installed", hint="pip install 'locum[train]'"
            )
    _check_hosts(spread)
    _check_devices(spread)
    _check_recipe(spread, recipe)
    if spread.config is not None:
        _check_config(spread.config, recipe)


def _check_hosts(spread: Spread) -> None:
    if spread.hosts == 1:
        if spread.rendezvous is not None or spread.host_rank:
            raise BadInputError("--rendezvous and --host-rank mean nothing on one host", hint="give --hosts too")
        return
    if not 0 <= spread.host_rank < spread.hosts:
        raise BadInputError(
            f"--host-rank {spread.host_rank}: expected 0 to {spread.hosts - 1} with --hosts {spread.hosts}"
        )
    host, _, port = (spread.rendezvous or "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInputError(
            f"--hosts {spread.hosts}: expected --rendezvous HOST:PORT, found {spread.rendezvous}",
            hint="the address of host 0 and a free port there, the same on all hosts",
        )


def _check_devices(spread: Spread) -> None:
    import torch

    gpus = torch.cuda.device_count()
    there, of = (gpus, "GPUs") if gpus else (cores(), "cores")
    if spread.processes > there:
        raise UnavailableError(
            f"--processes {spread.processes}: this machine has {there} {of}", hint=f"at most one on each: {there}"
        )


def _check_recipe(spread: Spread, recipe: TrainingRecipe) -> None:
    world = spread.world
    if world == 1:
        return
    if recipe.method == "orpo":
        raise BadInputError(
            "method orpo averages over the tokens that one process sees, so what is learnt would depend on the number "
            "of processes",
            hint="train it in one process, or --set method=dpo",
        )
    if recipe.batch_size % world:
        nearest = -(-recipe.batch_size // world) * world
        raise BadInputError(
            f"batch_size {recipe.batch_size} cannot be dealt out evenly to {world} processes",
            hint=f"--set batch_size={nearest}, or a number of processes that divides {recipe.batch_size}",
        )
    if recipe.method == "kto" and recipe.batch_size < 2 * world:
        raise BadInputError(
            f"method kto compares answers within a batch: batch_size {recipe.batch_size} leaves each of {world} "
            "processes with one",
            hint=f"--set batch_size={2 * world}",
        )


def _check_config(config: Path, recipe: TrainingRecipe) -> None:
    import torch

    read = _read_config(config)
    kind = str(read.distributed_type.value)
    if kind not in {"FSDP", "DEEPSPEED"}:
        raise BadInputError(
            f"{config}: distributed_type: expected FSDP or DEEPSPEED, found {kind}",
            hint="for a whole model in each process, leave --accelerate-config out: --processes is enough",
        )
    for name, expected in _FSDP.items() if kind == "FSDP" else ():
        found = (read.fsdp_config or {}).get(name)
        if found != expected:
            raise BadInputError(
                f"{config}: {name}: expected {str(expected).lower()}, found {str(found).lower()}",
                hint="start from deploy/train/fsdp2.yaml, which says why",
            )
    if recipe.method == "qlora":
        raise BadInputError(
            "method qlora: weights of 4 bits cannot be parted among processes",
            hint="leave --accelerate-config out: each process then holds all of them; or --set method=lora",
        )
    if recipe.method != "lora":
        raise BadInputError(
            f"method {recipe.method} with {kind}: only lora has been shown to learn the same with parted weights",
            hint="leave --accelerate-config out: each process then holds the whole model",
        )
    if kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise UnavailableError(f"{config} needs deepspeed, which is not installed", hint="pip install deepspeed")
    if not torch.cuda.is_available():
        raise UnavailableError(
            f"{config}: accelerate parts models among GPUs only, and there is none here",
            hint="leave --accelerate-config out: --processes works on CPUs, with the whole model in each process",
        )


def _read_config(config: Path) -> Any:
    import yaml
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    if config.is_file() and not config.read_bytes().strip():
        raise BadInputError(f"--accelerate-config {config}: it is empty", hint="accelerate config writes one")
    try:
        read = load_config_from_file(str(config))
    except FileNotFoundError:
        raise NotFoundError(f"--accelerate-config {config}: there is no such file") from None
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise BadInputError(
            f"--accelerate-config {config}: not a configuration of accelerate: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(read, ClusterConfig):
        raise BadInputError(f"--accelerate-config {config}: compute_environment: expected LOCAL_MACHINE")
    return read


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
