"""Measured truths: the right prefixes, the right room, and the right mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from arrays import token_batch
from critica.evaluation.critic_truth import TruthMissing, buckets, choose_places, continued_outcomes, weights_of
from critica.records.supervision import Failed, Scored
from critica.records.words import Message, Task
from fakes import BigramPolicy

LIMIT = 5


class EndsOn:
    """Pays 1 for a text of exactly LIMIT letters that ends on one of these; fails on a text that it is told to."""

    name, low, high, busy_workers, waiting_for, warnings = "ends_on", 0.0, 1.0, 0, "", ()

    def __init__(self, letters="ab", fails=""):
        self.letters, self.fails, self.texts = letters, fails, []

    def scores(self, items):
        self.texts += [item.text for item in items]
        return [Failed("told to") if self.fails and item.text.endswith(self.fails) else
                Scored(float(len(item.text) == LIMIT and item.text[-1] in self.letters)) for item in items]  # fmt: skip

    def close(self):
        return None


def asked(rows=("csssss", "cssss")):
    batch = token_batch(list(rows), [0, 1])
    ids = torch.randint(0, 7, batch.token_ids.shape, generator=torch.Generator().manual_seed(3))
    tasks = [Task(f"t{i}", "letters", (Message("user", "x"),), "") for i in range(len(rows))]
    return replace(batch, token_ids=ids), tasks


def test_places_spread_over_the_answer_and_never_after_it():
    batch, tasks = asked(("c" + "s" * 20, "css"))
    places = choose_places(batch, tasks, [0, 1], 5, 30, seed=1)
    long = [place for place in places if place.row == 0]
    assert [place.offset // 4 for place in long] == [0, 1, 2, 3, 4]
    assert [place.offset for place in places if place.row == 1] == [0, 1]
    for place in places:
        assert place.column == place.offset + 1 and place.room == 30 - place.offset
        assert place.prefix_ids == tuple(batch.token_ids[place.row, : place.column].tolist())
        assert place.written_ids == place.prefix_ids[1:]
    again = choose_places(batch, tasks, [1, 0], 5, 30, seed=1)
    assert {p.stream for p in again} == {p.stream for p in places}  # by the task's name, not by its place in a list


def test_continuations_start_from_the_prefix_and_keep_to_the_limit():
    batch, tasks = asked()
    policy, source = BigramPolicy(), EndsOn()
    places = choose_places(batch, tasks, [0, 1], 3, LIMIT, seed=0)
    outcomes = continued_outcomes(policy, source, places, 6, 1.0, seed=0)
    assert outcomes.shape == (len(places), 6)
    for i, place in enumerate(places):
        texts = source.texts[6 * i : 6 * i + 6]
        assert all(text.startswith(policy.decode_text(place.written_ids)) and len(text) == LIMIT for text in texts)
        assert len(set(texts)) > 1 or place.room == 1
        alone = continued_outcomes(policy, EndsOn(), [place], 6, 1.0, seed=0)
        assert np.array_equal(alone[0], outcomes[i])  # decoded beside others or alone


def test_the_mean_of_continuations_is_the_value():
    """The bigram policy's law after n more tokens is a power of its transition matrix."""
    batch, tasks = asked()
    policy = BigramPolicy()
    places = choose_places(batch, tasks, [0], 3, LIMIT, seed=0)
    outcomes = continued_outcomes(policy, EndsOn(), places, 3000, 1.0, seed=5)
    with torch.no_grad():
        step = torch.softmax(policy.model["head"](policy.model["embed"].weight), -1)
    for place, row in zip(places, outcomes, strict=True):
        law = torch.linalg.matrix_power(step, place.room)[place.prefix_ids[-1]]
        assert row.mean() == pytest.approx(float(law[:2].sum()), abs=4 * 0.5 / 3000**0.5)


def test_places_with_like_room_are_decoded_together():
    batch, tasks = asked(("c" + "s" * 40, "css"))
    places = choose_places(batch, tasks, [0], 4, 40, seed=0)
    found = buckets(places)
    assert sorted(i for part in found for i in part) == list(range(4))
    assert all(max(places[i].room for i in part) - min(places[i].room for i in part) < 16 for part in found)


def test_what_cannot_be_scored_is_no_zero():
    batch, tasks = asked()
    places = choose_places(batch, tasks, [0], 1, LIMIT, seed=0)
    outcomes = continued_outcomes(BigramPolicy(), EndsOn(fails="c"), places, 40, 1.0, seed=0)
    assert np.isnan(outcomes).any() and not np.isnan(outcomes).all()
    weights = weights_of(outcomes)
    assert weights.sum(1) == pytest.approx([1.0]) and (weights[np.isnan(outcomes)] == 0).all()
    with pytest.raises(TruthMissing, match="fewer than two"):
        weights_of(np.array([[1.0, np.nan, np.nan]]))
