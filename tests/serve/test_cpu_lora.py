"""The adapter products of one step, held against the plain definition row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm.lora.layers import LoRAMapping

from locum.serve.cpu_lora import GroupedPunica

SLOTS, RANK, WIDTH = 4, 8, 12
OUT = (16, 4, 4)


def punica_for(ids: list[int]) -> GroupedPunica:
    """A wrapper for a step whose tokens use these adapter ids; 0 is the base model, id 10·n sits in slot n."""
    punica = GroupedPunica(64, 64, device="cpu")
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


@settings(deadline=None, max_examples=60)
@given(
    ids=st.lists(st.sampled_from([0, 10, 20, 30, 40]), min_size=1, max_size=24),
    scale=st.sampled_from([1.0, 0.5, 2.0]),
    seed=st.integers(0, 1000),
)
def test_every_token_gets_its_own_adapter_and_the_base_gets_none(ids: list[int], scale: float, seed: int) -> None:
    x = torch.randn(len(ids), WIDTH, generator=torch.Generator().manual_seed(seed + 1))
    y = torch.randn(len(ids), sum(OUT), generator=torch.Generator().manual_seed(seed + 2))
    wanted = expected(y, x, ids, scale, seed)
    base_rows = [row for row, adapter in enumerate(ids) if not adapter]
    untouched = y[base_rows].clone()

    a, b = weights(seed)
    punica_for(ids).add_lora_linear(y, x, a, b, scale, OUT)

    torch.testing.assert_close(y, wanted)
    assert torch.equal(y[base_rows], untouched), "the base model's rows must be the same to the bit"


@settings(deadline=None, max_examples=30)
@given(ids=st.lists(st.sampled_from([0, 10, 30]), min_size=1, max_size=16), seed=st.integers(0, 1000))
def test_shrink_then_expand_is_the_same_as_both_at_once(ids: list[int], seed: int) -> None:
    a, b = weights(seed)
    x = torch.randn(len(ids), WIDTH, generator=torch.Generator().manual_seed(seed))
    at_once = torch.zeros(len(ids), sum(OUT))
    in_two = torch.zeros(len(ids), sum(OUT))
    punica = punica_for(ids)
    punica.add_lora_linear(at_once, x, a, b, 0.5, OUT)
    between = tuple(torch.zeros(len(ids), RANK) for _ in OUT)
    punica.add_shrink(between, x, a, 0.5)
    punica.add_expand(in_two, between, b, OUT)
    torch.testing.assert_close(at_once, in_two)


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
