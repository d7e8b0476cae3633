"""Records on another device: everything that they hold goes along, and nothing is copied that is there already."""

from dataclasses import fields

import torch
from torch import Tensor

from critica.policies.body_mode import device_of
from critica.records.arrays import Categorical, ValuePrediction
from critica.records.devices import HOST, moved
from policies.policies_fixtures import ragged_batch

META = torch.device("meta")


def prediction() -> ValuePrediction:
    mask = torch.tensor([[False, True, True]])
    law = Categorical(torch.tensor([0.0, 1.0]), torch.full((1, 3, 1, 2), 0.5))
    end = Categorical(law.atoms, torch.full((1, 1, 1, 2), 0.5))
    return ValuePrediction(torch.zeros(1, 3), mask, torch.zeros(1), law=law, bootstrap_law=end)


def test_what_is_there_already_stays_the_same_object():
    """States kept for a batch are known by the batch itself."""
    batch, values = ragged_batch(), prediction()
    assert moved(batch, HOST) is batch
    both = (batch, values)
    assert moved(both, HOST) is both
    assert moved(None, HOST) is None


def test_laws_inside_of_a_prediction_go_along():
    """On the meta device no number can be read, so checks of records are left out by building the law alone."""
    law = moved(prediction().law, META)
    assert isinstance(law, Categorical)
    assert law.atoms.device == law.probs.device == META
    nested = moved((prediction().law, "text", 3), META)
    assert nested[0].probs.device == META
    assert nested[1:] == ("text", 3)


def test_a_device_without_a_number_is_any_of_its_kind():
    made = torch.zeros(2, device="meta")
    assert moved(made, META) is made


def test_a_batch_selects_on_its_own_device():
    batch = ragged_batch()
    piece = batch.select(torch.tensor([1, 0], device=batch.device))
    held = [getattr(piece, item.name) for item in fields(piece)]
    assert {value.device for value in held if isinstance(value, Tensor)} == {HOST}
    assert device_of(torch.nn.Linear(2, 2, device="meta")) == META
    assert device_of(torch.nn.Identity()) == HOST
