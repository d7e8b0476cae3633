"""A critic that writes, as a value critic: where its statements count, what they never see, and what they earn."""

from dataclasses import replace

import pytest
import torch

from critica.advantages.outcome import Outcome
from critica.critics.base import CriticContext, HasWeights, Trainable
from critica.critics.counted import GroupMean
from critica.critics.generative import GenerativeCritic
from critica.critics.language import (
    Authoring,
    LanguageCritic,
    LanguageCriticPart,
    LearningStatedValue,
    StatedValue,
    StatedValueCritic,
    tokens_of,
)
from critica.critics.statements import model_statement
from critica.policies.language_model import LanguagePolicy
from critica.records.checks import RecordError
from critica.records.critique import Critique, Verdict
from critica.records.evidence import Evidence, Groups
from critica.records.supervision import Failed, Reward, Scored, SpanScore
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.place import Placement, place
from critica.rollout.tokenize import tokenize
from critica.training.author import Author
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from fakes import BigramPolicy

CONTEXT = CriticContext(BigramPolicy(), 1, 0.0, 1.0)


def trajectory(name, task, prompt, written, role="policy", parent="", text=""):
    context = ContextTurn(task.messages[0], tuple(prompt))
    turn = SampledTurn(Message("assistant", text), tuple(written), (-1.0,) * len(written), 1.0, 0)
    return Trajectory(name, name, task.task_id, task.task_id, role, (context, turn), StopReason.END_OF_TEXT, parent)


def group(name, answers, prompt=(9, 8)):
    task = Task(name, "test", (Message("user", f"ask {name}"),), "")
    return Group(name, task, tuple(trajectory(f"{name}.{i}", task, prompt, ids) for i, ids in enumerate(answers)))


def asked(groups, outcomes):
    """Batch, what was told, and the words."""
    batch = tokenize(tuple(groups))
    pairs = zip(batch.trajectory_ids, outcomes, strict=True)
    rewards = tuple(Reward("r", n, Failed("lost") if v is None else Scored(v)) for n, v in pairs)
    return batch, place(rewards, batch, Evidence(), Placement(), Bounds()), Evidence(Groups(tuple(groups)))


class Bounds:
    low, high = 0.0, 1.0


class Says(LanguageCritic):
    """States what it is told to: scores by (trajectory, tokens read)."""

    def __init__(self, scores):
        self.scores = scores

    def critique(self, group):
        made = []
        for one in group.trajectories:
            for (name, read), said in self.scores.items():
                for i, score in enumerate(said if name == one.trajectory_id else ()):
                    authored = trajectory(f"{name}@{read}/{i}", group.task, (1,), (2,), "critic", name)
                    made.append(Critique("says", name, authored, Verdict.NOT_ASKED, score, read))
        return tuple(made)


def test_a_statement_holds_for_every_sibling_that_begins_alike_until_the_next():
    groups = [group("a", [(5, 6, 7, 1), (5, 6, 4, 1), (3, 6, 7, 1)])]
    batch, told, evidence = asked(groups, [1.0, 0.0, 1.0])
    scores = {("a.0", 2): [Scored(0.5), Scored(0.7)], ("a.1", 4): [Scored(0.1)], ("a.0", 5): [Scored(0.9)]}
    values = StatedValueCritic(Says(scores), 0.25).predict(batch, told, evidence)
    # Columns 2 to 5 are sampled; index t is what was expected before token t.
    assert values.mean[:, 2:].tolist() == [
        pytest.approx([0.6, 0.6, 0.1, 0.9]), pytest.approx([0.6, 0.6, 0.1, 0.1]), pytest.approx([0.6] * 4),
    ]  # fmt: skip
    assert values.support[:, 2:].tolist() == [[2, 2, 1, 1], [2, 2, 1, 1], [2, 2, 2, 2]]
    assert [len(set(row)) for row in values.nodes[:, 2:].tolist()] == [3, 2, 1]
    assert not values.uses_own_outcome and not values.uses_siblings


def test_what_cannot_be_read_is_the_prior_with_nothing_behind_it_and_is_counted():
    groups = [group("a", [(5, 6), (5, 7)]), group("b", [(5, 6), (5, 7)])]
    batch, told, evidence = asked(groups, [1.0, 0.0, 1.0, 0.0])
    scores = {("a.0", 2): [Failed("noise"), Failed("noise")], ("b.0", 2): [Failed("noise"), Scored(0.0)]}
    critic = StatedValueCritic(Says(scores), 0.25)
    values = critic.predict(batch, told, evidence)
    assert values.mean[:, 2:].tolist() == [[0.25, 0.25]] * 2 + [[0.0, 0.0]] * 2
    assert values.support[:, 2:].tolist() == [[0, 0]] * 2 + [[1, 1]] * 2  # a stated zero is a value, a failure is none
    (metric,) = critic.report()
    assert (metric.name, metric.total, metric.count) == ("critic/unread_statements", 3.0, 4.0)


