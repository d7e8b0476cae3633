"""What the policy's own greedy answer to the prompt is told: ReMax's baseline."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.counted import flat_prediction
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Continuations, Evidence


@dataclass(frozen=True, slots=True)
class GreedyAnswer(CriticPart):
    """V = the told outcome of the greedy answer to the prompt (ReMax, arXiv 2310.10505): unbiased.

    Written once a prompt and step, told by training's own source, noise included. Use it with one sample a prompt,
    where there are no siblings to compare with; not where the reward costs money or the greedy answer is much better
    than a sampled one, for then nearly all credit is blame. A prompt whose greedy answer could not be scored is not
    spoken about. Costs one more answer a prompt.
    """

    flat: ClassVar[bool] = True

    def build(self, context: CriticContext) -> ValueCritic:
        return GreedyAnswerCritic()


class GreedyAnswerCritic(ValueCritic):
    """Asks for one greedy answer a prompt; remembers nothing."""

    needs = frozenset({Continuations})

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        said = evidence[Continuations].live.outcomes([(row, 0) for row in range(batch.rows)], 1, greedy=True)
        value = torch.from_numpy(said[:, 0]).to(batch.behavior_logprobs)
        fine = ~value.isnan()
        return flat_prediction(batch, value.nan_to_num(), fine, fine.long(), own=False, siblings=False)
