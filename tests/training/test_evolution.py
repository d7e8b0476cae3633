"""Evolution strategies: exact restoring, the direction of an update, drift and anchors, and runs that resume."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from arrays import token_batch, told_batch
from critica.curricula.base import Stage
from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.language_model import LanguagePolicy
from critica.policies.population import Population
from critica.recipes.base import Checkpoints, Learner, Sampling
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.records.arrays import Advantages, ValuePrediction
from critica.records.evidence import Evidence
from critica.training.evolution import Evolution, EvolutionLearner
from critica.training.lesson import Lesson
from critica.training.plan import plan
from critica.training.progress import Silent
from critica.training.run import resume, train
from critica.updaters.evolution import EvolutionStrategy, L1Anchor, L2Anchor, NoAnchor
from fakes import BigramPolicy

TRAIN = Stage("train", policy=True, critic=True)


class Stops(Silent):
    """Ends the run at this step as a crash would."""

    def __init__(self, step):
        self.at = step

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def around(weight, **settings):
    return Evolution([("w", nn.Parameter(weight))], EvolutionStrategy(**settings), seed=0)


def scores_of(rewards):
    values = torch.tensor(rewards, dtype=torch.float64)
    return list(enumerate(((values - values.mean()) / values.std()).tolist()))


def test_members_are_other_weights_and_the_middle_comes_back_to_the_bit(tiny_folder):
    policy = LanguagePolicy.load(str(tiny_folder))
    evolution = Evolution(policy.trainable(), EvolutionStrategy(sigma=1e-2), seed=5)
    before = [p.detach().clone() for p in evolution.parameters]
    seen = {}
    for member in (0, 1, 0):
        with evolution.perturbed(7, member):
            apart = [p.detach() - b for p, b in zip(evolution.parameters, before, strict=True)]
            if member in seen:
                assert all(torch.equal(a, b) for a, b in zip(apart, seen[member], strict=True))  # drawn anew, the same
            seen[member] = [a.clone() for a in apart]
    assert all(torch.equal(p, b) for p, b in zip(evolution.parameters, before, strict=True))
    noise = torch.cat([a.flatten() for a in seen[0]])
    assert float(noise.std()) == pytest.approx(1e-2, rel=0.02)
    assert float((noise * torch.cat([a.flatten() for a in seen[1]])).mean()) < 1e-2**2 * 0.03
    with pytest.raises(RuntimeError, match="decoder"), evolution.perturbed(8, 3):
        raise RuntimeError("the decoder broke")
    assert all(torch.equal(p, b) for p, b in zip(evolution.parameters, before, strict=True))


def test_the_update_points_along_the_gradient():
    """J = c . theta: z is c . eps / |c|, so E[update] = rate * c / |c|, each coordinate with error rate / sqrt(N)."""
    slope = torch.tensor([3.0, -1.0, 0.5, 0.0, 2.0])
    evolution = around(torch.zeros(5), learning_rate=0.1, sigma=0.05)
    weight, rewards = evolution.parameters[0], []
    for member in range(3000):
        with evolution.perturbed(1, member):
            rewards.append(float(weight.detach() @ slope))
    evolution.apply(1, scores_of(rewards))
    wanted = slope / slope.norm()
    assert float((weight.detach() / 0.1 - wanted).abs().max()) < 4 / math.sqrt(3000)


def test_the_update_climbs_the_expected_reward_of_a_softmax():
    """The exact gradient of sum_a pi(a) r(a) at these logits: pi(a) (r(a) - J)."""
    logits, reward = torch.tensor([0.3, -0.2, 0.5, 0.0]), torch.tensor([1.0, 0.0, 0.2, 0.7])
    law = logits.softmax(-1)
    gradient = law * (reward - law @ reward)
    evolution = around(logits.clone(), learning_rate=1e-2, sigma=0.02)
    weight, rewards = evolution.parameters[0], []
    for member in range(3000):
        with evolution.perturbed(1, member):
            rewards.append(float(weight.detach().softmax(-1) @ reward))
    evolution.apply(1, scores_of(rewards))
    step = weight.detach() - logits
    assert float(torch.cosine_similarity(step, gradient, 0)) > 0.99


def wander(anchor, steps=400):
    """200 weights of which the reward speaks of the first alone: where that ends, and how far the others drifted."""
    evolution = around(torch.zeros(200), learning_rate=0.05, sigma=0.1, anchor=anchor)
    weight = evolution.parameters[0]
    for step in range(1, steps + 1):
        rewards = []
        for member in range(30):
            with evolution.perturbed(step, member):
                rewards.append(-((float(weight.detach()[0]) - 1.0) ** 2))
        evolution.apply(step, scores_of(rewards))
    return float(weight[0]), float(weight[1:].detach().norm())


def test_anchors_hold_what_the_reward_does_not_speak_of():
    """Objectives note, 2.7: without decay the drift is rate * sqrt(d T / N); l2 of strength s balances at
    rate / sqrt(N) * sqrt(d / (1 - (1 - rate s)^2)). The note measured .44 for l2 at 1 and .30 for l1 at .05."""
    step = 0.05 / math.sqrt(30)
    target, drift = wander(NoAnchor())
    assert drift == pytest.approx(step * math.sqrt(199 * 400), rel=0.12)
    assert target == pytest.approx(1.0, abs=0.15)
    target, drift = wander(L2Anchor(1.0))
    assert drift == pytest.approx(step * math.sqrt(199 / (1 - 0.95**2)), rel=0.15)
    assert drift == pytest.approx(0.44, abs=0.06)
    assert target == pytest.approx(0.94, abs=0.12)
    target, drift = wander(L1Anchor(0.05))
    assert drift == pytest.approx(0.30, abs=0.05)
    assert target == pytest.approx(0.97, abs=0.12)


def test_an_anchor_of_strength_0_is_the_plain_strategy():
    ends = []
    for anchor in (NoAnchor(), L2Anchor(0.0), L1Anchor(0.0)):
        evolution = around(torch.linspace(-1, 1, 11), sigma=0.05, learning_rate=0.03, anchor=anchor)
        for step in range(5):
            evolution.apply(step, scores_of([1.0, 0.0, 0.3, 0.9]))
        ends.append(evolution.parameters[0].detach().clone())
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_a_population_writes_each_row_as_its_member(tiny_folder):
    policy = LanguagePolicy.load(str(tiny_folder))
    evolution = Evolution(policy.trainable(), EvolutionStrategy(sigma=0.3), seed=1)
    requests = [SampleRequest((5, 6, 7), ((4, 0, 0), (4, 0, 1))), SampleRequest((9, 8), ((4, 1, 1), (4, 1, 0)))]
    heard = {}
    rows = Population(policy, evolution).sample(requests, SampleLimits(5), 2, None, heard.__setitem__)
    for member in (0, 1):
        with evolution.perturbed(4, member):
            asked = [SampleRequest((5, 6, 7), ((4, 0, member),)), SampleRequest((9, 8), ((4, 1, member),))]
            alone = policy.sample(asked, SampleLimits(5), 2)
        assert rows[0][member] == alone[0][0]
        assert rows[1][1 - member] == alone[1][0]
    assert heard == {n: row.token_ids for n, row in enumerate([*rows[0], *rows[1]])}
    plain = policy.sample(requests, SampleLimits(5), 2)
    assert rows != plain


class Spy(Evolution):
    """Notes what it is told."""

    def __init__(self):
        self.settings = EvolutionStrategy()

    def apply(self, step, scores):
        self.step, self.scores = step, list(scores)
        return 0.5, math.nan


def lesson(outcomes):
    """A row of outcomes for each prompt, one for each member."""
    rows = [value for prompt in outcomes for value in prompt]
    members = len(outcomes[0])
    batch = token_batch(["css"] * len(rows), [n // members for n in range(len(rows))])
    names = tuple(f"3.{n // members}.{n % members}" for n in range(len(rows)))
    batch = replace(batch, trajectory_ids=names)
    told = told_batch(batch, [None if math.isnan(value) else value for value in rows])
    grid = torch.zeros(batch.token_ids.shape)
    credit = Advantages(grid, batch.sampled_mask, torch.zeros(len(rows), dtype=torch.bool), "none")
    values = ValuePrediction(grid, batch.sampled_mask, torch.zeros(len(rows)))
    return Lesson(batch, told, credit, None, values, Evidence())


def test_the_learner_scores_members_by_what_they_were_told():
    """Means over prompts .5, 1 and 0: z = 0, 1, -1. Without an outcome to either prompt, a member is not heard."""
    learner = EvolutionLearner(BigramPolicy(), Spy())
    learner.update(lesson([[1.0, 1.0, 0.0, math.nan], [0.0, 1.0, 0.0, math.nan]]), TRAIN, 3)
    assert [n for n, _ in learner.evolution.scores] == [0, 1, 2]
    assert [z for _, z in learner.evolution.scores] == pytest.approx([0.0, 1.0, -1.0], abs=1e-5)
    assert learner.applied and learner.policy.version == 3
    waiting = EvolutionLearner(BigramPolicy(), Spy())
    assert waiting.update(lesson([[1.0, 0.0]]), Stage("wait", policy=False, critic=True), 3) == ()
    assert not waiting.applied and waiting.policy.version == 0


def strategy(small, anchor=None, **changes):
    part = EvolutionStrategy(learning_rate=0.02, sigma=0.05, anchor=anchor or L2Anchor(2.0))
    learner = replace(Learner(), policy=part, tokens_per_microbatch=256)
    return small("es_awd", sampling=Sampling(3, 6, 0.0, 6), learner=learner, **changes)


def files(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.safetensors"))}


def test_a_run_resumes_to_the_same_bits(small, tmp_path):
    recipe = strategy(small, checkpoint=Checkpoints(every=2, keep=9))
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(3))
    resume(tmp_path / "cut")
    assert files(tmp_path / "whole", 4) == files(tmp_path / "cut", 4)
    start = load_file(tmp_path / "whole/checkpoints/step_0/policy/model.safetensors")
    kept = load_file(tmp_path / "whole/checkpoints/step_4/policy_optimizer.safetensors")
    assert all(torch.equal(kept[f"start|{name}"], weight) for name, weight in start.items() if f"start|{name}" in kept)
    assert sum(name.startswith("start|") for name in kept) == len(kept) - 1 > 10
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert [line["evolution/members"] for line in lines] == [6.0] * 4
    moved = load_file(tmp_path / "whole/checkpoints/step_4/policy/model.safetensors")
    away = math.sqrt(sum(float((moved[n].double() - start[n].double()).square().sum()) for n in start))
    assert lines[-1]["evolution/drift"] == pytest.approx(away, rel=1e-6)


def test_without_an_anchor_nothing_is_kept_but_a_count(small, tmp_path):
    train(strategy(small, NoAnchor(), steps=2), tmp_path / "run")
    kept = load_file(tmp_path / "run/checkpoints/step_2/policy_optimizer.safetensors")
    assert list(kept) == ["updates"] and int(kept["updates"]) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["critic=scalar"], "critic=group_mean"),
        (["learner.policy_epochs=2"], "policy_epochs=1"),
        (["budget=until_certain"], "budget=uniform"),
        (["control=value_guidance"], "control=none"),
        (["learner.policy=adam"], "greedy sample has no gradient"),
        (["learner.policy.sigma=0"], "sigma above 0"),
    ],
)
def test_what_a_population_cannot_use_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        change_recipe(RECIPES["es_awd"], settings, PARTS)


def test_weights_too_coarse_for_the_noise_are_refused():
    with pytest.raises(ValueError, match=r"policy\.dtype=float32"):
        around(torch.ones(3, dtype=torch.bfloat16))


def test_the_plan_counts_no_gradient_and_no_moments():
    """Weights once more for the anchor; three of the largest tensor; keys and values of one member's rows."""
    recipe = replace(RECIPES["es_awd"], sampling=Sampling(16, 30, 0.0))
    es, plain = plan(recipe), plan(replace(recipe, learner=replace(recipe.learner, policy=EvolutionStrategy())))
    adam = plan(replace(RECIPES["dr_grpo"], sampling=Sampling(16, 30)))
    assert es.weights_mib == pytest.approx(2 * plain.weights_mib)
    assert plain.weights_mib == pytest.approx(adam.weights_mib)
    assert es.optimizer_mib < adam.optimizer_mib / 5
    assert es.activations_mib == 0 < adam.activations_mib
    assert es.cache_mib == pytest.approx(adam.cache_mib / 30)
    said = " ".join(es.remarks)
    assert "objective (clipping, penalties, mismatch) is idle" in said and "clipping can never bind" not in said
