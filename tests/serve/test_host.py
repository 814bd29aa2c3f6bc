"""What the launcher chooses for a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.errors import BadInputError, UnavailableError
from locum.serve import launcher
from locum.serve.host import (
    GIB,
    HostPlan,
    choose_cache_bytes,
    choose_dtype,
    find_compiler,
    plan_for_this_host,
    slot_bytes,
)
from locum.settings import Settings

PLAN = HostPlan("cpu", "float32", "exact", [0, 1], 2 * GIB, [], [])


@pytest.mark.parametrize(
    ("flags", "dtype"), [({"avx2"}, "float32"), ({"avx512f", "avx512_bf16"}, "float32"), ({"amx_bf16"}, "bfloat16")]
)
def test_the_number_type_follows_what_the_cpu_can_multiply(flags: set[str], dtype: str) -> None:
    assert choose_dtype(frozenset(flags))[0] == dtype


@pytest.mark.parametrize(("available", "chosen"), [(2 * GIB, GIB), (20 * GIB, 5 * GIB), (400 * GIB, 16 * GIB)])
def test_the_cache_takes_a_quarter_of_what_is_free_within_bounds(available: int, chosen: int) -> None:
    assert choose_cache_bytes(available) == chosen


def test_the_choice_is_told_in_three_lines() -> None:
    assert len(PLAN.lines()) == 3


@pytest.mark.parametrize("lacking", ["compiler", "headers"])
def test_a_host_that_cannot_compile_is_told_which_packages_make_it_faster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacking: str
) -> None:
    """With a compiler and without Python.h, vLLM fails while it compiles the model, and the server does not start."""
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    assert find_compiler() is not None
    if lacking == "compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    else:
        (tmp_path / "Python.h").unlink()
    assert find_compiler() is None
    [line] = plan_for_this_host().lines()[3:]
    assert "g++ and python3-dev" in line


@pytest.mark.parametrize(("rank", "given"), [(1, "8"), (16, "16"), (17, "32"), (300, "320")])
def test_the_server_gets_the_next_rank_that_vllm_can_hold(rank: int, given: str, base_record: Base) -> None:
    arguments = launcher.arguments(Settings(), base_record, PLAN, rank)
    assert arguments[arguments.index("--max-lora-rank") + 1] == given


def test_a_short_system_prompt_fits_the_prefix_cache_on_cpus(base_record: Base) -> None:
    arguments = launcher.arguments(Settings(), base_record, PLAN, 16)
    assert int(arguments[arguments.index("--block-size") + 1]) <= 32


def test_a_rank_beyond_vllms_is_refused(base_record: Base) -> None:
    with pytest.raises(BadInputError, match="512"):
        launcher.arguments(Settings(), base_record, PLAN, 513)


@pytest.mark.parametrize("argument", ["--api-key", "--api-key=x", "--port", "--model=other"])
def test_arguments_that_locum_decides_are_not_passed_on(argument: str, base_record: Base) -> None:
    with pytest.raises(BadInputError) as caught:
        launcher.start(Settings(), base_record, PLAN, vllm_args=[argument])
    assert caught.value.hint


def test_a_taken_port_is_said_before_anything_is_started(base_record: Base, taken_port: int) -> None:
    with pytest.raises(UnavailableError, match=str(taken_port)):
        launcher.start(Settings(port=taken_port), base_record, PLAN)


def test_the_room_for_adapters_is_said_before_the_start(base_record: Base) -> None:
    line = launcher.room_line(base_record, PLAN, 32)
    assert line.startswith("adapters rank up to 32, 8 at a time: ")
    assert slot_bytes(base_record.path, 32, "float32") == 2 * slot_bytes(base_record.path, 16, "float32")
    # two layers of query, output (64 × 64), key, value (64 × 32), gate, up, down (64 × 128)
    assert slot_bytes(base_record.path, 1, "float32") == 4 * 2 * (2 * 128 + 2 * 96 + 3 * 192)


def test_a_host_without_libnuma_is_refused_with_the_package_that_has_it(
    monkeypatch: pytest.MonkeyPatch, base_record: Base, settings: Settings
) -> None:
    """vLLM only warns that its kernels cannot be loaded, and ends later without a word of the library."""

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("ctypes.CDLL", missing)
    with pytest.raises(UnavailableError, match=r"libnuma\.so\.1") as caught:
        launcher.start(settings, base_record, PLAN)
    assert "apt install libnuma1" in str(caught.value.hint)
