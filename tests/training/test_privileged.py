"""The critic that reads the answer: what it reads, that the policy does not, and that it knows more for it."""

from dataclasses import replace

import pytest
import torch

from arrays import told_batch
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.categorical import CategoricalCritic
from critica.critics.counted import GroupMean
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.privileged import Privileged, with_contexts
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import MonteCarlo
from critica.policies.language_model import LanguagePolicy
from critica.records.arrays import Categorical, Gaussian, Quantiles
from critica.records.evidence import Evidence, Groups
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.tokenize import tokenize

TEMPLATE = "{answer} is right. "


@pytest.fixture(scope="module")
def policy(tiny_folder):
    return LanguagePolicy.load(str(tiny_folder), device="cpu")


def written(policy, name, task, texts):
    """One answer in as many sampled turns as texts, the environment saying `ok` between them."""
    turns = [ContextTurn(task.messages[0], policy.encode(task.messages))]
    for number, text in enumerate(texts):
        if number:
            turns.append(ContextTurn(Message("user", "ok"), policy.encode((Message("user", "ok"),))))
        ids = policy.encode((Message("assistant", text),))
        turns.append(SampledTurn(Message("assistant", text), ids, (-0.5,) * len(ids), 1.0, 0))
    return Trajectory(name, name, task.task_id, task.task_id, "policy", tuple(turns), StopReason.END_OF_TEXT)


def asked(policy, answers=("yes", "a longer no"), prompt="who? "):
    groups = []
    for number, answer in enumerate(answers):
        task = Task(f"t{number}", "test", (Message("user", prompt),), answer)
        rows = [["abc"], ["b", "cd"]] if number == 0 else [["abc"]]
        trajectories = tuple(written(policy, f"{number}.{i}", task, texts) for i, texts in enumerate(rows))
        groups.append(Group(task.task_id, task, trajectories))
    return tuple(groups)


def retold(policy, groups):
    """The same groups as if their prompts had held the answers."""

    def longer(trajectory, task):
        message = replace(task.messages[0], content=TEMPLATE.format(answer=task.answer) + task.messages[0].content)
        return replace(trajectory, turns=(ContextTurn(message, policy.encode((message,))), *trajectory.turns[1:]))

    return tuple(
        replace(group, trajectories=tuple(longer(t, group.task) for t in group.trajectories)) for group in groups
    )


def live(part, policy, shaken=True):
    critic = part.build(CriticContext(policy, 3, 0.0, 1.0))
    if shaken:
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, weight in critic.trainable():
                if name.startswith("head."):
                    weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    return critic


def same_batch(first, second):
    for name in ("token_ids", "valid_mask", "sampled_mask", "turn_index", "node_index", "temperature",
                 "behavior_logprobs", "prefix_length"):  # fmt: skip
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_the_context_is_replaced_and_nothing_else(policy):
    groups = asked(policy)
    batch, critic = tokenize(groups), live(Privileged(ScalarCritic(), TEMPLATE), policy)
    contexts = {
        t.trajectory_id: critic.context(group.task) for group in groups for t in group.trajectories
    }
    longer = with_contexts(batch, contexts)
    same_batch(longer, tokenize(retold(policy, groups)))
    assert torch.equal(longer.token_ids[longer.sampled_mask], batch.token_ids[batch.sampled_mask])
    assert policy.decode_text(longer.token_ids[2, : longer.prefix_length[2]].tolist()) == "a longer no is right. who? "


@pytest.mark.parametrize(
    ("part", "law"),
    [
        (ScalarCritic(), None),
        (QuantileCritic(2, 4, 8, tail=NO_TAIL), Quantiles),
        (CategoricalCritic(5), Categorical),
        (Ensemble(GaussianCritic(8), 2), Gaussian),
    ],
)
def test_it_predicts_what_the_critic_inside_would_say_of_the_longer_text(part, law, policy):
    groups = asked(policy)
    batch, longer = tokenize(groups), tokenize(retold(policy, groups))
    told, told_longer = (told_batch(one, [1.0, 0.0, 0.5]) for one in (batch, longer))
    critic, inner = live(Privileged(part, TEMPLATE), policy), live(part, policy)
    found = critic.predict(batch, told, Evidence(Groups(groups)))
    expected = inner.predict(longer, told_longer, Evidence())
    torch.testing.assert_close(found.mean[batch.sampled_mask], expected.mean[longer.sampled_mask])
    assert bool((found.mean[~batch.sampled_mask] == 0).all()) and torch.equal(found.mask, batch.sampled_mask)
    torch.testing.assert_close(found.bootstrap, expected.bootstrap)
    if law is not None:
        assert isinstance(found.law, law) and isinstance(expected.law, law)
        grids = [
            one.law.values if law is Quantiles else one.law.probs if law is Categorical else one.law.spread
            for one in (found, expected)
        ]
        torch.testing.assert_close(grids[0][batch.sampled_mask], grids[1][longer.sampled_mask])
    plain = inner.predict(batch, told, Evidence())
    assert float((found.mean - plain.mean).abs().max()) > 1e-4


