"""Answer, critique, answer: who is paid for what, and RLTF's two objectives against enumeration."""

import itertools
from dataclasses import replace

import pytest
import torch

from arrays import token_batch
from critica.advantages.feedback_credit import FeedbackCredit
from critica.advantages.gae import Gae
from critica.critics.base import CriticContext
from critica.critics.turn_mean import TurnMean
from critica.environments.guess import Guess
from critica.functional.groups import group_mean
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.supervision import Scale, Scored
from critica.records.words import StopReason
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.critiques import JudgeCritique, PolicyCritique, ToldAnswer
from critica.rollout.feedback import Feedback
from critica.rollout.gather import gather
from critica.rollout.place import Placement, place
from critica.rollout.protocol import ProtocolContext
from critica.rollout.tokenize import tokenize
from rollout.guessing import NUMBER, Guesser, request, supervise, tasks

CREDIT = FeedbackCredit(Gae(1.0, 1.0), single=0.1, imitation=0.1, floor=-50.0)


class Believer(Guesser):
    """Guesses evenly, and after a critique writes what it names; its own critiques are two letters."""

    end_ids = (0,)

    def options(self, ids):
        text = self.decode_text(ids)
        if text.endswith("Critique: "):
            return "ab"
        named = text.rsplit("it is ", 1)[1][0] if "it is " in text else ""
        return named or "123456789"[: self.choices]

    def sampled_states(self, batch):
        rows, places = batch.sampled_mask.nonzero(as_tuple=True)
        return torch.tensor([[float(n), float(p)] for n, p in zip(rows, places, strict=True)])

    def logits(self, states):
        return torch.log_softmax(torch.arange(len(NUMBER)).float() * 0.1, -1).expand(len(states), -1)


def play(part, policy=None, prompts=6, rule=None):
    live = part.build(ProtocolContext(Guess(4).build(0), WorkerLimits()))
    return gather(
        policy or Believer(), tasks(prompts), supervise(rule), AcceptAll(), request(prompts=prompts), turns=live
    )  # fmt: skip


def told_of(gathered, part):
    batch = tokenize(gathered.groups)
    scale = part.reach((Scale("truth", 0.0, 1.0),))[0]
    return batch, place(gathered.rewards, batch, Evidence(), Placement(), scale)


def test_a_wrong_answer_is_criticized_and_each_turn_earns_its_own_verdict():
    part = Feedback(discount=0.1)
    gathered = play(part)
    batch, told = told_of(gathered, part)
    rows = [(g.task, t) for g in gathered.groups for t in g.trajectories]
    assert {len(t.turns) for _, t in rows} == {2, 4}
    for n, (task, trajectory) in enumerate(rows):
        first, *rest = trajectory.sampled_text.split("\n")
        paid = told.per_token[n, batch.sampled_mask[n], 0].tolist()
        if first == task.answer:
            assert rest == [] and paid == [1.0]
        else:
            assert trajectory.turns[2].message.content == f"Wrong: it is {task.answer}. Again: "
            assert rest == [task.answer] and paid == pytest.approx([0.0, 0.1])
    reports = {m.name: m.value for m in gathered.reports}
    assert reports["episode/first_turn"] == sum(len(t.turns) == 2 for _, t in rows) / len(rows)
    assert reports["episode/second_turn"] == 1.0


def test_added_rows_hold_the_same_tokens_under_the_first_context_and_their_own_log_probs():
    part = Feedback(single_turn_rows=True, critique_rows=True)
    policy = Believer()
    gathered = play(part, policy)
    batch, _ = told_of(gathered, part)
    rows = {t.trajectory_id: (g.task, t) for g in gathered.groups for t in g.trajectories}
    single = [name for name in rows if name.endswith("@single")]
    assert single and len(single) == len([name for name in rows if name.endswith("@critique")])
    assert len(single) == sum(len(t.turns) == 4 for _, t in rows.values())
    law = policy.logits(torch.zeros(1, 2))[0]
    for name in single:
        task, row = rows[name]
        _, whole = rows[name.partition("@")[0]]
        assert row.turns[0].token_ids == whole.turns[0].token_ids
        assert row.turns[1].token_ids == whole.turns[3].token_ids
        expected = [float(law[token]) for token in row.turns[1].token_ids]
        assert row.turns[1].behavior_logprobs == pytest.approx(expected, abs=1e-5)
        assert row.turns[1].behavior_logprobs != whole.turns[3].behavior_logprobs
        asked, critique = rows[name.replace("single", "critique")][1].turns
        text = policy.decode_text(asked.token_ids)
        assert text == task.prompt + whole.sampled_text.split("\n")[0] + "\nCritique: "
        spelled = f"it is {task.answer}"
        assert critique.token_ids == (*policy.encode_text(spelled), 0)
    for n, name in enumerate(batch.trajectory_ids):
        parent = int(batch.parent_index[n])
        assert (parent == -1) == ("@" not in name)
        assert parent == -1 or batch.trajectory_ids[parent] == name.partition("@")[0]
    assert sorted(rows) == sorted(gathered.asked)


