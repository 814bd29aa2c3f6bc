"""The adapter products of one step, held against the plain definition row by row."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm.lora.layers import LoRAMapping

from locum.serve import cpu_kernels
from locum.serve.cpu_lora import LONG_RUN, MIXED, SegmentedPunica, pack, segments_of

SLOTS, RANK, WIDTH = 4, 8, 12
OUT = (16, 4, 4)


def punica_for(ids: list[int], *, kernel: bool = True) -> SegmentedPunica:
    """A wrapper for a step whose tokens use these adapter ids; 0 is the base model, id 10·n sits in slot n."""
    punica = SegmentedPunica(512, 512, device="cpu")
    assert punica._has_kernel, "the tests need a C++ compiler, as torch.compile does"
    punica._has_kernel = kernel
    mapping = LoRAMapping(index_mapping=tuple(ids), prompt_mapping=tuple(ids), is_prefill=True)
    punica.update_metadata(mapping, [10, 20, 30, 40], SLOTS, 100)
    return punica


def weights(seed: int) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    a = tuple(torch.randn(SLOTS, 1, RANK, WIDTH, generator=generator) for _ in OUT)
    b = tuple(torch.randn(SLOTS, 1, width, RANK, generator=generator) for width in OUT)
    return a, b


def expected(y: torch.Tensor, x: torch.Tensor, ids: list[int], scale: float, seed: int) -> torch.Tensor:
    a, b = weights(seed)
    wanted = y.clone()
    for row, adapter in enumerate(ids):
        if adapter:
            slot = adapter // 10 - 1
            delta = [b[i][slot, 0] @ (a[i][slot, 0] @ x[row]) * scale for i in range(len(OUT))]
            wanted[row] += torch.cat(delta)
    return wanted


def batches(*adapters: int) -> st.SearchStrategy[list[int]]:
    """Rows of a step: a decoding request is one row, a prompt is many of the same adapter."""
    lengths = st.sampled_from([1, 1, 1, 2, LONG_RUN - 1, LONG_RUN, 2 * LONG_RUN])
    runs = st.lists(st.tuples(st.sampled_from(adapters), lengths), min_size=1, max_size=6)
    return runs.map(lambda found: [adapter for adapter, length in found for _ in range(length)])


@settings(deadline=None, max_examples=200)
@given(
    ids=batches(0, 10, 20, 30, 40),
    scale=st.sampled_from([1.0, 0.5, 2.0]),
    seed=st.integers(0, 1000),
    kernel=st.booleans(),
)
def test_every_token_gets_its_own_adapter_and_the_base_gets_none(
    ids: list[int], scale: float, seed: int, kernel: bool
) -> None:
    x = torch.randn(len(ids), WIDTH, generator=torch.Generator().manual_seed(seed + 1))
    y = torch.randn(len(ids), sum(OUT), generator=torch.Generator().manual_seed(seed + 2))
    wanted = expected(y, x, ids, scale, seed)
    base_rows = [row for row, adapter in enumerate(ids) if not adapter]
    untouched = y[base_rows].clone()

    punica_for(ids, kernel=kernel).add_lora_linear(y, x, *pack(*weights(seed)), scale, OUT)

    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(y[base_rows], untouched), "the base model's rows must be the same to the bit"


@settings(deadline=None, max_examples=30)
@given(ids=batches(0, 10, 30), seed=st.integers(0, 1000))
def test_shrink_then_expand_is_the_same_as_both_at_once(ids: list[int], seed: int) -> None:
    a, b = weights(seed)
    x = torch.randn(len(ids), WIDTH, generator=torch.Generator().manual_seed(seed))
    at_once = torch.zeros(len(ids), sum(OUT))
    in_two = torch.zeros(len(ids), sum(OUT))
    punica = punica_for(ids)
    punica.add_lora_linear(at_once, x, *pack(a, b), 0.5, OUT)
    between = tuple(torch.zeros(len(ids), RANK) for _ in OUT)
    punica.add_shrink(between, x, a, 0.5)
    punica.add_expand(in_two, between, b, OUT)
    torch.testing.assert_close(at_once, in_two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [True, False])
def test_weights_that_vllm_loads_or_clears_later_are_the_ones_that_answer(kernel: bool) -> None:
    a, b = pack(*weights(0))
    x = torch.ones(1, WIDTH)
    punica = punica_for([20], kernel=kernel)
    fresh_a, fresh_b = weights(1)
    for old, new in zip((*a, *b), (*fresh_a, *fresh_b), strict=True):
        old[1].zero_()
        old[1, 0].copy_(new[1, 0])
    y = torch.zeros(1, sum(OUT))
    punica.add_lora_linear(y, x, a, b, 1.0, OUT)
    torch.testing.assert_close(y, expected(torch.zeros(1, sum(OUT)), x, [20], 1.0, seed=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [True, False])
def test_what_an_adapter_makes_of_a_base_row_never_reaches_it_even_when_it_overflows(kernel: bool) -> None:
    a, b = weights(0)
    a[0][0] = torch.inf
    y = torch.zeros(2, sum(OUT))
    punica_for([0, 10], kernel=kernel).add_lora_linear(y, torch.ones(2, WIDTH), *pack(a, b), 1.0, OUT)
    assert y[0].abs().max() == 0


@pytest.mark.parametrize("rows", [3, 2 * LONG_RUN])
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_half_precision_is_as_good_as_its_rounding(rows: int, dtype: torch.dtype, allowed: float) -> None:
    ids = [20] * rows
    x = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(0)).to(dtype)
    a, b = (tuple(each.to(dtype) for each in one) for one in weights(0))
    y = torch.zeros(rows, sum(OUT), dtype=dtype)
    punica_for(ids).add_lora_linear(y, x, *pack(a, b), 1.0, OUT)
    wanted = expected(torch.zeros(rows, sum(OUT)), x.float(), ids, 1.0, seed=0)
    assert ((y.float() - wanted).norm() / wanted.norm()) < allowed


@pytest.mark.parametrize("kernel", [True, False])
def test_weights_that_are_not_packed_are_refused_and_not_misread(kernel: bool) -> None:
    a, b = weights(0)
    with pytest.raises(RuntimeError, match="not packed"):
        punica = punica_for([10], kernel=kernel)
        punica.add_lora_linear(torch.zeros(1, sum(OUT)), torch.ones(1, WIDTH), a, b, 1.0, OUT)


def test_without_the_kernel_a_model_cannot_be_compiled_around_the_segments_of_one_step() -> None:
    a, b = pack(*weights(0))
    punica = punica_for([10], kernel=False)

    def layer(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        punica.add_lora_linear(y, x, a, b, 1.0, OUT)
        return y

    with pytest.raises(Exception, match="must not be compiled"):
        torch.compile(layer, backend="eager", fullgraph=True)(torch.ones(1, WIDTH), torch.zeros(1, sum(OUT)))


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_host_whose_compiler_is_missing_or_fails_serves_without_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cpu_kernels.load.__wrapped__() is False
    assert list(tmp_path.rglob("*.so")) == [], "a failed build must leave nothing that looks like a finished one"


def test_the_number_of_segments_does_not_grow_with_the_rows_of_a_decoding_step() -> None:
    assert len(segments_of([0, -1, 1, 2] * 64)) == 1
    assert segments_of([-1] * 64) == []
    prompt_between_decodes = segments_of([0, -1, 2] + [1] * LONG_RUN + [0, 2])
    assert [(each.rows, each.slots, each.planned_slot) for each in prompt_between_decodes] == [
        (slice(0, 3), slice(0, 3), MIXED),
        (slice(3, 3 + LONG_RUN), slice(1, 2), 1),
        (slice(3 + LONG_RUN, 5 + LONG_RUN), slice(0, 3), MIXED),
    ]


@pytest.mark.parametrize("kernel", [True, False])
def test_embeddings_take_the_adapter_of_their_row(kernel: bool) -> None:
    x = torch.randn(3, RANK, generator=torch.Generator().manual_seed(0))
    b = torch.randn(SLOTS, 1, 6, RANK, generator=torch.Generator().manual_seed(1))
    y = torch.zeros(3, 6)
    punica_for([20, 0, 40], kernel=kernel).add_lora_embedding(y, x, b)
    torch.testing.assert_close(y, torch.stack([b[1, 0] @ x[0], torch.zeros(6), b[3, 0] @ x[2]]))


def test_logits_notice_weights_that_are_loaded_later() -> None:
    a, b = torch.zeros(SLOTS, 1, RANK, WIDTH), torch.ones(SLOTS, 1, 10, RANK)
    punica = punica_for([20])
    y = torch.zeros(1, 10)
    punica.add_lora_logits(y, torch.ones(1, WIDTH), a, b, 1.0)
    assert y.abs().max() == 0
    a[1, 0].copy_(torch.ones(RANK, WIDTH))
    punica.add_lora_logits(y, torch.ones(1, WIDTH), a, b, 1.0)
    assert (y == RANK * WIDTH).all()


@pytest.mark.parametrize(("vocabulary", "padded"), [(10, 10), (10, 16), (16, 10)])
def test_logits_take_the_adapter_up_to_the_narrower_of_the_two_vocabularies(vocabulary: int, padded: int) -> None:
    a, b = torch.ones(SLOTS, 1, RANK, WIDTH), torch.ones(SLOTS, 1, vocabulary, RANK)
    y = torch.zeros(2, padded)
    punica_for([0, 20]).add_lora_logits(y, torch.ones(2, WIDTH), a, b, 1.0)
    width = min(vocabulary, padded)
    assert y[0].abs().max() == 0
    assert (y[1, :width] == RANK * WIDTH).all()
    assert y[1, width:].abs().sum() == 0


def test_stock_vllm_still_answers_the_base_with_the_last_slot() -> None:
    """Why this module exists; when vLLM mends it, this fails and the module may go."""
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    ids = [0, 10]
    punica = PunicaWrapperCPU(64, 64, device="cpu")
    mapping = LoRAMapping(index_mapping=tuple(ids), prompt_mapping=tuple(ids), is_prefill=False)
    punica.update_metadata(mapping, [10, 20, 30, 40], SLOTS, 100)
    a, b = weights(0)
    x = torch.ones(2, WIDTH)
    y = torch.zeros(2, sum(OUT))
    punica.add_lora_linear(y, x, a, b, 1.0, OUT)
    assert y[0].abs().max() > 0


def test_full_weight_adapters_are_refused() -> None:
    nothing = torch.zeros(1)
    with pytest.raises(NotImplementedError, match="full-weight"):
        punica_for([10]).apply_lora_full_linear(nothing, nothing, nothing, nothing, nothing)


def test_without_a_compiler_what_vllm_compiles_besides_the_model_runs_uncompiled(tmp_path: Path) -> None:
    """Counting log-probabilities, which each check of a version by its probes asks for."""
    program = (
        "import torch\n"
        "from vllm.platforms import current_platform\n"
        "from vllm.v1.sample.ops.logprobs import batched_count_greater_than as count\n"
        "found = count(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5]]))\n"
        "print(current_platform.simple_compile_backend, found.tolist())"
    )
    environment = {**os.environ, "PATH": str(tmp_path), "CXX": "c++", "VLLM_PLUGINS": "locum"}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["eager [1]"], done.stderr
