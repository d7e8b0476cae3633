"""A transformers reward model as a source: one score of an answer, or shares of it for its sentences or tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from critica.environments.base import Environment
from critica.records.supervision import Abstained, Failed, Scale, Scored, TextSpan, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest, VerdictSource
from critica.rewards.reward_model_network import Judged, RewardNetwork, open_reward_network
from critica.rewards.reward_model_text import Reading, buckets, read_text
from critica.rewards.workers import WorkerLimits

Squash = Literal["sigmoid", "none"]
WHOLE = 1e-9  # a share smaller than this is no share


@dataclass(frozen=True)
class RewardModel(RewardConfig):
    """A local folder of a sequence or token classifier (`path`), read on prompt and answer; `label` is its output.

    The score is a logit without a scale, so its range is declared here. squash=sigmoid: the value is
    low + (high - low) sigmoid(score), and the score stands beside it as a part. squash=none: the value is the score,
    and one outside of [low, high] has failed; nothing is ever clipped. `level`: one value for the answer (sequence), or
    shares of it on the text: each token's head averaged (token), or the difference over each sentence (sentence, arXiv
    2503.04793), which also a plain decoder's classifier gives; auto is what the folder was fitted for. Under the
    sigmoid a share is what the value gains as the shares are added in the order of the text: the shares then sum to
    value - value(score 0), and the rest is the whole answer's.

    Use it where preference data exist and nothing can be verified. A policy finds what a reward model gets wrong: audit
    it (`critica reward audit`), keep the KL to the reference charged, and pair it with an outcome where there is one.
    Texts longer than the model's context have failed, and an answer without text is not judged by sentence or token.
    Deterministic for a given list of answers; an answer's score can differ in its last bits with its companions.
    Cost: one forward pass of the model; a step's memory is bounded by `tokens_per_batch` padded tokens at a time.
    """

    path: str
    level: Literal["auto", "sequence", "sentence", "token"] = "auto"
    squash: Squash = "sigmoid"
    low: float = 0.0
    high: float = 1.0
    label: int = 0
    device: str = "cpu"
    tokens_per_batch: int = 8192

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"RewardModel: low {self.low} is not below high {self.high}: declare the range it has")
        if self.tokens_per_batch < 1:
            raise ValueError(f"RewardModel.tokens_per_batch is {self.tokens_per_batch}: it must be at least 1")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "RewardModelSource":  # noqa: B008
        """The live source. Raises `RewardModelProblem` for a folder that is none."""
        return RewardModelSource.open(self)


class RewardModelSource(VerdictSource):
    """A reward model in this process. `Verdict.cost` counts the tokens that it read."""

    name = "reward_model"
    needs = frozenset({"prompt"})

    def __init__(self, config: RewardModel, network: RewardNetwork) -> None:
        self._config, self.network = config, network
        self.scales = (Scale(self.name, config.low, config.high),)

    @classmethod
    def open(cls, config: RewardModel) -> "RewardModelSource":
        """The live source of this config. Raises `RewardModelProblem`."""
        return cls(config, open_reward_network(config.path, config.level, config.label, config.device))

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        readings = [read_text(self.network.tokenizer, item.task.messages, item.text) for item in items]
        verdicts = [self._unread(reading, item) for reading, item in zip(readings, items, strict=True)]
        fits = [i for i, verdict in enumerate(verdicts) if verdict is None]
        for batch in buckets([len(readings[i].token_ids) for i in fits], self._config.tokens_per_batch):
            rows = [fits[place] for place in batch]
            with torch.inference_mode():
                judged = self.network.judge([readings[i] for i in rows], [items[i].text for i in rows])
            for i, result in zip(rows, judged, strict=True):
                verdicts[i] = self._verdict(result, readings[i])
        return [verdict for verdict in verdicts if verdict is not None]

    def _unread(self, reading: Reading, item: ScoreRequest) -> Verdict | None:
        size, limit = len(reading.token_ids), self.network.longest
        if size > limit:
            return Verdict((Failed(
                f"reward {self.name!r} reads at most {limit} tokens, and prompt and answer of trajectory"
                f" {item.trajectory_id!r} have {size}: shorten the answers, or take a model with a longer context"
            ),))  # fmt: skip
        if self.network.level != "sequence" and not item.text.strip():
            return Verdict((Abstained(f"there is no text to judge by {self.network.level}"),))
        return None

    def _verdict(self, judged: Judged, reading: Reading) -> Verdict:
        score, tokens = float(judged.score), float(len(reading.token_ids))
        if not math.isfinite(score):
            return Verdict((Failed(f"reward {self.name!r} said {score}: its weights or its input are broken"),))
        spans = self._spans(judged.shares.double().tolist(), judged.cuts)
        return Verdict((Scored(self._value(score)),), {"reward_model/score": score}, spans, tokens)

    def _value(self, score: float) -> float:
        config = self._config
        if config.squash == "none":
            return score
        share = 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
        return min(config.high, config.low + (config.high - config.low) * share)  # no further than rounding

    def _spans(self, shares: Sequence[float], cuts: Sequence[int]) -> tuple[TextSpan, ...]:
        """The shares as gains of the value, on the characters between cuts; tokens that finish none go on."""
        spans, told, start, before = [], 0.0, 0, self._value(0.0)
        for share, end in zip(shares, cuts, strict=True):
            told += share
            value = self._value(told)
            if end > start:
                if abs(value - before) > WHOLE:
                    spans.append(TextSpan(start, end, value - before))
                start, before = end, value
        return tuple(spans)
