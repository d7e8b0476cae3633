"""The body in bfloat16: which products are, what stays fp32, how near a run is, and its resume to the same bits."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from critica.critics.bodies import OwnBody
from critica.environments.digit_sum import DigitSum
from critica.policies.body_mode import BodyMode, mode_of
from critica.policies.language_model import LanguagePolicy
from critica.policies.part import LocalPolicy
from critica.policies.scoring import scores_of
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.training.plan import computing, plan
from critica.training.progress import Silent
from critica.training.run import resume, train
from critica.updaters.gradient import Adam
from policies.policies_fixtures import ragged_batch

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")


class Products(TorchDispatchMode):
    """The dtypes of every matrix product, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.dtype] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._schema.name in PRODUCTS:
            self.seen.append(out.dtype)
        return out


def loaded(folder, bf16: bool) -> LanguagePolicy:
    return LanguagePolicy.load(str(folder), None, "cpu", mode=BodyMode(bf16=bf16))


def test_products_of_the_body_alone_are_bf16(tiny_folder):
    policy, batch = loaded(tiny_folder, True), ragged_batch()
    policy.sampled_states(batch)  # the compiled kernels are checked against fp64 when they are first asked for
    with Products() as body:
        states = policy.sampled_states(batch)
    assert set(body.seen) == {torch.bfloat16}
    mask = batch.sampled_mask
    with Products() as head:
        logprobs, entropies = scores_of(policy, states, batch.token_ids[mask], batch.temperature[mask])
    assert set(head.seen) == {torch.float32}
    assert states.dtype == logprobs.dtype == entropies.dtype == torch.float32
    logprobs.sum().backward()
    assert {weight.grad.dtype for _, weight in policy.trainable()} == {torch.float32}


def test_it_is_near_and_not_the_same(tiny_folder):
    """Gradients agree in direction; without autocast nothing differs at all."""
    found = []
    for bf16 in (False, True):
        policy, batch = loaded(tiny_folder, bf16), ragged_batch()
        mask = batch.sampled_mask
        logprobs, _ = scores_of(policy, policy.sampled_states(batch), batch.token_ids[mask], batch.temperature[mask])
        logprobs.square().sum().backward()
        found.append((logprobs.detach(), torch.cat([weight.grad.flatten() for _, weight in policy.trainable()])))
    (exact, straight), (rounded, turned) = found
    assert 0 < (exact - rounded).abs().max() < 0.02
    assert torch.nn.functional.cosine_similarity(straight, turned, dim=0) > 0.999


def test_copies_compute_as_their_model_does(tiny_folder):
    policy = loaded(tiny_folder, True)
    assert policy.frozen_copy().mode == policy.mode
    body = OwnBody().build(policy)
    with Products() as seen:
        body.sampled_states(ragged_batch())
    assert set(seen.seen) == {torch.bfloat16}


def test_auto_is_bf16_on_cuda_for_fp32_weights_alone():
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 1)
    assert not mode_of(LocalPolicy(), cpu).bf16
    assert mode_of(LocalPolicy(), cuda).bf16
    assert not mode_of(LocalPolicy(precision="fp32"), cuda).bf16
    assert mode_of(LocalPolicy(precision="bf16"), cpu).bf16
    assert not mode_of(LocalPolicy(dtype="bfloat16"), cuda).bf16
    with pytest.raises(ValueError, match=r"policy\.dtype=float64"):
        LocalPolicy(dtype="float64", precision="bf16")


def small(folder, **changes):
    recipe = RECIPES["dvpo"]
    learner = replace(
        recipe.learner, policy=Adam(1e-3), critic=Adam(1e-3), tokens_per_microbatch=96, critic_warmup_steps=0
    )
    return replace(
        recipe, policy=replace(LocalPolicy(str(folder), device="cpu"), **changes), environment=DigitSum(), seed=5,
        steps=3, sampling=Sampling(2, 4, 1.0, 6), learner=learner, threads=1, checkpoint=Checkpoints(every=1),
    )  # fmt: skip


class Stops(Silent):
    """Ends the run after this step as a crash would."""

    def step(self, record):
        if record.step == 2:
            raise KeyboardInterrupt


def weights(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def losses(run, name):
    return [json.loads(line)[name] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_in_bf16_with_remade_layers_learns_and_resumes_to_the_same_bits(tiny_folder, tmp_path):
    recipe = small(tiny_folder, precision="bf16", checkpoint_layers=True)
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops())
    resume(tmp_path / "cut")
    assert weights(tmp_path / "whole", 3) == weights(tmp_path / "cut", 3)
    train(small(tiny_folder), tmp_path / "exact")
    assert weights(tmp_path / "whole", 3) != weights(tmp_path / "exact", 3)  # bf16 was really on
    for name in ("policy/entropy", "loss/value"):
        near, exact = losses(tmp_path / "whole", name)[0], losses(tmp_path / "exact", name)[0]
        assert abs(near - exact) < 0.02 * abs(exact)


def test_the_plan_says_it_and_counts_it(tiny_folder):
    plain, half = small(tiny_folder), small(tiny_folder, precision="bf16")
    remade = small(tiny_folder, checkpoint_layers=True)
    assert "bf16" in computing(half)
    assert "bf16" not in computing(plain)
    assert "made again" in computing(remade)
    sizes = [plan(recipe).activations_mib for recipe in (plain, half, remade)]
    assert sizes[1] < sizes[0]
    assert sizes[2] < sizes[0]