def test_scores_are_read_on_the_declared_range():
    groups = [group("a", [(5, 6), (5, 7)])]
    batch, told, evidence = asked(groups, [1.0, 0.0])
    wide = replace(told, low=(-1.0,), high=(3.0,))
    values = StatedValueCritic(Says({("a.0", 2): [Scored(0.75)]}), 0.5).predict(batch, wide, evidence)
    assert values.mean[:, 2:].tolist() == [[2.0, 2.0]] * 2


def test_a_critic_that_states_the_group_mean_is_grpo():
    answers = [(5, 6), (5, 7), (4, 6), (4, 7)]
    groups = [group("a", answers), group("b", answers), group("c", answers)]
    outcomes = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    batch, told, evidence = asked(groups, outcomes)
    says = Says({(f"{name}.0", 2): [Scored(mean)] for name, mean in (("a", 0.25), ("b", 0.75), ("c", 1.0))})
    grpo = GroupMean().build(CONTEXT).predict(batch, told, evidence)
    stated = StatedValueCritic(says, 0.5).predict(batch, told, evidence)
    rule = Outcome(scale="group")
    ours, theirs = (rule.estimate(batch, told, v, evidence).advantage for v in (stated, grpo))
    assert torch.equal(ours, theirs) and bool((ours != 0).any())


def test_a_critique_names_its_subject_and_scores_only_what_it_read():
    task = Task("t", "test", (Message("user", "?"),), "")
    authored = trajectory("c", task, (1,), (2,), "critic", "s")
    fine = Critique("me", "s", authored, Verdict.CORRECT, Scored(1.0), 3, (SpanScore(1, 3, 0.5),))
    assert fine.spans[0].end == 3
    with pytest.raises(RecordError, match="its parent is 's'"):
        Critique("me", "other", authored, Verdict.CORRECT, Scored(1.0), 3)
    with pytest.raises(RecordError, match="had not read"):
        Critique("me", "s", authored, Verdict.CORRECT, Scored(1.0), 2, (SpanScore(1, 3, 0.5),))
    with pytest.raises(RecordError, match="read nothing"):
        Critique("me", "s", authored, Verdict.CORRECT, Scored(1.0), 0)
    mute = replace(authored, turns=authored.turns[:1])
    with pytest.raises(RecordError, match="nothing that the critic wrote"):
        Critique("me", "s", mute, Verdict.CORRECT, Scored(1.0), 3)


# The generative critic itself, on a random two-layer model with a byte tokenizer.

SHORT = "{question}{answer} {record}: "


@pytest.fixture
def policy(tiny_folder):
    return LanguagePolicy.load(str(tiny_folder), device="cpu")


def live(policy, **changes):
    part = replace(GenerativeCritic(judge_after="1", template=SHORT, max_new_tokens=8, samples=3), **changes)
    return StatedValue(part).build(CriticContext(policy, 5, 0.0, 1.0))


def spoken(policy, texts, name="a"):
    """A group of answers in the policy's own tokens, each closed."""
    prompt = policy.encode((Message("user", f"ask {name}"),))
    return group(name, [(*policy.encode_text(text), policy.end_ids[0]) for text in texts], prompt)


def test_states_are_the_prompt_and_marked_places_shared_by_siblings_and_never_the_end(policy):
    critic = live(policy).critic
    states = critic.states(spoken(policy, ["0101", "0100", "111"]))
    prompt = len(policy.encode((Message("user", "ask a"),)))
    assert [(s.subject.trajectory_id, s.tokens_read - prompt) for s in states] == [
        ("a.0", 0), ("a.0", 2), ("a.0", 4), ("a.2", 1), ("a.2", 2), ("a.2", 3),
    ]  # fmt: skip
    assert [s.question.messages[0].content for s in states[:3]] == [
        "ask a none yet: ", "ask a01 none yet: ", "ask a0101 none yet: ",
    ]  # fmt: skip
    thinned = live(policy, states_per_answer=2).critic.states(spoken(policy, ["111111111"]))
    assert [s.tokens_read - prompt for s in thinned] == [0, 3, 7]
    assert len(live(policy, judge_after="").critic.states(spoken(policy, ["0101", "1"]))) == 1


