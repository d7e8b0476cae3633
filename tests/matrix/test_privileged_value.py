"""The privileged critic converges to the value of the prefix *and the answer*; without the answer nobody could."""

import torch

from arrays import told_batch
from critica.benches.small_policy import make_small_policy
from critica.critics.base import CriticContext
from critica.critics.privileged import Privileged
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import MonteCarlo
from critica.environments.digit_sum import DigitSum, DigitSumGame
from critica.policies.language_model import LanguagePolicy
from critica.records.evidence import Evidence, Groups
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.tokenize import tokenize
from exact_tables import uniform

GAMES = {answer: DigitSumGame(0, 2, int(answer), 3) for answer in ("1", "4")}


def every_answer(policy):
    """Both games behind one prompt, every sequence of each once: the uniform policy's exact law."""
    groups, outcomes, truth = [], [], []
    for answer, game in GAMES.items():
        task = Task(f"sum {answer}", "test", (Message("user", "2 digits: "),), answer)
        rows = []
        for sequence in game.ends():
            ids = policy.encode((Message("assistant", "".join(map(str, sequence))),))
            turns = (
                ContextTurn(task.messages[0], policy.encode(task.messages)),
                SampledTurn(Message("assistant", "x"), ids, (-0.5,) * len(ids), 1.0, 0),
            )
            name = f"{answer}.{len(rows)}"
            rows.append(Trajectory(name, name, task.task_id, answer, "policy", turns, StopReason.TOKEN_LIMIT))
            outcomes.append(game.outcome(sequence))
            truth.append(game.solve(uniform).values_along(sequence))
        groups.append(Group(answer, task, tuple(rows)))
    return tuple(groups), outcomes, torch.tensor(truth, dtype=torch.float32)


def error_after(part, policy, steps=150):
    """The largest error of the value before any token, after the critic was taught every outcome."""
    groups, outcomes, truth = every_answer(policy)
    batch, evidence = tokenize(groups), Evidence(Groups(groups))
    told = told_batch(batch, outcomes)
    critic = part.build(CriticContext(policy, 3, 0.0, 1.0))
    adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=3e-3)
    fading = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
    for _ in range(steps):
        values = critic.predict(batch, told, evidence)
        targets = MonteCarlo().build(batch, told, values)
        terms = critic.loss(critic.states(batch), batch, targets, values)
        loss = sum(term.weight * term.values[term.mask].mean() for term in terms)
        adam.zero_grad()
        loss.backward()
        adam.step()
        fading.step()
    values = critic.predict(batch, told, evidence)
    return float((values.mean[batch.sampled_mask].view_as(truth) - truth).abs().max())


def test_it_knows_what_the_answer_decides(tmp_path):
    folder = make_small_policy(tmp_path, DigitSum(2, 2, 1, 3).build(0), steps=2)
    policy = LanguagePolicy.load(str(folder), device="cpu")
    assert error_after(Privileged(ScalarCritic()), policy) < 0.05
    assert error_after(ScalarCritic(), policy) > 0.1  # after a first 2 the two games differ by a third
