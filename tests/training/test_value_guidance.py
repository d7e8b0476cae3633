"""Q#'s guidance in the decoder: exact where the law is, off bit for bit, and what it writes is what is reported."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from critica.critics.bodies import OwnBody, SharedTrunk
from critica.critics.categorical import CategoricalCritic
from critica.critics.counted import GroupMean
from critica.critics.quantile import AsymmetricTail, QuantileCritic
from critica.critics.reference_tail import ReferenceTail
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import MonteCarlo
from critica.critics.taught_ends import TaughtEnds, with_end
from critica.critics.token_values import TokenValues
from critica.environments.base import Environment, EnvironmentConfig
from critica.evaluation.outcome import evaluate_policy
from critica.functional.guidance import categorical_tilt, guided_logits, switch_of
from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.decoder import Decoder
from critica.policies.families import read_stack
from critica.policies.forward import HiddenForward
from critica.recipes.q_sharp import Q_SHARP
from critica.records.arrays import Categorical, Quantiles
from critica.records.words import Message, StopReason, Task
from critica.rollout.candidates import Candidates
from critica.rollout.control import NoControl
from critica.rollout.gather import gather
from critica.rollout.guidance import Guide, Tally, ValueGuidance
from critica.rollout.place import place
from critica.rollout.tokenize import tokenize
from critica.training.assemble import assemble
from critica.training.observe import score
from critica.training.run import resume, train
from policies.policies_fixtures import VOCAB, tiny_model, token_batch

PROMPT = (3, 9, 4)
END = 2
TOP_K = 96
NO_TAIL = AsymmetricTail(calibration=0.0, gain=0.0, shift=0.0, shape=0.0)
CRITICS = {
    "next state, own body": TaughtEnds(CategoricalCritic(atoms=3, encoding="two_hot", body=OwnBody())),
    "next state, policy's": TaughtEnds(QuantileCritic(heads=2, quantiles=4, tail=NO_TAIL, body=SharedTrunk())),
    "next state, no ends": ScalarCritic(body=OwnBody()),
    "token head": TokenValues(atoms=3, hidden=8),
}


class ExactCandidates(Candidates):
    """The true law of the reward-to-go under the policy, for answers of two tokens."""

    def __init__(self, first, second, rewards):
        self.first, self.second, self.rewards = first, second, rewards  # rewards[a, b]; an end in place 1 pays [END, 0]
        self.seen: dict[int, int] = {}

    def tilts(self, hidden, candidates, rows, eta):
        return torch.stack(
            [self._row(self.seen.get(int(row)), ids, eta) for row, ids in zip(rows, candidates, strict=True)]
        )

    def _row(self, before, ids, eta):
        return self.root(eta)[ids] if before is None else self.rewards[before, ids] / eta

    @lru_cache  # noqa: B019
    def root(self, eta):
        laws = torch.stack([categorical_tilt(self.second[a], self.rewards[a], eta) for a in range(VOCAB)])
        laws[END] = self.rewards[END, 0] / eta
        return laws

    def written(self, tokens, rows):
        self.seen |= dict(zip(rows.tolist(), tokens.tolist(), strict=True))


def two_token_game():
    model = tiny_model("qwen3", dtype=torch.float64)
    paths = [[(t, "c") for t in PROMPT] + [(a, "c"), (0, "s")] for a in range(VOCAB)]
    forward = HiddenForward(model)
    with torch.no_grad():
        states = forward.sampled_states(token_batch(paths, list(range(VOCAB)), [len(PROMPT) + 1] * VOCAB))
        root = forward.final_states(token_batch([[(t, "c") for t in PROMPT]], [0], [len(PROMPT)]))
        first, second = (model.lm_head(h).log_softmax(-1) for h in (root[0], states))
    rewards = torch.rand(VOCAB, VOCAB, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return model, first, second, rewards


@pytest.mark.parametrize(("eta", "temperature"), [(0.1, 1.0), (1.0, 1.0)])
def test_with_exact_laws_the_decoder_samples_the_optimal_policy_and_reports_its_logprobs(eta, temperature):
    model, first, second, rewards = two_token_game()
    joint = first[:, None] + second
    joint[END] = -torch.inf
    joint[END, 0] = first[END]
    optimal = (joint + rewards / eta).flatten().log_softmax(-1).view(VOCAB, VOCAB)
    guide = Guide(ValueGuidance(eta, VOCAB), ExactCandidates(first, second, rewards), Tally(), [0] * 300, temperature)
    decoder = Decoder(read_stack(model), (END,), packed=False)
    request = SampleRequest(PROMPT, tuple((i,) for i in range(300)))
    (samples,) = decoder.sample([request], SampleLimits(2, temperature), 1, guide)
    earned = []
    for sample in samples:
        a, b = sample.token_ids[0], sample.token_ids[1] if len(sample.token_ids) > 1 else 0
        assert sum(sample.logprobs) == pytest.approx(float(optimal[a, b]), abs=1e-8)
        earned.append(float(rewards[a, b]))
    law, pay = optimal.exp(), rewards
    mean = float((law * pay).sum())
    error = float(((law * pay.square()).sum() - mean**2) ** 0.5) / 300**0.5
    assert abs(np.mean(earned) - mean) < 4 * error
    assert mean > float((joint.exp() * pay).sum()) + 0.03
    apart = float(torch.where(law > 0, law * (optimal - joint), 0.0).nan_to_num(0.0).sum())
    assert guide.tally.divergence / 300 == pytest.approx(apart, rel=0.25)


@pytest.fixture
def guided(small):
    """q_sharp on the digit-sum game with a critic that has something to say."""

    def make(critic=CRITICS["token head"], **control):
        part = ValueGuidance(**{"eta": 0.2, "top_k": TOP_K, "roll_in": 0} | control)
        target = ReferenceTail(part.roll_in) if part.roll_in else MonteCarlo()
        recipe = small("q_sharp")  # which shortens every warm-up: the policy would learn
        learner = replace(recipe.learner, critic_warmup_steps=Q_SHARP.learner.critic_warmup_steps)
        return replace(recipe, critic=critic, control=part, target=target, learner=learner)

    return make


def loud(critic):
    """Give every head weights that differ, so that candidates do."""
    dice = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in critic.trainable():
            if name.startswith("head"):
                shapes = name.endswith("output_weight") and weight.dim() == 3  # steps between quantiles, in logits
                weight.copy_(torch.randn(weight.shape, generator=dice) * (0.03 if shapes else 0.25))


def gathered(recipe, speak=True):
    assembly = assemble(recipe)
    state = assembly.state
    if speak:
        loud(state.critic)
    request = state.curriculum.next(1)
    found = gather(state.policy, state.curriculum, assembly.supervision, recipe.admission, request, state.control)
    assembly.close()
    return found, assembly


@pytest.mark.parametrize(("critic", "keeps_rest"), zip(CRITICS.values(), (False, True, False, True)), ids=CRITICS)  # noqa: B905
def test_every_reported_logprob_is_that_of_the_guided_law_worked_out_afresh(critic, keeps_rest, guided):
    recipe = guided(critic, keeps_rest=keeps_rest)
    found, assembly = gathered(recipe)
    policy, live = assembly.state.policy, assembly.state.critic
    batch = tokenize(found.groups)
    inner = getattr(live, "inner", live)
    with torch.no_grad():
        logits = policy.logits(policy.sampled_states(batch))
    taught = hasattr(live, "inner")
    moved = 0
    for at, (row, place_) in enumerate(batch.sampled_mask.nonzero().tolist()):
        if at % 5:  # whole forward passes cost
            continue
        likely = logits[at].topk(TOP_K).indices
        before = batch.token_ids[row, :place_].tolist()
        tilts = afresh(policy, inner, before, likely, taught, 0.2)
        law = guided_logits(logits[at][None], likely[None], tilts[None], 1.0, keeps_rest)[0].log_softmax(-1)
        token = int(batch.token_ids[row, place_])
        assert float(batch.behavior_logprobs[row, place_]) == pytest.approx(float(law[token]), abs=2e-3)
        moved += abs(float(law[token] - logits[at].log_softmax(-1)[token])) > 0.01
    assert moved >= 1
    shares = {metric.name: metric for metric in found.reports}
    assert shares["control/guided_share"].value == 1.0 and shares["control/guidance_kl"].value > 0.001


def afresh(policy, critic, before, likely, taught, eta):
    """Tilts from whole forward passes, without any cache."""

    def states(paths, forward):
        rows = [[(t, "c") for t in ids] for ids in paths]
        return forward.final_states(token_batch(rows, list(range(len(rows))), list(map(len, rows))))

    with torch.no_grad():
        if critic.body is None and not taught:
            return categorical_tilt(critic.token_logits(states([before], policy), likely[None])[0], critic.atoms, eta)
        reader = policy if critic.body is None else critic.body
        ends = [before if token in policy.end_ids and not taught else [*before, token] for token in likely.tolist()]
        foreseen = critic.foresee(states(ends, reader))
        if isinstance(foreseen.law, Categorical):
            return categorical_tilt(foreseen.law.probs[:, 1, 0].log(), foreseen.law.atoms, eta)
        if isinstance(foreseen.law, Quantiles):
            scaled = foreseen.law.values[:, 1].flatten(1).double() / eta
            return ((scaled - scaled.max()).exp().mean(-1).log() + scaled.max()).float()
        p = foreseen.mean[:, 1].clamp(0, 1)
        return (1 - p + p * torch.tensor(1 / eta).exp()).log()


@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS)
def test_without_a_price_worth_paying_and_without_an_opinion_it_is_the_policy_bit_for_bit(critic, guided):
    plain, _ = gathered(replace(guided(critic), control=NoControl()))
    free, _ = gathered(guided(critic, eta=float("inf")))
    silent, _ = gathered(guided(critic), speak=False)
    assert plain.groups == free.groups == silent.groups
    led, _ = gathered(guided(critic))
    assert led.groups != plain.groups


def test_only_tokens_from_the_switch_on_are_the_policys_and_only_they_are_targets(guided):
    recipe = guided(CRITICS["next state, own body"], roll_in=4, keeps_rest=False)
    found, assembly = gathered(recipe)
    batch = tokenize(found.groups)
    with torch.no_grad():
        policy = assembly.state.policy
        alone = score(policy, batch, policy.sampled_states(batch))
    evidence = assembly.state.observer.observe(found.groups, batch)
    told = place(found.rewards, batch, evidence, recipe.placement, assembly.source)
    values = assembly.state.critic.predict(batch, told, evidence)
    targets = recipe.target.build(batch, told, values)
    gap = (alone - batch.behavior_logprobs).abs()
    assert float(gap[targets.mask].max()) < 1e-4
    early = batch.sampled_mask & ~targets.mask
    assert int(early.sum()) > 5 and float((gap[early] > 1e-3).float().mean()) > 0.8
    for row, name in enumerate(batch.trajectory_ids):
        assert int(early[row].sum()) == min(switch_of(name, 4) - 1, int(batch.sampled_mask[row].sum()))
    assert torch.equal(targets.values[targets.mask], told.total[:, None].expand_as(gap)[targets.mask])


def test_an_end_is_taught_what_the_last_token_is_and_bodies_agree(guided):
    losses = {}
    for body in (OwnBody(), SharedTrunk()):
        recipe = guided(TaughtEnds(CategoricalCritic(atoms=2, encoding="two_hot", body=body)))
        found, assembly = gathered(replace(recipe, control=NoControl()))
        critic, policy = assembly.state.critic, assembly.state.policy
        batch = tokenize(found.groups)
        evidence = assembly.state.observer.observe(found.groups, batch)
        told = place(found.rewards, batch, evidence, recipe.placement, assembly.source)
        values = critic.predict(batch, told, evidence)
        targets = recipe.target.build(batch, told, values)
        states = critic.states(batch) if critic.has_body else policy.sampled_states(batch)
        (term,) = critic.loss(states, batch, targets, values)
        assert int(term.mask.sum()) == int(targets.mask.sum()) + batch.rows
        ends = policy.final_states(batch)
        law = critic.inner.head(ends).log_softmax(-1)
        label = told.total.long()
        by_hand = -law.gather(1, label[:, None])[:, 0]
        made = term.values[torch.arange(batch.rows), batch.lengths]
        assert torch.allclose(made, by_hand, atol=1e-5)
        losses[type(body)] = float(term.values.sum())
    assert losses[OwnBody] == pytest.approx(losses[SharedTrunk], rel=1e-5)


def test_a_longer_batch_is_a_batch_and_leaves_the_rest_alone(guided):
    found, _ = gathered(guided())
    batch = tokenize(found.groups)
    longer = with_end(batch)
    assert torch.equal(longer.lengths, batch.lengths + 1)
    assert torch.equal(longer.sampled_mask.sum(-1), batch.sampled_mask.sum(-1) + 1)
    width = batch.token_ids.shape[1]
    assert torch.equal(longer.token_ids[:, :width][batch.valid_mask], batch.token_ids[batch.valid_mask])


def test_a_token_critics_value_is_its_tokens_values_weighed_by_the_policy(guided):
    found, assembly = gathered(guided(CRITICS["token head"]))
    batch, policy, critic = tokenize(found.groups), assembly.state.policy, assembly.state.critic
    with torch.no_grad():
        states = policy.sampled_states(batch)
        every = torch.arange(critic.vocabulary).expand(len(states), -1)
        means = critic.token_logits(states, every).softmax(-1) @ critic.atoms
        wanted = (policy.logits(states).softmax(-1) * means).sum(-1)
        made = critic.read(batch, states, states[: batch.rows]).mean[batch.sampled_mask]
    assert torch.allclose(made, wanted, atol=1e-5)


@pytest.mark.parametrize("critic", [CRITICS["next state, own body"], CRITICS["token head"]], ids=["next", "token"])
def test_a_run_resumes_to_the_same_bits_and_its_policy_never_moves(critic, guided, tmp_path):
    recipe = guided(critic, roll_in=3)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, steps=2), tmp_path / "cut")
    resume(tmp_path / "cut", steps=4)
    for name in ("metrics.jsonl", "ledger.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()

    def weights(run, step, what):
        folder = tmp_path / run / "checkpoints" / f"step_{step}" / what
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.safetensors"))}

    assert weights("whole", 4, "critic") == weights("cut", 4, "critic") != weights("whole", 2, "critic")
    assert weights("whole", 4, "policy") == weights("whole", 2, "policy")


class FirstLetter(Environment):
    """Right if the answer begins with a letter: one first token in five of a policy that writes anything."""

    name, max_new_tokens, reward_range = "first_letter", 3, (0.0, 1.0)

    def __init__(self, seed):
        self.seed = seed

    def candidate(self, index):
        return Task(f"{self.seed}/{index}", self.name, (Message("user", f"{index}: "),), "", {}, self.seed)

    def score(self, task, text):
        return float(text[:1].isascii() and text[:1].isalpha())


class FirstLetterConfig(EnvironmentConfig):
    def build(self, seed):
        return FirstLetter(seed)


def test_a_fitted_critic_guides_a_policy_that_never_learned_to_more_than_twice_its_accuracy(guided):
    from critica.recipes.base import Sampling
    from critica.rewards.noise import NoNoise
    from critica.training.guard import no_credit
    from critica.training.lesson import Lesson
    from critica.updaters.gradient import Adam

    recipe = guided(TokenValues(atoms=2), eta=0.15, top_k=64, roll_in=2)
    recipe = replace(
        recipe, environment=FirstLetterConfig(), sampling=Sampling(16, 8, 1.0, 3), noise=NoNoise(),
        learner=replace(recipe.learner, critic=Adam(0.1)),
    )  # fmt: skip
    assembly = assemble(recipe)
    state = assembly.state
    try:
        for step in range(1, 31):
            request = state.curriculum.next(step)
            found = gather(
                state.policy, state.curriculum, assembly.supervision, recipe.admission, request, state.control
            )
            batch = tokenize(found.groups)
            evidence = state.observer.observe(found.groups, batch)
            told = place(found.rewards, batch, evidence, recipe.placement, assembly.source)
            values = state.critic.predict(batch, told, evidence)
            targets = recipe.target.build(batch, told, values)
            lesson = Lesson(batch, told, no_credit(batch), targets, values, evidence)
            assembly.learner.update(lesson, request.stage, step)
        hands = {"alone": None, "guided": state.control.evaluating}
        found = {
            name: evaluate_policy(state.policy, assembly.environment, 128, hand=hand).accuracy.estimate
            for name, hand in hands.items()
        }
    finally:
        assembly.close()
    assert found["alone"] < 0.35 and found["guided"] > 2 * found["alone"]


def test_what_cannot_guide_and_what_cannot_teach_is_refused_with_the_way_out(guided, small):
    with pytest.raises(ValueError, match="target=reference_tail"):
        replace(small("q_sharp"), target=MonteCarlo())
    with pytest.raises(ValueError, match="roll_in"):
        replace(small("q_sharp"), target=ReferenceTail(7))
    with pytest.raises(ValueError, match="critic=taught_ends"):
        assemble(replace(guided(), critic=GroupMean()))
    with pytest.raises(ValueError, match="no choice"):
        ValueGuidance(top_k=1)
    with pytest.raises(ValueError, match="above 0"):
        ValueGuidance(eta=0.0)
    with pytest.raises(ValueError, match="only a critic that learns"):
        TaughtEnds(GroupMean())


def test_stop_reasons_are_the_policys_own(guided):
    found, _ = gathered(guided())
    stops = {t.stop for g in found.groups for t in g.trajectories}
    assert stops <= {StopReason.END_OF_TEXT, StopReason.TOKEN_LIMIT}