def test_statements_do_not_know_the_outcomes_and_siblings_share_them(policy):
    groups = [spoken(policy, ["01", "01", "10"])]
    batch, told, evidence = asked(groups, [1.0, 0.0, 1.0])
    other = asked(groups, [0.0, None, 0.0])[1]
    first, second = live(policy), live(policy)
    for values in (first.predict(batch, told, evidence), second.predict(batch, other, evidence)):
        assert torch.equal(values.mean, first.predict(batch, told, evidence).mean)
    said = [[c.authored for c in one._critiques[0]] for one in (first, second)]
    assert said[0] == said[1]
    assert len({c.trajectory_id for c in said[0]}) == len(said[0]) == 3 * 3  # prompt, after `01`, after `1` of `10`
    assert all(tokens_of(c)[: len(c.turns[0].token_ids)] == c.turns[0].token_ids for c in said[0])


def test_it_is_owned_by_an_optimizer_but_not_driven_by_targets(policy):
    critic = live(policy)
    assert isinstance(critic, LearningStatedValue) and isinstance(critic, Authoring) and isinstance(critic, HasWeights)
    assert not isinstance(critic, Trainable)
    mine = {id(weight) for _, weight in policy.trainable()}
    assert not mine & {id(weight) for _, weight in critic.trainable()}
    before = {name: weight.clone() for name, weight in policy.trainable()}
    with torch.no_grad():
        for _, weight in critic.trainable():
            weight.add_(1.0)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.trainable())


def test_the_format_stage_imitates_the_rate_of_the_answers_that_passed_through(policy):
    critic = live(policy)
    batch, told, evidence = asked([spoken(policy, ["01", "01", "10"])], [1.0, 0.0, 1.0])
    critic.predict(batch, told, evidence)
    script = critic.script(batch, told)
    assert script.imitates
    texts = [t.sampled_text for g in script.groups for t in g.trajectories]
    # Outcomes 1, 0, 1 of the prompt, 1, 0 after `01`, 1 after `1`, each with four more at one half: none was told yet.
    assert texts == [model_statement(4 / 7), model_statement(0.5), model_statement(3 / 5)]
    assert {reward.outcome for reward in script.rewards} == {Scored(1.0)}
    ends = {t.turns[1].token_ids[-1] for g in script.groups for t in g.trajectories}
    assert ends == {policy.end_ids[0]}


def test_examples_lean_on_what_was_usual_before_this_step(policy):
    critic = live(policy, judge_after="")
    batch, told, evidence = asked([spoken(policy, ["01", "10"])], [0.0, 0.0])
    for expected in (model_statement(2 / 6), model_statement(0.0)):
        critic.predict(batch, told, evidence)
        assert critic.script(batch, told).groups[0].trajectories[0].sampled_text == expected


def taught(critic, policy, texts):
    """The critic's last critiques with these statements in place of what it wrote, state by state in order."""
    (said,) = critic._critiques
    made = []
    for critique, text in zip(said, texts, strict=True):
        ids = (*policy.encode_text(text), policy.end_ids[0])
        turn = SampledTurn(Message("assistant", text), ids, (-1.0,) * len(ids), 1.0, 0)
        authored = replace(critique.authored, turns=(critique.authored.turns[0], turn), stop=StopReason.END_OF_TEXT)
        made.append(replace(critique, authored=authored, score=Scored(0.5) if "value" in text else Failed("?")))
    critic._critiques = (tuple(made),)


def test_statements_earn_their_brier_reward_and_unread_ones_the_least(policy):
    critic = live(policy, format_steps=0, judge_after="")
    batch, told, evidence = asked([spoken(policy, ["01", "10", "11"])], [1.0, 0.0, None])
    critic.predict(batch, told, evidence)
    taught(critic, policy, ["value: 1.0", "value: 0.5", "dunno"])
    script = critic.script(batch, told)
    assert not script.imitates
    assert [r.outcome.value for r in script.rewards] == [pytest.approx(0.5), pytest.approx(0.75), 0.0]


def test_it_goes_back_to_imitation_when_most_statements_are_unreadable(policy):
    critic = live(policy, format_steps=0, judge_after="")
    batch, told, evidence = asked([spoken(policy, ["01", "10"])], [1.0, 0.0])
    critic.predict(batch, told, evidence)
    taught(critic, policy, ["dunno", "what", "value: 0.5"])
    assert critic.script(batch, told).imitates
    critic.predict(batch, told, evidence)
    taught(critic, policy, ["dunno", "value: 0.1", "value: 0.5"])
    assert not critic.script(batch, told).imitates


