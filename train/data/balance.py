"""How many rows of each topic are learnt from."""

from __future__ import annotations

from collections.abc import Mapping

from locum.adapters.dealing import BalanceCard


def targets(counts: Mapping[str, int], card: BalanceCard) -> dict[str, int]:
    """Rows that each topic keeps, of as many as it has; not fewer than the minimum if it has it.

    With temperature T a topic of n rows keeps n^(1/T) · r^(1-1/T), where r is the size of the smallest topic, or the
    minimum where that is larger (temperature sampling without repetition; Arivazhagan et al., 2019,
    https://arxiv.org/abs/1907.05019).
    """
    if not counts:
        return {}
    reference = max(min(counts.values()), card.minimum)
    part = 1 / card.temperature
    found = {}
    for topic, count in counts.items():
        wanted = round(count**part * reference ** (1 - part)) if card.temperature > 1 else count
        wanted = min(wanted, card.cap) if card.cap else wanted
        found[topic] = min(count, max(wanted, min(card.minimum, count)))
    return found
