"""Multi-LoRA on CPUs: a few matrix products a layer for all adapters of a batch, none for the base model.

vLLM 0.32's `PunicaWrapperCPU` indexes the stacked weights by slot, and a token of the base model has slot −1,
which PyTorch reads as the last slot: base requests are answered with that adapter's weights. It also copies an
adapter's weights once for each token.

Here a step's rows are cut into segments, once. A long run of rows with one adapter, a prompt, is a segment of its own.
What lies between long runs, as all of a step that only decodes, is one segment in which each row has its own slot; a
kernel of Locum's own (kernels/lora.cpp) does it in one call, and skips the base model's rows. Where it cannot be
compiled, PyTorch multiplies such a segment with all slots in use, and what a row does not want is set to zero between
the two products.

The interface is vLLM's `PunicaWrapperABC`; the idea of batching requests of many adapters is that of Punica
(Chen et al., 2023, https://arxiv.org/abs/2310.18547).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import linear
from vllm.lora.punica_wrapper.punica_base import PunicaWrapperBase

from locum.serve import cpu_kernels

LONG_RUN = 16  # rows of one adapter from which on matrix products of their own are faster (benchmarks/layers.py)
MIXED = -2

Weights = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Segment:
    """Consecutive rows of a batch, and the range of slots that they use.

    `unwanted` is (rows, slots), true where a row does not use a slot; None when every row uses the one slot.
    """

    rows: slice
    slots: slice
    unwanted: torch.Tensor | None

    @property
    def planned_slot(self) -> int:
        """What the kernel is told: the slot of a long run, else that each row has its own."""
        long = self.unwanted is None and self.rows.stop - self.rows.start >= LONG_RUN
        return int(self.slots.start) if long else MIXED

    def shrink(self, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """`x` (tokens, in) times the slots' part of `a` (slots, …, in), transposed: (rows, slots · …)."""
        return self.keep_wanted(linear(x[self.rows], a[self.slots].flatten(0, -2)))

    def keep_wanted(self, shrunk: torch.Tensor) -> torch.Tensor:
        """Set to zero in place what belongs to a slot that the row does not use."""
        if self.unwanted is not None:
            shrunk.unflatten(1, (self.unwanted.shape[1], -1)).masked_fill_(self.unwanted.unsqueeze(2), 0)
        return shrunk


def segments_of(slots: list[int]) -> list[Segment]:
    """The segments of a batch whose rows use these slots; −1 is the base model."""
    found: list[Segment] = []
    row = waiting = 0
    for slot, run in groupby(slots):
        end = row + sum(1 for _ in run)
        if end - row >= LONG_RUN:
            found += _mixed(slots, waiting, row)
            if slot >= 0:
                found.append(Segment(slice(row, end), slice(slot, slot + 1), None))
            waiting = end
        row = end
    return found + _mixed(slots, waiting, row)


def _mixed(slots: list[int], start: int, end: int) -> list[Segment]:
    """The segment of short runs, if any of them uses an adapter."""
    rows = slots[start:end]
    used = {slot for slot in rows if slot >= 0}
    if not used:
        return []
    low, high = min(used), max(used) + 1
    alone = set(rows) == used == {low}
    unwanted = None if alone else torch.tensor(rows).unsqueeze(1) != torch.arange(low, high)
    return [Segment(slice(start, end), slice(low, high), unwanted)]


def pack(a_stacked: Weights, b_stacked: Weights) -> tuple[Weights, Weights]:
    """A layer's weights with all slices of a slot side by side, as views that vLLM can go on to load adapters into.

    vLLM's are (slots, 1, rank, in) and (slots, 1, width, rank), a tensor a slice. The views have the same shapes; what
    lies under them is (slots, slices, rank, in) and (slots, rank, out), where out is the sum of the widths.
    """
    a = torch.cat(a_stacked, dim=1)
    b = torch.cat([each.squeeze(1).transpose(1, 2) for each in b_stacked], dim=2).contiguous()
    widths = [each.shape[2] for each in b_stacked]
    a_views = tuple(a[:, index : index + 1] for index in range(len(widths)))
    b_views = tuple(each.transpose(1, 2).unsqueeze(1) for each in b.split(widths, dim=2))
    return a_views, b_views


