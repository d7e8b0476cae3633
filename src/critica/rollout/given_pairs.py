"""Recorded preferences: each prompt has two answers in the data, of which one was preferred."""

from collections.abc import Sequence
from dataclasses import dataclass

from critica.records.supervision import Scale
from critica.rollout.given import Given, GivenAnswers
from critica.rollout.protocol import ProtocolContext, ProtocolPart, Turns


@dataclass(frozen=True, slots=True)
class GivenPairs(ProtocolPart):
    """Sample 0 of a prompt is its column `chosen`, told 1; sample 1 its column `rejected`, told 0: `given` for pairs.

    For objective=pair_loss and its kin (recipes dpo, dr_dpo) on a file of preferences in place of siblings that the
    policy writes: `--environment pairs.jsonl`, sampling.samples_per_prompt=2 (or any even number: more only repeat
    them), and reward=unasked where the file has no column of right answers, with held_out.prompts=0. Nothing is
    sampled: the policy reads the two answers, and what they were written by is not corrected for (set objective's
    anchor to the initial policy, which is DPO's own reading). Answers are texts.
    """

    chosen: str = "chosen"
    rejected: str = "rejected"
    cut: bool = False

    def __post_init__(self) -> None:
        if not self.chosen or not self.rejected or self.chosen == self.rejected:
            raise ValueError("protocol.chosen and protocol.rejected name two columns of the task file")

    def build(self, context: ProtocolContext) -> Turns:
        return GivenAnswers(self._given(), context.environment)

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """From 0 to 1, under the source's name."""
        return self._given().reach(scales)

    def _given(self) -> Given:
        return Given((self.chosen, self.rejected), (1.0, 0.0), cut=self.cut)