def credit_of(part, rule=CREDIT, critic=None, **world):
    gathered = play(part, **world)
    batch, told = told_of(gathered, part)
    critic = (critic or TurnMean()).build(CriticContext(Believer(), 0, -1.0, 1.1))
    values = critic.predict(batch, told, Evidence())
    return batch, told, rule.estimate(batch, told, values, Evidence())


def test_the_baseline_of_the_second_answer_is_the_first_turns_mean():
    """By hand, from the words: A = 0.1 * (r1 - mean of the group's r0), on rows below the floor nothing."""
    part = Feedback(discount=0.1, single_turn_rows=True, critique_rows=True)
    batch, _, credit = credit_of(part)
    gathered = play(part)
    right = {
        g.key: [float(t.sampled_text.split("\n")[0] == g.task.answer) for t in g.trajectories]
        for g in gathered.groups if "@" not in g.key
    }  # fmt: skip
    for n, name in enumerate(batch.trajectory_ids):
        mean = sum(right[name.rsplit(".", 1)[0]]) / 3
        found = credit.advantage[n, batch.sampled_mask[n]]
        if name.endswith("@single"):
            torch.testing.assert_close(found, torch.full_like(found, 0.1 * (1.0 - mean)))
        elif name.endswith("@critique"):
            torch.testing.assert_close(found, torch.full_like(found, 0.1))
        else:
            group = right[name.rsplit(".", 1)[0]]
            own = group[int(name.rsplit(".", 1)[1])]
            returns = [r if r else 0.1 for r in group]
            expected = [(own if own else 0.1) - sum(returns) / 3] + ([] if own else [0.0])  # all second answers right
            torch.testing.assert_close(found, torch.tensor(expected))


def test_against_the_second_turns_mean_right_answers_teach_nothing():
    part = Feedback(single_turn_rows=True)
    for single, silent in (("first", False), ("second", True)):
        batch, _, credit = credit_of(part, critic=TurnMean(single))
        rows = [n for n, name in enumerate(batch.trajectory_ids) if name.endswith("@single")]
        assert bool((credit.advantage[rows].abs() < 1e-7).all()) == silent


def test_weights_of_zero_leave_two_turn_training_as_it_is():
    """Same credit, same tokens that count: nothing of the added rows is in the loss or in what it is divided by."""
    off = FeedbackCredit(Gae(1.0, 1.0))
    plain, _, expected = credit_of(Feedback(), off)
    batch, _, found = credit_of(Feedback(single_turn_rows=True, critique_rows=True), off)
    rows = [batch.trajectory_ids.index(name) for name in plain.trajectory_ids]
    width = plain.token_ids.shape[1]
    assert torch.equal(found.advantage[rows, :width], expected.advantage)
    assert torch.equal(found.mask[rows, :width], expected.mask) and int(found.mask.sum()) == int(expected.mask.sum())


def test_unlikely_tokens_are_left_out_of_added_rows_alone():
    part = Feedback(single_turn_rows=True)
    law = Believer().logits(torch.zeros(1, 2))[0]
    floor = float(law[NUMBER["3"]]) - 0.01  # below it: 1 and 2 under the first context
    batch, _, credit = credit_of(part, replace(CREDIT, floor=floor))
    for n, name in enumerate(batch.trajectory_ids):
        low = "@" in name and int(batch.token_ids[n, batch.sampled_mask[n]][0]) < NUMBER["3"]
        assert bool(credit.mask[n].any()) != low
    assert len({bool(mask.any()) for mask in credit.mask}) == 2


def pair_rows(actions):
    """For a group of (y0, y1): the rows of both turns, then the rows (x0, y1), as the batch holds them."""
    count = len(actions)
    batch = token_batch(["cscs"] * count + ["cs"] * count, [0] * count + [1] * count)
    turn = torch.where(batch.valid_mask, torch.arange(4).expand(2 * count, 4), -1)
    names = tuple(f"1.0.{i}" for i in range(count)) + tuple(f"1.0.{i}@single" for i in range(count))
    parents = torch.tensor([-1] * count + list(range(count)))
    return replace(batch, turn_index=turn, trajectory_ids=names, parent_index=parents)


def paid_rows(batch: TokenBatch, pays, gamma) -> RewardBatch:
    per_token = torch.zeros(*batch.token_ids.shape, 1)
    for i, (r0, r1) in enumerate(pays):
        per_token[i, 1, 0], per_token[i, 3, 0], per_token[len(pays) + i, 1, 0] = r0, gamma * r1, r1
    outcome = per_token.sum(1)
    known = torch.ones_like(outcome, dtype=torch.bool)
    return RewardBatch(("r",), outcome, known, known.float(), per_token, (0.0,), (1.1,))


