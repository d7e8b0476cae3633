"""The packing and memory benches: what they compare is the same work, and their verdicts follow from their numbers."""

from dataclasses import replace

import pytest
import torch

from critica.benches.memory import MemorySettings, Reading
from critica.benches.memory import row as memory_row
from critica.benches.memory_contender import kept_by_body, size_of
from critica.benches.packing import PROMISED, RAGGED, Contest, gradient_errors, passes_of, ragged_lengths
from critica.benches.packing import row as packing_row
from critica.benches.random_policy import random_batch, random_policy


def test_lengths_are_as_ragged_as_the_promise_asks():
    lengths = ragged_lengths(32, 256, 24)
    assert max(lengths) == 256 and min(lengths) > 24 and 0.3 < sum(lengths) / 32 / 256 <= RAGGED
    assert lengths != sorted(lengths) and lengths == ragged_lengths(32, 256, 24)


def test_siblings_share_a_prompt_and_nothing_else():
    batch = random_batch([9, 7, 8, 6], [3] * 4, 50, group=2)
    ids = batch.token_ids
    assert torch.equal(ids[0, :3], ids[1, :3]) and torch.equal(ids[2, :3], ids[3, :3])
    assert not torch.equal(ids[0, 3:7], ids[1, 3:7]) and not torch.equal(ids[0, :3], ids[2, :3])
    assert batch.lengths.tolist() == [9, 7, 8, 6] and batch.sampled_mask.sum().item() == 6 + 4 + 5 + 3


@pytest.mark.parametrize("group", [1, 2])
def test_every_contender_computes_the_same_gradient(group):
    policy = random_policy(40, 32, 2, 32, torch.float64)
    batch = random_batch([20, 9, 13, 6], [4] * 4, 40, group=group)
    errors = gradient_errors(policy, passes_of(policy, batch, 48))
    assert errors["ours padded"] < 1e-12
    assert errors["padded"] < 1e-5  # transformers norms in fp32


def test_packed_ratios_and_their_verdicts():
    seconds = {"ours": [1.0, 1.0], "padded": [2.0, 2.0], "ours padded": [1.5, 1.5]}
    one = Contest(128, 1, 1000, 0.39, {"padded": 1e-7, "ours padded": 1e-16}, seconds)
    assert one.ratio("padded")[0] == pytest.approx(2.0) and one.ratio("ours padded")[0] == pytest.approx(1.5)
    assert PROMISED == 1.8 and "| pass |" in packing_row(one)
    slow = replace(one, seconds=seconds | {"padded": [1.7, 1.7]})
    assert "| FAIL |" in packing_row(slow)
    assert "FAIL" not in packing_row(replace(slow, group=8)) and "FAIL" not in packing_row(
        replace(slow, mean_share=0.5)
    )


def test_a_peak_is_held_against_what_is_needed():
    one = Reading(8192, True, 1190, 200, 200, 400, 200, 1100.0, 1.0)
    assert one.needed == 1000 and one.ratio == pytest.approx(1.19)
    settings = MemorySettings()
    assert "| pass |" in memory_row(one, settings)
    assert "| FAIL |" in memory_row(replace(one, peak=1300), settings)
    assert "FAIL" not in memory_row(replace(one, peak=1300, chunked=False), settings)


def test_the_body_keeps_more_for_more_tokens_and_never_its_weights():
    policy = random_policy(1000, 32, 2, 64)
    policy.sampled_states(random_batch([8], [4], 1000))  # the first forward pass also checks the kernels
    few, many = (kept_by_body(policy, random_batch([32] * rows, [4] * rows, 1000)) for rows in (2, 8))
    assert 3 * few < many < 5 * few
    assert few > 2 * 32 * 32 * 4 * 2  # the states of two layers at least
    weight = torch.zeros(10)
    assert size_of([weight, weight[2:], torch.zeros(3)]) == 4 * 13