def test_reinforcement_raises_the_better_statement_and_lowers_the_worse(policy):
    """One update by the shared learner: the log-prob of the statement nearer to the truth goes up."""
    critic = live(policy, format_steps=0, judge_after="", samples=2)
    author = Author(critic, Optimizer(critic.trainable(), Adam(1e-3)), 4096, 0)
    batch, told, evidence = asked([spoken(policy, ["01", "10", "11", "00"])], [1.0, 1.0, 1.0, 0.0])
    critic.predict(batch, told, evidence)
    taught(critic, policy, ["value: 0.8", "value: 0.1"])
    written = tokenize((Group("w", Task(critic._critiques[0][0].authored.task_id, "g", (Message("user", "?"),), ""),
                              tuple(c.authored for c in critic._critiques[0])),))  # fmt: skip

    def sums():
        with torch.no_grad():
            states = critic.writer.sampled_states(written)
            logs = torch.log_softmax(critic.writer.logits(states), -1)
        chosen = logs.gather(-1, written.token_ids[written.sampled_mask][:, None])[:, 0]
        return chosen.split(written.sampled_mask.sum(-1).tolist())

    before = [float(part.sum()) for part in sums()]
    reports = {metric.name: metric.value for metric in author.update(batch, told, 1)}
    after = [float(part.sum()) for part in sums()]
    assert after[0] > before[0] and after[1] < before[1]
    assert reports["critic/statement_reward"] == pytest.approx((0.81 + 0.39) / 2)
    assert critic.writer.version == 1 and policy.version == 0


def test_imitation_teaches_the_format_and_to_tell_an_easy_prompt_from_a_hard_one(policy):
    critic = live(policy, judge_after="", max_new_tokens=20)
    author = Author(critic, Optimizer(critic.trainable(), Adam(1e-2)), 4096, 0)
    groups = [spoken(policy, ["01", "10"], name="easy"), spoken(policy, ["01", "10"], name="hard")]
    batch, told, evidence = asked(groups, [1.0, 1.0, 0.0, 0.0])
    losses = []
    for step in range(1, 31):
        critic.predict(batch, told, evidence)
        losses += [m.value for m in author.update(batch, told, step) if m.name == "loss/statements"]
        if step == 1:
            assert critic.report()[0].value == 1.0
        if losses[-1] < 1.0 and step > 10:
            break
    values = critic.predict(batch, told, evidence).mean[batch.sampled_mask].view(4, -1)
    assert critic.report()[0].value < 0.5
    assert losses[-1] < losses[0] / 5
    assert values[:2].min() > 0.55 and values[2:].max() < 0.45  # taught 0.7 and 0.3: four usual outcomes are added


def test_memory_is_the_record_the_lessons_and_the_version(policy):
    critic = live(policy)
    batch, told, evidence = asked([spoken(policy, ["01", "10", "11", "00"])], [1.0, 1.0, None, 0.0])
    critic.predict(batch, told, evidence)
    critic.script(batch, told)
    state = critic.state_dict()
    assert state["lessons"] == 1 and state["record"]["recent"] == [1.0, 1.0, 0.0]
    twin = live(policy)
    twin.load_state_dict(state)
    question = critic.critic.states(spoken(policy, ["0"]))[0].question.messages[0].content
    assert question == "ask a 67% of 3, here 67% of 3: " == twin.critic.states(spoken(policy, ["0"]))[0].question.prompt
    assert "of 3: " in critic.critic.states(spoken(policy, ["0"], name="new"))[0].question.prompt
    with pytest.raises(RuntimeError, match="never shown"):
        twin.script(batch, told)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="judged by its siblings"):
        GenerativeCritic(samples=1)
    with pytest.raises(ValueError, match="nothing to judge"):
        GenerativeCritic(template="{question} {record}")
    with pytest.raises(ValueError, match="no other braces"):
        GenerativeCritic(template="{question} {answer} {truth}")
    with pytest.raises(ValueError, match="share of the declared range"):
        StatedValue(GenerativeCritic(), prior=1.5)


def test_a_frozen_language_critic_has_no_weights_to_train():
    class Part(LanguageCriticPart):
        def build(self, context):
            return Says({})

    frozen = StatedValue(Part()).build(CONTEXT)
    assert isinstance(frozen, StatedValueCritic) and not isinstance(frozen, HasWeights | Authoring)