def test_on_policy_second_answers_give_the_policy_gradient_by_enumeration():
    """y1 ~ pi(. | x0): the expected gradient of the added rows over all groups of two is that of E[r], exactly."""
    worth, size = [0.0, 0.3, 1.0], 2
    theta = torch.tensor([0.2, -0.1, 0.4], dtype=torch.float64)
    law = torch.softmax(theta, -1)
    score = torch.eye(3, dtype=torch.float64) - law
    critic = TurnMean().build(CriticContext(Believer(), 0, 0.0, 1.1))
    total = torch.zeros(3, dtype=torch.float64)
    for first in itertools.product(range(3), repeat=size):
        for second in itertools.product(range(3), repeat=size):
            batch = pair_rows(first)
            told = paid_rows(batch, [(worth[a], worth[b]) for a, b in zip(first, second, strict=True)], 0.1)
            credit = replace(CREDIT, single=1.0).estimate(
                batch, told, critic.predict(batch, told, Evidence()), Evidence()
            )
            chance = law[list(first)].prod() * law[list(second)].prod()
            for i, b in enumerate(second):
                total += chance * float(credit.advantage[size + i, 1]) * score[b] / size
    gradient = (law * torch.tensor(worth, dtype=torch.float64)) @ score
    torch.testing.assert_close(total, gradient, atol=1e-7, rtol=0)


def test_turn_means_are_the_group_mean_with_one_turn_and_causal_with_two():
    batch = token_batch(["cs", "css", "cs"], [0, 0, 0])
    batch = replace(batch, trajectory_ids=("1.0.0", "1.0.1", "1.0.2"))
    told = RewardBatch(
        ("r",), torch.tensor([[1.0], [0.5], [float("nan")]]), torch.tensor([[True], [True], [False]]),
        torch.ones(3, 1), torch.tensor([[[0.0], [1.0], [0.0]], [[0.0], [0.0], [0.5]], [[0.0]] * 3]), (0.0,), (1.0,),
    )  # fmt: skip
    found = TurnMean().build(CriticContext(Believer(), 0, 0.0, 1.0)).predict(batch, told, Evidence()).mean
    mean = group_mean(told.paid.sum(-1), told.all_known, batch.group_index)
    assert torch.equal(found[batch.sampled_mask][:3], mean[[0, 1, 1]])
    pair = pair_rows([(0,), (1,)])
    earned = paid_rows(pair, [(0.2, 0.0), (0.6, 1.0)], 0.5)
    values = TurnMean().build(CriticContext(Believer(), 0, 0.0, 1.1)).predict(pair, earned, Evidence()).mean
    torch.testing.assert_close(values[0, [1, 3]], torch.tensor([(0.2 + 0.6 + 0.5) / 2, 0.25]))
    torch.testing.assert_close(values[2, 1], torch.tensor(0.4))


def test_a_judge_is_asked_once_and_a_step_done_again_reads_the_journal():
    class Pages:
        def __init__(self):
            self.answers = []

        def recall(self, step):
            return tuple(self.answers)

        def record(self, step, answers):
            self.answers += answers

        def forget_failures(self, step):
            return None

    journal = Pages()
    part = Feedback(critic=JudgeCritique(ScriptedJudge(trouble=0.0)))
    context = ProtocolContext(Guess(4).build(0), WorkerLimits())
    asked = (tasks(3), replace(supervise(), journal=journal), AcceptAll(), request(prompts=3))
    first = gather(Believer(), *asked, turns=part.build(context))
    texts = {t.turns[2].message.content for g in first.groups for t in g.trajectories if len(t.turns) > 2}
    assert texts and all(text.startswith("Wrong: By the book.") for text in texts)
    silent = Feedback(critic=JudgeCritique(ScriptedJudge(trouble=1.0))).build(context)
    silent.writer.panel.client.identity = "scripted judge ((1.0, 0.0), (0.0, 1.0)) seed 0"
    again = gather(Believer(), tasks(3), asked[1], AcceptAll(), asked[3], turns=silent)
    assert again == first


def test_the_policy_may_be_its_own_critic_and_a_teller_errs_as_often_as_it_says():
    own = play(Feedback(critic=PolicyCritique(tokens=1)))
    shown = {t.turns[2].message.content for g in own.groups for t in g.trajectories if len(t.turns) > 2}
    assert shown == {"Wrong: a. Again: ", "Wrong: b. Again: "}
    half = play(Feedback(critic=ToldAnswer(accuracy=0.5)), prompts=40)
    second = [
        t.sampled_text.split("\n")[1] == g.task.answer for g in half.groups for t in g.trajectories if len(t.turns) > 2
    ]
    assert abs(sum(second) / len(second) - 0.5) < 4 * (0.25 / len(second)) ** 0.5
    nothing = play(Feedback(critic=PolicyCritique(tokens=1)), rule=lambda task, text: Scored(1.0))
    assert {t.stop for g in nothing.groups for t in g.trajectories} == {StopReason.END_OF_TEXT}


def test_wrong_use_is_refused():
    for wrong in ({"message": "no place"}, {"discount": 1.5}):
        with pytest.raises(ValueError, match="protocol"):
            Feedback(**wrong)
    with pytest.raises(ValueError, match="answer"):
        ToldAnswer(text="hm")
    with pytest.raises(ValueError, match="floor"):
        FeedbackCredit(Gae(), floor=0.5)
    assert Feedback(critique_rows=True).reach((Scale("r", 0.0, 1.0),)) == (Scale("r", -1.0, 1.1),)
