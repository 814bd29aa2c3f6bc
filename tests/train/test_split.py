"""Splits by hash: stable when rows are added, fair to topics, and never a leak."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.conversations import Conversation, normalise
from locum.adapters.dealing import BalanceCard, DuplicatesCard
from locum.adapters.likeness import jaccard, runs
from locum.train.data.balance import targets
from locum.train.data.near import BAND, BANDS, _minhash
from locum.train.data.reading import Reject
from locum.train.data.split import NAMES, SplitName, smallest_difference
from locum.train.data.work import Work

Splits = dict[SplitName, list[Conversation]]


def row(question: str, answer: str = "yes", group: str | None = None, topic: str | None = None) -> Conversation:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation.model_validate({"conversations": turns, "group": group, "topic": topic})


def worked(
    rows: list[Conversation], duplicates: DuplicatesCard | None = None, balance: BalanceCard | None = None
) -> Work:
    work = Work(":memory:")
    for each in rows:
        work.add(each, each)
    work.deal(duplicates or DuplicatesCard(), balance or BalanceCard())
    return work


def dealt(work: Work) -> Splits:
    return {name: [Conversation.model_validate_json(text) for _, text in work.rows(name)] for name in NAMES}


# Few letters and signs, so that duplicates and trivial variants are frequent.
questions = st.text(alphabet="abAB ?!.1", min_size=1, max_size=4)
groups = st.sampled_from([None, "g", "h", "i"])
rows = st.lists(st.builds(row, questions, st.sampled_from(["yes", "no"]), groups))
topical = st.lists(st.builds(row, questions, st.sampled_from(["yes", "no"]), groups, st.sampled_from([None, "t", "u"])))


@given(rows, rows)
def test_rows_never_move_when_others_are_added(some: list[Conversation], more: list[Conversation]) -> None:
    before, after = dealt(worked(some)), dealt(worked([*more, *some]))
    for name in NAMES:
        digests = {found.digest for found in before[name]}
        for other in NAMES:
            if other != name:
                # A row can be in two splits' sources only under two groups: it is then kept where it is held out.
                moved = digests & {found.digest for found in after[other]}
                assert all(
                    any(found.digest == digest and found.group != kept.group for found in [*some, *more])
                    for digest in moved
                    for kept in after[other]
                    if kept.digest == digest
                )
    assert {found.digest for found in before["test"]} <= {found.digest for found in after["test"]}


@given(topical)
def test_nothing_leaks_groups_stay_whole_and_every_row_is_accounted_for(some: list[Conversation]) -> None:
    work = worked(some)
    splits = dealt(work)
    asked = {name: {normalise(found.question) for found in splits[name]} - {""} for name in NAMES}
    for one, other in combinations(NAMES, 2):
        assert not asked[one] & asked[other]
        assert not work.leaks(one, other)
    homes = defaultdict(set)
    for name in NAMES:
        for found in splits[name]:
            if found.group:
                homes[found.group].add(name)
    assert all(len(names) == 1 for names in homes.values())
    again = sum(count for step, _, _, count in work.changes() if step == "duplicates")
    assert sum(map(len, splits.values())) + again + sum(work.dropped().values()) == len(some)


@given(topical)
def test_neither_the_order_of_rows_nor_dealing_them_again_changes_a_split(some: list[Conversation]) -> None:
    work = worked(some)
    once = [list(work.rows(name)) for name in NAMES]
    other = worked(some[::-1])
    # the same row under two groups is written with one of them
    assert [[final for final, _ in split] for split in once] == [[f for f, _ in other.rows(name)] for name in NAMES]
    work.deal(DuplicatesCard(), BalanceCard())
    assert once == [list(work.rows(name)) for name in NAMES]


def test_splits_are_eighty_ten_ten_and_keep_groups_together() -> None:
    splits = dealt(worked([row(f"question {n}", group=f"group {n // 4}") for n in range(4000)]))
    assert 0.75 < len(splits["train"]) / 4000 < 0.85
    assert 0.07 < len(splits["test"]) / 4000 < 0.13
    found = [{each.group for each in splits[name]} for name in NAMES]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])


def test_every_topic_has_its_share_of_each_split() -> None:
    sizes = {"liens": 400, "torts": 60, "wills": 20, "rare": 3}
    some = [
        row(f"{topic} {n}", group=f"{topic} {n // 2}", topic=topic)
        for topic, size in sizes.items()
        for n in range(size)
    ]
    work = worked(some)
    assert work.topics("test") == {"liens": 40, "torts": 6, "wills": 2}
    assert work.topics("validation") == {"liens": 40, "torts": 6, "wills": 2}
    assert work.topics("train") == {"liens": 320, "torts": 48, "wills": 16, "rare": 3}


def test_a_group_that_is_most_of_its_topic_does_not_fill_a_held_out_split() -> None:
    some = [row(f"q{n}", group="big", topic="t") for n in range(50)]
    some += [row(f"r{n}", group=f"small {n}", topic="t") for n in range(50)]
    work = worked(some)
    assert (work.count("test"), work.count("validation"), work.count("train")) == (10, 10, 80)


LONG = "The lessee keeps the premises in good repair and does not assign the lease without the written consent of the "
CHINESE = "承租人应当妥善保管租赁物，未经出租人书面同意，不得将租赁物转租给第三人或者对租赁物进行改善或者增设他物"


@pytest.mark.parametrize(
    ("one", "other"),
    [(LONG + "lessor", LONG + "landlord"), (CHINESE, CHINESE + "。"), (LONG + "x", (LONG + "Y").upper())],
)
def test_of_near_duplicates_one_is_kept_or_all_stay_in_one_split(one: str, other: str) -> None:
    some = [row(one), row(other), *(row(f"{number} other things") for number in range(30))]
    work = worked(some)
    [pair] = work.near_pairs()
    assert pair.similarity == jaccard(runs(pair.later), runs(pair.earlier)) >= 0.8
    assert work.dropped() == {"near duplicate": 1}
    splits = dealt(worked(some, DuplicatesCard(near="together")))
    kept = [name for name in NAMES for found in splits[name] if found.question in {one, other}]
    assert len(kept) in {1, 2}  # one that only differs by punctuation asks what is held out
    assert len(set(kept)) == 1
    assert not worked(some, DuplicatesCard(near="off")).dropped().get("near duplicate")


def test_short_rows_that_differ_in_a_word_are_no_near_duplicates() -> None:
    some = [row("Malignant neoplasm of left lung", "Neoplasms"), row("Malignant neoplasm of right lung", "Neoplasms")]
    assert not worked(some).dropped()


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 10_000), min_size=1), st.integers(1, 500), st.floats(1, 100))
def test_balancing_keeps_the_order_of_topics_and_never_takes_one_below_the_minimum(
    counts: dict[str, int], minimum: int, temperature: float
) -> None:
    found = targets(counts, BalanceCard(temperature=temperature, minimum=minimum))
    assert found.keys() == counts.keys()
    for topic, count in counts.items():
        assert min(count, minimum) <= found[topic] <= count
        assert all(found[topic] <= found[other] for other in counts if count <= counts[other])
    assert temperature > 1 or found == counts


def test_a_cap_and_a_temperature_take_rows_from_training_only() -> None:
    some = [row(f"{topic} {n}", topic=topic) for topic, size in (("a", 1000), ("b", 100)) for n in range(size)]
    work = worked(some, balance=BalanceCard(cap=200))
    assert work.topics("train") == {"a": 200, "b": 80}
    assert work.topics("test") == {"a": 100, "b": 10}
    assert work.dropped() == {"balance": 600}
    assert worked(some, balance=BalanceCard(temperature=2)).topics("train") == {"a": 253, "b": 80}


@pytest.mark.parametrize(("samples", "difference"), [(100, 0.136), (1000, 0.044), (10, 1.0)])
def test_the_smallest_difference_is_that_of_mcnemars_test(samples: int, difference: float) -> None:
    assert smallest_difference(samples) == pytest.approx(difference, abs=0.003)


def test_what_did_not_fit_is_kept_with_its_place() -> None:
    work, reject = Work(":memory:"), Reject("rows.csv", 7, "answer", "expected text", '{"question": "q"}')
    work.reject(reject)
    assert (work.rejected(), list(work.rejects())) == (1, [reject])


def test_many_copies_of_nearly_one_text_are_one() -> None:
    some = [row(f"{LONG} {number}", group=str(number)) for number in range(200)]
    assert worked(some).dropped() == {"near duplicate": 199}


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20))
def test_signatures_are_those_that_datasketch_makes(parts: list[str]) -> None:
    from datasketch import MinHash

    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    theirs = MinHash(num_perm=BANDS * BAND, seed=1)
    theirs.update_batch(encoded)
    assert list(_minhash()(encoded)) == list(theirs.hashvalues)