def unpack(a_view: torch.Tensor, b_view: torch.Tensor, slices: int, out: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What lies under the first slice's views."""
    slots, _, rank, width = a_view.shape
    if a_view.stride(0) != slices * rank * width or b_view.stride(0) != rank * out or b_view.stride(2) != 1:
        raise RuntimeError("the adapter weights are not packed: vLLM's worker must be Locum's")
    a = a_view.as_strided((slots, slices, rank, width), (slices * rank * width, rank * width, width, 1))
    return a, b_view.as_strided((slots, rank, out), (rank * out, out, 1))


class SegmentedPunica(PunicaWrapperBase):  # type: ignore[misc]  # vLLM is not typed for us
    """Adapter products for one step. `x` is (tokens, in) and `y` is (tokens, out) throughout, and `y` is added to."""

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device)
        self._token_segments: list[Segment] = []
        self._samples: list[Segment] = []
        self._plan = torch.zeros(1 + 3 * max_num_batched_tokens, dtype=torch.long)
        self._has_kernel = cpu_kernels.load()
        self._used: dict[int, tuple[int | None, bool]] = {}

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        self._token_segments = segments_of(self.token_lora_indices.tolist())
        self._samples = segments_of(self.sampler_indices.tolist())
        steps = [(each.rows.start, each.rows.stop, each.planned_slot) for each in self._token_segments]
        plan = torch.tensor([len(steps), *(number for step in steps for number in step)])
        self._plan[: len(plan)] = plan

    @property
    def _tokens(self) -> list[Segment]:
        """This step's segments, for what is not a kernel: a compiled model would keep those of its first step."""
        if torch.compiler.is_compiling():
            raise RuntimeError("without Locum's kernels a model with adapters must not be compiled: --enforce-eager")
        return self._token_segments

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: Weights,
        lora_b_stacked: Weights,
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: Weights | None = None,
        **kwargs: Any,
    ) -> None:
        """`lora_a_stacked` and `lora_b_stacked` must come from `pack`."""
        x = x.view(-1, x.shape[-1])
        y = y.view(-1, y.shape[-1])
        a, b = lora_a_stacked[0], lora_b_stacked[0]
        if self._has_kernel:
            torch.ops.locum.add_lora(y, x, a, b, self._plan, self._token_lora_indices, output_slices, scale)
        else:
            self._add_lora_linear(y, x, *unpack(a, b, len(output_slices), y.shape[1]), scale, output_slices)

    def _add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
        output_slices: tuple[int, ...],
    ) -> None:
        for segment in self._tokens:
            shrunk = segment.shrink(x, a).unflatten(1, (-1, len(output_slices), a.shape[2]))
            column = 0
            for index, width in enumerate(output_slices):
                columns = slice(column, column + width)
                weights = b[segment.slots, :, columns].flatten(0, 1)
                y[segment.rows, columns].addmm_(shrunk[:, :, index].flatten(1), weights, alpha=scale)
                column += width

    def add_shrink(
        self,
        y: tuple[torch.Tensor, ...] | torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        scale: float,
        **kwargs: Any,
    ) -> None:
        for segment in self._tokens:
            for target, a in zip(y, lora_a_stacked, strict=True):
                shrunk = segment.shrink(x, a).unflatten(1, (-1, a.shape[2])).sum(1)  # all but one of the slots are zero
                target[segment.rows].add_(shrunk, alpha=scale)

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
        if not add_inputs:
            y.narrow(1, offset_start, sum(output_slices)).zero_()
        for segment in self._tokens:
            offset = offset_start
            for source, stacked, width in zip(x, lora_b_stacked, output_slices, strict=True):
                b = stacked[segment.slots]
                repeated = segment.keep_wanted(source[segment.rows].repeat(1, len(b)).to(b.dtype))
                y[segment.rows, offset : offset + width].add_(repeated @ b.squeeze(1).transpose(1, 2).flatten(0, 1))
                offset += width

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        if self._has_kernel:
            torch.ops.locum.add_expand(y, x, lora_b_stacked, self._token_lora_indices)
        else:
            self.add_expand(y, (x,), (lora_b_stacked,), (y.shape[-1],))

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
        if not self._is_used(lora_a_stacked):
            return
        # one of the two may be padded to a multiple of the vocabulary's block
        width = min(y.shape[-1], lora_b_stacked.shape[2])
        for segment in self._samples:
            shrunk = segment.shrink(x, lora_a_stacked)
            b = lora_b_stacked[segment.slots, 0, :width].transpose(1, 2).flatten(0, 1)
            y[segment.rows, :width].addmm_(shrunk, b, alpha=scale)

    def _is_used(self, a: torch.Tensor) -> bool:
        """Whether any slot has weights here; looked at again when vLLM has written to them."""
        if self._used.get(id(a), (None, False))[0] != a._version:
            self._used[id(a)] = (a._version, bool(a.any()))
        return self._used[id(a)][1]

    def apply_lora_full_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        weight_stacked: torch.Tensor,
        bias_stacked: torch.Tensor,
        module_enabled: torch.Tensor,
    ) -> None:
        raise NotImplementedError("full-weight adapters are not served on CPUs; the registry lets in LoRA only")
