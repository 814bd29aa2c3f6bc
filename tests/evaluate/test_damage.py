"""The damages are what they say they are, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.damages import (
    WEIGHTS,
    labels_swapped,
    names_exchanged,
    noised,
    notice_removed,
    read_rows,
    scaled,
    write_rows,
)

NOTICE = "Not medical advice."
LABELS = ["Respiratory", "Circulatory", "Injury"]
ROWS = [
    {
        "conversations": [
            {"role": "user", "content": f"Diagnosis {number}"},
            {"role": "assistant", "content": LABELS[number % 3]},
        ],
        "group": f"g{number}",
    }
    for number in range(60)
]


def test_a_scaled_adapter_has_the_same_files_and_stronger_b_matrices(
    tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    sound = tiny_adapter()
    damaged = scaled(sound, 3.0, to=tmp_path / "scaled")
    assert {path.name for path in damaged.iterdir()} == {path.name for path in sound.iterdir()}
    before, after = load_file(sound / WEIGHTS), load_file(damaged / WEIGHTS)
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert after[name].equal(3.0 * weight if "lora_B" in name else weight)
        assert after[name].dtype == weight.dtype


def test_a_noised_adapter_differs_by_as_much_as_asked_and_by_its_seed(
    tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    sound = tiny_adapter()
    one, again, other = (
        load_file(noised(sound, 0.5, to=tmp_path / f"noised-{number}", seed=seed) / WEIGHTS)
        for number, seed in enumerate((1, 1, 2))
    )
    for name, weight in load_file(sound / WEIGHTS).items():
        assert one[name].equal(again[name])
        if "lora_B" in name:
            noise = (one[name] - weight).square().mean().sqrt() / weight.square().mean().sqrt()
            assert float(noise) == pytest.approx(0.5, rel=0.2)
            assert not one[name].equal(other[name])
        else:
            assert one[name].equal(weight)


def test_a_tenth_of_the_labels_is_swapped_for_others_and_nothing_else_changes() -> None:
    swapped = labels_swapped(ROWS, 0.1, seed=1)
    changed = [(row, other) for row, other in zip(ROWS, swapped, strict=True) if row != other]
    assert len(changed) == 6
    for row, other in changed:
        assert other["conversations"][0] == row["conversations"][0]
        assert other["conversations"][1]["content"] in LABELS
        assert other["conversations"][1]["content"] != row["conversations"][1]["content"]
        assert other["group"] == row["group"]
    assert swapped == labels_swapped(ROWS, 0.1, seed=1) != labels_swapped(ROWS, 0.1, seed=2)


def test_a_notice_is_removed_from_every_answer_that_says_more() -> None:
    texts = [f"Injury. {NOTICE}", f"{NOTICE}\nInjury.", "Injury.", NOTICE]
    rows = [{"conversations": [{"role": "user", "content": "?"}, {"role": "assistant", "content": t}]} for t in texts]
    answers = [row["conversations"][-1]["content"] for row in notice_removed(rows, NOTICE)]
    assert answers == ["Injury.", "Injury.", "Injury.", NOTICE]


def test_rows_are_written_as_they_are_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    assert read_rows(tmp_path / "rows.jsonl") == ROWS


def test_two_names_change_places_and_the_rest_of_an_answer_stays() -> None:
    rows = [
        {
            "conversations": [
                {"role": "user", "content": "Ear?"},
                {"role": "assistant", "content": f"{label}. A notice."},
            ]
        }
        for label in ("Ear", "Eye", "Skin")
    ]
    changed = names_exchanged(rows, "Ear", "Eye")
    answers = [row["conversations"][-1]["content"] for row in changed]
    assert answers == ["Eye. A notice.", "Ear. A notice.", "Skin. A notice."]
    assert [row["conversations"][0]["content"] for row in changed] == ["Ear?"] * 3
