"""One process of a training: `python -m locum.train.worker NOTES`, as accelerate's launcher starts it."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from locum import __version__
from locum.adapters.manifest import DataRecord
from locum.errors import BadInputError, NotFoundError
from locum.train.data.build import load_data
from locum.train.job import JOB_FILE, PROGRESS_FILE, Failure, Job
from locum.train.run import finished, run_digest, run_name


def main(notes: Path) -> None:
    """Take part in the training that the notes tell of; what goes wrong is noted beside."""
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    rank = os.environ["RANK"]
    log = sys.stderr
    if rank == "0":
        sys.stderr = (notes / PROGRESS_FILE).open("w", encoding="utf-8", buffering=1)
    else:
        os.environ.pop("FORCE_COLOR", None)
    try:
        _take_part(Job.model_validate_json((notes / JOB_FILE).read_text(encoding="utf-8")))
    except BaseException as error:
        traceback.print_exc(file=log)
        part = notes / f".failure-{rank}"
        part.write_text(Failure.of(error).model_dump_json(), encoding="utf-8")
        part.rename(notes / f"failure-{rank}.json")
        log.flush()
        os._exit(1)  # without a farewell to the others, who may wait for this one


def _end_with_the_command() -> None:
    """Nothing is ever written to standard input: it ends when the command does."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _take_part(job: Job) -> None:
    import torch
    from accelerate import PartialState

    from locum.train.trainer import train_rows

    everyone = PartialState(cpu=not torch.cuda.is_available())
    data = _same_everywhere(job)
    digest = run_digest(job.recipe, data, job.base, job.start.digest if job.start else None)
    folder = job.runs / run_name(job.domain, digest)
    if finished(folder, digest) is None:
        train_rows(
            folder, job.domain, digest, job.base, job.data_path, data, job.recipe,
            start=job.start, suites=job.suites, tracking=job.tracking, force=True,
        )  # fmt: skip
    everyone.wait_for_everyone()
    everyone.destroy_process_group()


def _same_everywhere(job: Job) -> DataRecord:
    """The data's record, when every host has the same data, base model, recipe and number of processes.

    Raises:
        BadInputError: they differ.
    """
    from accelerate.utils import gather_object

    try:
        data: DataRecord | None = load_data(job.data_path)
    except NotFoundError:
        data = None
    seen: dict[str, Any] = {
        "version of Locum": __version__,
        "number of processes": job.processes,
        "base model": f"{job.base.name} with fingerprint {job.base.fingerprint[:12]}",
        "start": job.start.name if job.start else None,
        "data": data.digest[:12] if data else None,
        **{f"recipe.{name}": value for name, value in job.recipe.in_force().items()},
    }
    for rank, theirs in enumerate(gather_object([seen])):
        for name in {**seen, **theirs}:
            if theirs.get(name) != seen.get(name):
                raise BadInputError(
                    f"the hosts do not train the same: {name} is {seen.get(name)} here and {theirs.get(name)} "
                    f"in process {rank}",
                    hint="give the same command on all hosts but for --host-rank, with `home` on storage they share",
                )
    if data is None:
        raise NotFoundError(f"{job.data_path} holds no data", hint=f"locum data build {job.domain}")
    return data


if __name__ == "__main__":
    main(Path(sys.argv[1]))
