"""Samples that belong together."""

from __future__ import annotations

import numpy as np
import pytest

from locum.evaluate.groups import labels_of, variance_of_sum


def test_samples_of_one_group_share_a_number_and_without_groups_each_has_its_own() -> None:
    assert labels_of(["b", "a", "b"], 3).tolist() == [1, 0, 1]
    assert labels_of(None, 3).tolist() == [0, 1, 2]


def test_the_variance_of_a_sum_is_n_times_the_variance_and_grows_with_what_groups_share() -> None:
    values = np.array([1.0, 2.0, 4.0, 5.0])
    assert variance_of_sum(values, labels_of(None, 4)) == pytest.approx(4 * values.var(ddof=1))
    # groups (1, 2) and (4, 5): deviations from 3 sum to -3 and 3; (9 + 9) × 2 / 1
    assert variance_of_sum(values, labels_of(["a", "a", "b", "b"], 4)) == 36
