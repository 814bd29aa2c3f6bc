"""Multi-LoRA on CPUs: one pair of matrix products for each adapter in the batch, none for the base model.

vLLM 0.32's `PunicaWrapperCPU` indexes the stacked weights by slot, and a token of the base model has slot −1,
which PyTorch reads as the last slot: base requests are answered with that adapter's weights. It also copies an
adapter's weights once for each token. Here the tokens are grouped by slot once a step, and a token without an
adapter belongs to no group.

The interface is vLLM's `PunicaWrapperABC`; the idea of batching tokens by adapter is that of Punica
(Chen et al., 2023, https://arxiv.org/abs/2310.18547).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_base import PunicaWrapperBase


@dataclass(frozen=True)
class Group:
    """The rows of a batch that use one slot; `rows` is None when they are the whole batch."""

    slot: int
    rows: torch.Tensor | None

    def take(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.rows is None else x.index_select(0, self.rows)

    def add(self, y: torch.Tensor, delta: torch.Tensor) -> None:
        """Add `delta`, one row for each of the group's, to the group's rows of `y` in place."""
        if self.rows is None:
            y.add_(delta)
        else:
            y.index_add_(0, self.rows, delta)


def group_by_slot(slots: torch.Tensor) -> list[Group]:
    """Groups of the rows whose slot is not negative; `slots` has shape (rows,)."""
    present = [slot for slot in slots.unique().tolist() if slot >= 0]
    if len(present) == 1 and bool((slots == present[0]).all()):
        return [Group(present[0], None)]
    return [Group(slot, (slots == slot).nonzero().squeeze(1)) for slot in present]


class GroupedPunica(PunicaWrapperBase):  # type: ignore[misc]  # vLLM is not typed for us
    """Adapter products for one step, grouped by slot. `x` is (tokens, in) and `y` is (tokens, out) throughout.

    Stacked weights are (slots, 1, rank, in) for A and (slots, 1, out, rank) for B, as vLLM's layers hold them.
    """

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device)
        self._tokens: list[Group] = []
        self._samples: list[Group] = []

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        self._tokens = group_by_slot(self.token_lora_indices)
        self._samples = group_by_slot(self.sampler_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        x = x.view(-1, x.shape[-1])
        y = y.view(-1, y.shape[-1])
        for group in self._tokens:
            inputs = group.take(x)
            offset = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                group.add(y.narrow(1, offset, width), _product(inputs, a[group.slot, 0], b[group.slot, 0], scale))
                offset += width

    def add_shrink(
        self,
        y: tuple[torch.Tensor, ...] | torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        scale: float,
        **kwargs: Any,
    ) -> None:
        x = x.view(-1, x.shape[-1])
        for group in self._tokens:
            inputs = group.take(x)
            for target, a in zip(y, lora_a_stacked, strict=True):
                shrunk = torch.nn.functional.linear(inputs, a[group.slot, 0]) * scale
                group.add(target.view(-1, target.shape[-1]), shrunk.to(target.dtype))

    def add_expand(
        self,
        y: torch.Tensor,
        x: tuple[torch.Tensor, ...] | torch.Tensor,
        lora_b_stacked: tuple[torch.Tensor, ...],
        output_slices: tuple[int, ...],
        offset_start: int = 0,
        add_inputs: bool = True,
        **kwargs: Any,
    ) -> None:
        y = y.view(-1, y.shape[-1])
        if not add_inputs:
            y.narrow(1, offset_start, sum(output_slices)).zero_()
        for group in self._tokens:
            offset = offset_start
            for source, b, width in zip(x, lora_b_stacked, output_slices, strict=True):
                weights = b[group.slot, 0]
                expanded = torch.nn.functional.linear(group.take(source).to(weights.dtype), weights)
                group.add(y.narrow(1, offset, width), expanded.to(y.dtype))
                offset += width

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        self.add_expand(y, (x,), (lora_b_stacked,), (y.shape[-1],), add_inputs=add_inputs)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        *,
        buffer: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        x = x.view(-1, x.shape[-1])
        y = y.view(-1, y.shape[-1])
        for group in self._samples:
            delta = _product(group.take(x), lora_a_stacked[group.slot, 0], lora_b_stacked[group.slot, 0], scale)
            width = min(
                y.shape[1], delta.shape[1]
            )  # one of the two may be padded to a multiple of the vocabulary's block
            group.add(y.narrow(1, 0, width), delta.narrow(1, 0, width))

    def apply_lora_full_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        weight_stacked: torch.Tensor,
        bias_stacked: torch.Tensor,
        module_enabled: torch.Tensor,
    ) -> None:
        raise NotImplementedError("full-weight adapters are not served on CPUs; the registry lets in LoRA only")


def _product(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """(x Aᵀ) Bᵀ · scale. The scale goes to the narrow side, where it costs least."""
    shrunk = torch.nn.functional.linear(x, a)
    return torch.nn.functional.linear(shrunk.mul_(scale) if scale != 1.0 else shrunk, b)
