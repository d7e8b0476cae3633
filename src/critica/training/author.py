"""Trains a critic that writes: its statements are a batch, what they earned is told, and the learner does the rest."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import LeaveOneOutCritic, NoBaselineCritic
from critica.critics.language import Authoring
from critica.curricula.base import Stage
from critica.objectives.penalties import Entropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.records.arrays import Metric, RewardBatch, TokenBatch
from critica.records.devices import moved
from critica.records.evidence import Evidence
from critica.records.losses import SequenceMeanOfTokenSums
from critica.rollout.place import Placement, place
from critica.rollout.tokenize import tokenize
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer

WRITES = Stage("author", policy=True, critic=False)
ENTROPY = 0.01  # bonus per nat while reinforcing: siblings that all say the same have nothing to learn from
IMITATIONS = 4  # passes over a step's examples; statements are reinforced once, while the policy is still their author
RENAMED = {
    "policy/grad_norm": "critic/grad_norm",
    "learning_rate/policy": "learning_rate/critic",
    "policy/entropy": "critic/statement_entropy",
    "loss/policy": "loss/statements",
}


class Author:
    """Drives a second learner, whose policy is the critic's writer, on the critic's script.

    With examples: -log pi of each example, which is REINFORCE with an advantage of 1, a few passes. With samples:
    REINFORCE with the mean of the siblings as baseline (RLOO, arXiv 2402.14740) and a small entropy bonus, one update
    on the policy that wrote.
    """

    def __init__(self, critic: Authoring, optimizer: Optimizer, tokens_per_microbatch: int, seed: int) -> None:
        self.critic = critic
        self.teacher, self.learner = (
            Learner(
                critic.writer, NoBaselineCritic(),
                PolicyLoss(PolicyGradient(), SequenceMeanOfTokenSums(), mismatch=(), penalties=penalties),
                (optimizer, None), Schedule(passes, 1, 1, tokens_per_microbatch), seed,
            )
            for passes, penalties in ((IMITATIONS, ()), (1, (Entropy(ENTROPY),)))
        )  # fmt: skip

    def update(self, batch: TokenBatch, told: RewardBatch, step: int) -> list[Metric]:
        """One update of the writer from what this step showed; nothing if no outcome is known."""
        script = self.critic.script(batch, told)
        if not script.groups:
            return []
        written = moved(tokenize(script.groups), batch.device)
        earned = place(script.rewards, written, Evidence(), Placement(), script)
        baseline = NoBaselineCritic() if script.imitates else LeaveOneOutCritic()
        values = baseline.predict(written, earned, Evidence())
        credit = Outcome().estimate(written, earned, values, Evidence())
        lesson = Lesson(written, earned, credit, None, values, Evidence())
        learner = self.teacher if script.imitates else self.learner
        reports = learner.update(lesson, WRITES, step)
        kept = [replace(metric, name=RENAMED[metric.name]) for metric in reports if metric.name in RENAMED]
        if not script.imitates:
            kept.append(Metric("critic/statement_reward", float(earned.total.sum()), float(written.rows)))
        return kept
