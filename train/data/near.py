"""Near duplicates, by MinHash and locality-sensitive hashing.

Texts are sets of runs of words, as `locum.adapters.likeness` has them. MinHash signatures find the pairs that may be
similar, and the sets decide. (datasketch makes the signatures; its index of them is a table of Python objects, too
large for a million rows.) Sources: Broder, "On the resemblance and containment of documents" (1997); Leskovec,
Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from locum.adapters.likeness import FEWEST, jaccard, runs

if TYPE_CHECKING:
    import numpy as np

BANDS, BAND = 16, 4  # pairs of similarity 0.8 are missed twice in ten thousand, of 0.5 one in three
CROWD = 16  # texts in one bucket, of which not all pairs are looked at


@dataclass(frozen=True)
class Pair:
    """A text, an earlier one that is kept, and how similar they are."""

    later: int
    earlier: int
    similarity: float


def signature(text: str) -> bytes | None:
    """What similar texts have in part in common: 16 numbers of 8 bytes. None for a text too short to have one."""
    found = runs(text)
    if len(found) < FEWEST:
        return None
    import numpy as np

    values = _minhash()([run.encode() for run in found]).astype(np.uint64).reshape(BANDS, BAND)
    with np.errstate(over="ignore"):
        mixed: bytes = (values * _odd()).sum(axis=1, dtype=np.uint64).tobytes()
    return mixed


def near_duplicates(
    signatures: bytes | bytearray, text_of: Callable[[int], str], threshold: float, *, chains: bool = False
) -> Iterator[Pair]:
    """Texts that an earlier one is similar to, in their order, each once.

    Args:
        signatures: those of all texts, one after the other, in the order in which texts are kept.
        text_of: the text at a place in that order.
        chains: also those, and again, that are only similar to one that was found itself.
    """
    import numpy as np

    bands = np.frombuffer(signatures, dtype=np.uint64).reshape(-1, BANDS)
    cached = lru_cache(4096)(lambda place: runs(text_of(place)))
    dropped: set[int] = set()
    for later, earlier in _candidates(bands):
        if not chains and (later in dropped or earlier in dropped):
            continue
        similarity = jaccard(cached(later), cached(earlier))
        if similarity >= threshold:
            dropped.add(later)
            yield Pair(later, earlier, similarity)


def _candidates(bands: np.ndarray[Any, np.dtype[np.uint64]]) -> Iterator[tuple[int, int]]:
    """Pairs (later, earlier) that share a bucket, each once, by the later."""
    import numpy as np

    found = np.empty((0, 2), dtype=np.int64)
    for band in bands.T:
        pairs = []
        order = np.argsort(band, kind="stable")
        same = np.flatnonzero(band[order][1:] == band[order][:-1])
        for bucket in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1) if len(same) else []:
            places = order[bucket[0] : bucket[-1] + 2]
            if len(places) <= CROWD:
                later, earlier = np.tril_indices(len(places), -1)
            else:  # each with the first and with the one before it
                later = np.concatenate([np.arange(1, len(places))] * 2)
                earlier = np.concatenate([np.zeros(len(places) - 1, int), np.arange(len(places) - 1)])
            pairs.append(np.stack([places[later], places[earlier]], axis=1))
        found = np.unique(np.concatenate([found, *pairs]), axis=0)  # mostly those of the bands before
    for later, earlier in found:
        yield int(later), int(earlier)


@lru_cache(1)
def _minhash() -> Callable[[list[bytes]], Any]:
    from datasketch import MinHash

    # Hashed here, as datasketch would, but without calling it for each run: of a text there are dozens.
    sketch = MinHash(num_perm=BANDS * BAND, seed=1, hashfunc=_as_it_is)

    def values(parts: list[bytes]) -> Any:
        sketch.clear()
        sketch.update_batch([int.from_bytes(sha1(part).digest()[:4], "little") for part in parts])
        return sketch.hashvalues

    return values


def _as_it_is(value: int) -> int:
    return value


@lru_cache(1)
def _odd() -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(1, 2**63, BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
