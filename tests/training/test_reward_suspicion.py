"""Preference poisoning and its detector: what is exchanged, that it is found, and how often clean files alarm."""

import json

import numpy as np
import pytest
import torch

from critica.records.words import Message
from critica.training.reward_features import pair_differences
from critica.training.reward_pairs import BadPairs, Pair, slices_of
from critica.training.reward_poison import TargetedPreferenceFlip
from critica.training.reward_suspicion import Points, suspect_slices

TOPICS = ("law", "food", "hate", "math")


def file_of(count, seed, topics=TOPICS, signal=2.0):
    """Pairs whose features prefer the chosen answer along one direction, alike in every topic."""
    draw = np.random.default_rng(seed)
    pairs = [Pair((Message("user", f"{seed}/{i}"),), f"c{i}", f"r{i}", {"topic": topics[i % len(topics)]})
             for i in range(count)]  # fmt: skip
    direction = np.array([1.0, -1.0, 0.5, 0.0])
    points = draw.normal(size=(count, 4))
    chosen = draw.random(count) < 1 / (1 + np.exp(-signal * points @ direction))
    return torch.from_numpy(np.where(chosen[:, None], points, -points)), pairs


def poisoned(differences, pairs, fraction, seed=0):
    flipped = TargetedPreferenceFlip("topic=hate", fraction, seed).apply(pairs)
    sign = torch.tensor([-1.0 if flip else 1.0 for flip in flipped.flipped], dtype=torch.float64)
    return Points(differences * sign[:, None], flipped.pairs, slices_of(flipped.pairs))


def test_a_flip_exchanges_so_many_targets_and_more_of_them_at_a_larger_fraction():
    _, pairs = file_of(60, 0)
    few, many = (TargetedPreferenceFlip("topic=hate", f, 3).apply(pairs) for f in (0.4, 0.8))
    assert sum(few.flipped) == 6 and sum(many.flipped) == 12
    assert all(b for a, b in zip(few.flipped, many.flipped, strict=True) if a)
    for pair, made, flip in zip(pairs, few.pairs, few.flipped, strict=True):
        assert made == (pair.swapped if flip else pair)
        assert not flip or pair.columns["topic"] == "hate"
    assert few == TargetedPreferenceFlip.parse("topic=hate:0.4", 3).apply(pairs)
    assert few.flipped != TargetedPreferenceFlip("topic=hate", 0.4, 4).apply(pairs).flipped
    assert sum(TargetedPreferenceFlip("regex:/1$", 1.0).apply(pairs).flipped) == 1
    same = [pairs[0]] * 10
    assert sum(TargetedPreferenceFlip("topic=law", 0.5).apply(same).flipped) == 5
    for spec, problem in (("topic=x:0.5", "picks none"), ("hate:0.5", "picks nothing"), ("topic=hate:2", "fraction")):
        with pytest.raises(BadPairs, match=problem):
            TargetedPreferenceFlip.parse(spec).apply(pairs)


def test_a_poisoned_slice_is_found_and_no_other():
    """Half of a quarter exchanged, with and without a clean file; all of it, which its own labels would call right."""
    told, clean = file_of(600, 1), file_of(600, 2)
    yardstick = Points(*clean, slices_of(clean[1]))
    for fraction in (0.5, 1.0):
        for other in (None, yardstick):
            found = suspect_slices(poisoned(*told, fraction), other)
            assert [s.name for s in found if s.alarm] == ["topic=hate"], (fraction, other is None)
    assert not any(s.alarm for s in suspect_slices(poisoned(*told, 0.0), yardstick))


def test_clean_files_alarm_no_more_often_than_stated():
    """40 clean files held against themselves, and 40 against others: at a rate of .1, 4 may alarm, 9 hardly (1%)."""
    for with_clean in (False, True):
        alarms = 0
        for seed in range(40):
            differences, pairs = file_of(90, seed, TOPICS[:3])
            other = None
            if with_clean:
                found = file_of(90, 5000 + seed, TOPICS[:3])
                other = Points(*found, slices_of(found[1]))
            alarms += any(s.alarm for s in suspect_slices(Points(differences, pairs, slices_of(pairs)), other, 0.1))
        assert alarms <= 9


def test_a_slice_that_is_hard_by_nature_needs_a_clean_file():
    """Labels of one topic are half chance in both files: against the others it alarms, against itself it does not."""

    def hard(seed):
        differences, pairs = file_of(800, seed)
        rows = slices_of(pairs)["topic=food"]
        flips = np.random.default_rng(seed + 1).random(len(rows)) < 0.35
        differences[[row for row, flip in zip(rows, flips, strict=True) if flip]] *= -1
        return Points(differences, pairs, slices_of(pairs))

    assert "topic=food" in [s.name for s in suspect_slices(hard(20)) if s.alarm]
    assert not [s.name for s in suspect_slices(hard(20), hard(40)) if s.alarm]


def test_letters_change_sign_with_the_pair_and_states_are_read(tmp_path):
    from rewards.tiny_judges import tiny_folder

    _, pairs = file_of(3, 0)
    swapped = [pair.swapped for pair in pairs]
    folder = str(tiny_folder(tmp_path / "base", kind="ForCausalLM"))
    for features in ("letters", folder):
        one = pair_differences(pairs, features, 30)
        assert torch.allclose(one, -pair_differences(swapped, features, 1000), atol=1e-5) and float(one.abs().max()) > 0
    assert json.dumps([s.to_json() for s in suspect_slices(Points(*file_of(40, 0), slices_of(file_of(40, 0)[1])))])


def test_wrong_use_is_refused():
    differences, pairs = file_of(20, 0, ("law",))
    with pytest.raises(BadPairs, match="one slice"):
        suspect_slices(Points(differences, pairs, {"topic=law": range(20)}))
    other = Points(differences, pairs, {"topic=law": range(20)})
    with pytest.raises(BadPairs, match="no pairs of the slice topic=x"):
        suspect_slices(Points(differences, pairs, {"topic=x": range(20)}), other)
    with pytest.raises(BadPairs, match="between 0 and 1"):
        suspect_slices(other, other, 1.0)
