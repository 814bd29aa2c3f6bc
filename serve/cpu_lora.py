"""Multi-LoRA on CPUs: two matrix products a layer for all adapters of a batch, none for the base model.

vLLM 0.32's `PunicaWrapperCPU` indexes the stacked weights by slot, and a token of the base model has slot −1,
which PyTorch reads as the last slot: base requests are answered with that adapter's weights. It also copies an
adapter's weights once for each token.

Here a step's rows are cut into segments once. A long run of rows with one adapter is a segment of its own; what lies
between long runs, as all of a step that only decodes, shares one shrink and one expand over the slots in use, with the
products that a row does not want set to zero between the two. Rows of the base model get zero, or no product at all.

The interface is vLLM's `PunicaWrapperABC`; the idea of batching requests of many adapters is that of Punica
(Chen et al., 2023, https://arxiv.org/abs/2310.18547).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import linear
from vllm.lora.punica_wrapper.punica_base import PunicaWrapperBase

LONG_RUN = 16  # from so many rows of one adapter on, products of their own cost less than masked ones
MANY_ROWS = 64  # from so many rows on, a product a slice costs less than one over the zeros between slices


@dataclass(frozen=True)
class Segment:
    """Consecutive rows of a batch, and consecutive slots that they use.

    `unwanted` is (rows, slots), true where a row does not use a slot; None when every row uses the one slot.
    """

    rows: slice
    slots: slice
    unwanted: torch.Tensor | None

    def shrink(self, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """`x` (tokens, in) times the slots' part of `a` (slots, …, in), transposed: (rows, slots · …)."""
        shrunk = linear(x[self.rows], a[self.slots].flatten(0, -2))
        return self.keep_wanted(shrunk)

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
            found += _shared(slots, waiting, row)
            if slot >= 0:
                found.append(Segment(slice(row, end), slice(slot, slot + 1), None))
            waiting = end
        row = end
    return found + _shared(slots, waiting, row)


def _shared(slots: list[int], start: int, end: int) -> list[Segment]:
    """Segments of short runs: one for each stretch of neighbouring slots."""
    rows = slots[start:end]
    found = []
    for low, high in _stretches(sorted({slot for slot in rows if slot >= 0})):
        alone = high == low + 1 and all(slot == low for slot in rows)
        unwanted = None if alone else torch.tensor(rows).unsqueeze(1) != torch.arange(low, high)
        found.append(Segment(slice(start, end), slice(low, high), unwanted))
    return found


def _stretches(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Half-open ranges of consecutive numbers: [0, 1, 5] gives (0, 2), (5, 6)."""
    for _, stretch in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in stretch]
        yield members[0], members[-1] + 1


@dataclass(frozen=True)
class Packed:
    """A layer's adapter weights, all slices of a slot side by side.

    `a` is (slots, slices, rank, in). `b` is (slots, slices, rank, out) with zeros outside a slice's own columns, so
    that one product serves all slices. `stacked` keeps vLLM's tensors alive, which are views of these two.
    """

    a: torch.Tensor
    b: torch.Tensor
    columns: tuple[slice, ...]
    stacked: tuple[torch.Tensor, ...]


def pack(a_stacked: tuple[torch.Tensor, ...], b_stacked: tuple[torch.Tensor, ...], widths: tuple[int, ...]) -> Packed:
    """Move a layer's weights into packed storage, and let vLLM's tensors be views of it: what it loads arrives there.

    vLLM's are (slots, 1, rank, in) and (slots, 1, width, rank), one of each for every slice.
    """
    slots, _, rank, _ = a_stacked[0].shape
    b = b_stacked[0].new_zeros(slots, len(widths), rank, sum(widths))
    ends = [sum(widths[: index + 1]) for index in range(len(widths))]
    columns = tuple(slice(end - width, end) for end, width in zip(ends, widths, strict=True))
    packed = Packed(torch.cat(a_stacked, dim=1), b, columns, (*a_stacked, *b_stacked))
    for index, (a_old, b_old) in enumerate(zip(a_stacked, b_stacked, strict=True)):
        b_new = packed.b[:, index, :, columns[index]].transpose(1, 2).unsqueeze(1)
        b_new.copy_(b_old)
        a_old.set_(packed.a[:, index : index + 1])
        b_old.set_(b_new)
    return packed


class SegmentedPunica(PunicaWrapperBase):  # type: ignore[misc]  # vLLM is not typed for us
    """Adapter products for one step. `x` is (tokens, in) and `y` is (tokens, out) throughout, and `y` is added to."""

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device)
        self._tokens: list[Segment] = []
        self._samples: list[Segment] = []
        self._layers: dict[int, Packed] = {}

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        self._tokens = segments_of(self.token_lora_indices.tolist())
        self._samples = segments_of(self.sampler_indices.tolist())

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
        if not self._tokens:
            return
        layer = self._layers.get(id(lora_a_stacked[0]))
        if layer is None:
            layer = self._layers[id(lora_a_stacked[0])] = pack(lora_a_stacked, lora_b_stacked, output_slices)
        x = x.view(-1, x.shape[-1])
        y = y.view(-1, y.shape[-1])
        for segment in self._tokens:
            shrunk = segment.shrink(x, layer.a)
            target = y[segment.rows]
            if segment.unwanted is None and len(shrunk) >= MANY_ROWS:
                each = shrunk.chunk(len(layer.columns), dim=1)
                for index, columns in enumerate(layer.columns):
                    b = layer.b[segment.slots.start, index, :, columns]
                    target[:, columns].addmm_(each[index], b, alpha=scale)
            else:
                target.addmm_(shrunk, layer.b[segment.slots].flatten(0, 2), alpha=scale)

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
        # one of the two may be padded to a multiple of the vocabulary's block
        width = min(y.shape[-1], lora_b_stacked.shape[2])
        for segment in self._samples:
            shrunk = segment.shrink(x, lora_a_stacked)
            b = lora_b_stacked[segment.slots, 0, :width].transpose(1, 2).flatten(0, 1)
            y[segment.rows, :width].addmm_(shrunk, b, alpha=scale)

    def apply_lora_full_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        weight_stacked: torch.Tensor,
        bias_stacked: torch.Tensor,
        module_enabled: torch.Tensor,
    ) -> None:
        raise NotImplementedError("full-weight adapters are not served on CPUs; the registry lets in LoRA only")