def test_with_nothing_to_tell_it_is_the_critic_inside(policy):
    groups = asked(policy)
    batch = tokenize(groups)
    told = told_batch(batch, [1.0, 0.0, 0.5])
    found = live(Privileged(ScalarCritic(), ""), policy).predict(batch, told, Evidence(Groups(groups)))
    plain = live(ScalarCritic(), policy).predict(batch, told, Evidence())
    torch.testing.assert_close(found.mean, plain.mean)


def test_pieces_of_a_step_read_what_the_whole_reads(policy):
    groups = asked(policy)
    batch = tokenize(groups)
    told = told_batch(batch, [1.0, 0.0, 0.5])
    critic = live(Privileged(ScalarCritic(), TEMPLATE), policy)
    values = critic.predict(batch, told, Evidence(Groups(groups)))
    whole, counts = critic.states(batch), batch.sampled_mask.sum(-1)
    piece = batch.select(torch.tensor([2, 0]))
    torch.testing.assert_close(critic.states(piece), torch.cat([whole[-int(counts[2]) :], whole[: int(counts[0])]]))
    targets = MonteCarlo().build(batch, told, values)
    (term,) = critic.loss(whole, batch, targets, values)
    expected = 0.5 * (values.mean - targets.values).square()
    torch.testing.assert_close(term.values[batch.sampled_mask], expected[batch.sampled_mask])


def test_it_learns_what_no_reader_of_the_prompt_can(policy):
    """Both prompts and both answers written are the same; only the reference differs, and it decides the outcome."""
    groups = asked(policy, ("yes", "no", "no"))
    groups = tuple(replace(group, trajectories=group.trajectories[:1]) for group in groups)
    batch = tokenize(groups)
    told, evidence = told_batch(batch, [1.0, 0.0, 0.0]), Evidence(Groups(groups))

    def error(part):
        critic = live(part, policy, shaken=False)
        adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=3e-3)
        for _ in range(40):
            values = critic.predict(batch, told, evidence)
            (term,) = critic.loss(
                critic.states(batch), batch, MonteCarlo().build(batch, told, values), values
            )
            adam.zero_grad()
            term.values[term.mask].mean().backward()
            adam.step()
        return float((critic.predict(batch, told, evidence).mean - told.outcome)[batch.sampled_mask].square().mean())

    assert error(ScalarCritic()) > 0.2  # two thirds against one third, at best 2/9
    assert error(Privileged(ScalarCritic(), TEMPLATE)) < 0.05


def test_what_cannot_be_is_refused_by_a_sentence(policy):
    shared = SharedTrunk()
    for wrong in (lambda: Privileged(ScalarCritic(shared)), lambda: Privileged(CategoricalCritic(body=shared))):
        with pytest.raises(ValueError, match=r"set critic\.critic\.body=own"):
            wrong()
    with pytest.raises(ValueError, match=r"critic\.body=own"):
        live(Privileged(Ensemble(ScalarCritic(SharedTrunk()))), policy)
    with pytest.raises(ValueError, match="no other braces"):
        Privileged(ScalarCritic(), "{reference} is right")
    with pytest.raises(ValueError, match=r"set critic\.critic=scalar"):
        Privileged(GroupMean())
    groups = asked(policy, ("",))
    batch = tokenize(groups)
    with pytest.raises(ValueError, match="'t0' has no reference answer"):
        live(Privileged(ScalarCritic()), policy).predict(
            batch, told_batch(batch, [1.0, 0.0]), Evidence(Groups(groups))
        )
    groups = asked(policy, ("long " * 60,))
    batch = tokenize(groups)
    with pytest.raises(ValueError, match=r"'0\.[01]' is \d+ tokens long, and the policy's context holds 256"):
        live(Privileged(ScalarCritic()), policy).predict(
            batch, told_batch(batch, [1.0, 0.0]), Evidence(Groups(groups))
        )
    groups = asked(policy)
    batch = tokenize(groups)
    with pytest.raises(ValueError, match=r"'0\.0' does not begin with the prompt of its task"):
        live(Privileged(ScalarCritic(), TEMPLATE), policy).predict(
            batch, told_batch(batch, [1.0, 0.0, 0.5]), Evidence(Groups(retold(policy, groups)))
        )
    assert Groups in live(Privileged(ScalarCritic()), policy).needs
