"""Cross-model entropy (CME): how likely a different, frozen language model finds an answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.environments.base import Environment
from critica.functional.logprobs import token_logprobs
from critica.functional.repetition import repeated_share
from critica.policies.language_model import LanguagePolicy
from critica.records.supervision import Abstained, Failed, Outcome, Scale, Scored, TextSpan, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest, VerdictSource
from critica.rewards.reward_model_text import Reading, buckets, padded, read_text
from critica.rewards.workers import WorkerLimits

NAME = "cross_entropy"
LOGIT_CELLS = 1 << 22  # entries of logits in memory at a time: 16 MiB in fp32


@dataclass(frozen=True)
class CrossEntropy(RewardConfig):
    """r = mean_t log p_V(y_t | prompt, y_<t) over the answer's tokens under V, the model in folder `path`, in nats.

    V reads the answer's text in its own tokens, after the prompt in its own chat template if it has one; the prompt and
    the end of the turn are not scored. An answer is worth at least `low` (its mean log-prob is floored there, where
    unlikely text is all alike: the floor is declared and counted, part `cross_entropy/floored`). `dense`: each token of
    V is worth its log-prob / T, on its characters; the shares then sum to the reward where no floor applies.
    `most_repeated`: a likelihood rewards loops, so an answer of whose n-grams (n = `gram`, in V's tokens) a larger
    share than this was said before gets `low`, without shares; 1 switches the guard off.

    Source: CME (arXiv 2605.29009, abstract): the mean log-prob, label-free, GRPO unchanged. Ours: the floor, the guard
    and the dense form. Use it where fluent, expected answers are better ones and nothing can be verified; not where
    answers can be short (a bare "Yes" is likely), nor as the only reward for long: watch length and repetition. An
    answer without text is not judged, and one too long for V has failed. Cost: one forward pass of V.
    """

    path: str
    low: float = -10.0
    dense: bool = False
    most_repeated: float = 0.5
    gram: int = 4
    device: str = "cpu"
    tokens_per_batch: int = 8192

    def __post_init__(self) -> None:
        if not -math.inf < self.low < 0:
            raise ValueError(f"CrossEntropy.low is {self.low}: the floor of a log-prob is finite and below 0")
        if not 0 <= self.most_repeated <= 1 or self.gram < 1 or self.tokens_per_batch < 1:
            raise ValueError("CrossEntropy: most_repeated is a share, gram and tokens_per_batch are at least 1")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "CrossEntropySource":  # noqa: B008
        """The live source. Raises `PolicyLoadError` for a folder that holds no causal language model."""
        policy = LanguagePolicy.load(self.path, None, self.device)
        policy.model.requires_grad_(False)
        return CrossEntropySource(self, policy)


class CrossEntropySource(VerdictSource):
    """A frozen language model in this process. `Verdict.cost` counts the tokens that it read."""

    name = NAME
    needs = frozenset({"prompt"})

    def __init__(self, config: CrossEntropy, policy: LanguagePolicy) -> None:
        self._config, self._policy = config, policy
        self.scales = (Scale(NAME, config.low, 0.0),)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        readings = [read_text(self._policy.tokenizer, item.task.messages, item.text) for item in items]
        verdicts = [self._unread(reading, item) for reading, item in zip(readings, items, strict=True)]
        fits = [i for i, verdict in enumerate(verdicts) if verdict is None]
        for batch in buckets([readings[i].stop for i in fits], self._config.tokens_per_batch):
            rows = [fits[place] for place in batch]
            for i, found in zip(rows, self._logprobs([readings[i] for i in rows]), strict=True):
                verdicts[i] = self._verdict(found.tolist(), readings[i])
        return [verdict for verdict in verdicts if verdict is not None]

    def _unread(self, reading: Reading, item: ScoreRequest) -> Verdict | None:
        if reading.stop > self._policy.context_length:
            return _only(Failed(
                f"reward {NAME!r} reads at most {self._policy.context_length} tokens, and prompt and answer of"
                f" trajectory {item.trajectory_id!r} have {reading.stop}: shorten the answers, or take another model"
            ))  # fmt: skip
        return None if reading.ends else _only(Abstained("there is no text to judge"))

    @torch.inference_mode()
    def _logprobs(self, readings: Sequence[Reading]) -> list[Float[Tensor, "T"]]:
        """log p of each answer's tokens, from one pass; logits exist for a slice of them at a time."""
        bare = [Reading(reading.token_ids[: reading.stop], reading.start, reading.ends) for reading in readings]
        ids, mask = padded(bare, int(self._policy.tokenizer.pad_token_id or 0))
        ids, mask = ids.to(self._policy.device), mask.to(self._policy.device)
        model = self._policy.model
        hidden = model.base_model(input_ids=ids, attention_mask=mask.long(), use_cache=False)  # type: ignore[operator]
        found = []
        for n, reading in enumerate(bare):
            states = hidden.last_hidden_state[n, reading.start - 1 : reading.stop - 1]
            tokens = ids[n, reading.start : reading.stop]
            size = max(1, LOGIT_CELLS // int(model.config.vocab_size))  # type: ignore[union-attr,arg-type]
            parts = [
                token_logprobs(self._policy.logits(some), own, torch.ones(len(own), device=some.device))
                for some, own in zip(states.split(size), tokens.split(size), strict=True)
            ]
            found.append(torch.cat(parts))
        return found

    def _verdict(self, logprobs: list[float], reading: Reading) -> Verdict:
        config, count = self._config, len(logprobs)
        mean = math.fsum(logprobs) / count
        if math.isnan(mean):
            return _only(Failed(f"reward {NAME!r} said nan: the model's weights are broken"))
        repeated = repeated_share(reading.token_ids[reading.start : reading.stop], config.gram)
        looped = repeated > config.most_repeated
        parts = {
            "cross_entropy/mean_logprob": mean, "cross_entropy/repeated": repeated,
            "cross_entropy/looped": float(looped), "cross_entropy/floored": float(mean < config.low),
        }  # fmt: skip
        if looped or mean < config.low:
            return Verdict((Scored(config.low),), parts, cost=float(reading.stop))
        spans = shares_on_text([one / count for one in logprobs], reading.ends) if config.dense else ()
        return Verdict((Scored(min(0.0, mean)),), parts, spans, float(reading.stop))


def shares_on_text(shares: Sequence[float], ends: Sequence[int]) -> tuple[TextSpan, ...]:
    """Each token's share on the characters that it finishes; one that finishes none is added to the next that does.

    Tokens at the end that finish none add to the last one that did, so that nothing is lost.
    """
    spans: list[TextSpan] = []
    waiting, start = 0.0, 0
    for share, end in zip(shares, ends, strict=True):
        waiting += share
        if end > start:
            spans.append(TextSpan(start, end, waiting))
            start, waiting = end, 0.0
    if waiting and spans:
        last = spans[-1]
        spans[-1] = TextSpan(last.start, last.end, last.value + waiting)
    return tuple(spans)


def _only(outcome: Outcome) -> Verdict:
    return Verdict((outcome,))
