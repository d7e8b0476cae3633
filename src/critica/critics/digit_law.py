"""Reading a stated value as the mean of its digits' law: what the writer would have stated on average, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.critics.statements import MARK
from critica.policies.base import TextCodec, WritingPolicy
from critica.policies.batching import microbatches
from critica.policies.body_mode import device_of
from critica.records.arrays import TokenBatch
from critica.records.devices import moved
from critica.records.words import StopReason

DIGITS = "0123456789"
TOKENS = 16384  # grid cells of one forward pass over statements


@dataclass(frozen=True, slots=True)
class DigitTokens:
    """The tokens that spell a value in the middle of a statement: `0` or `1`, the point, the decimal."""

    zero: int
    one: int
    point: int
    decimals: tuple[int, ...]

    @classmethod
    def of(cls, policy: TextCodec) -> "DigitTokens":
        """As this policy's tokenizer writes them. Raises ValueError if a value is not three tokens of its own."""
        spelled = [tuple(policy.encode_text(f"{MARK} 0.{digit}")) for digit in DIGITS]
        whole = tuple(policy.encode_text(f"{MARK} 1.0"))
        heads = {ids[:-3] for ids in (*spelled, whole)}
        points = {ids[-2] for ids in (*spelled, whole)}
        zeros, decimals = {ids[-3] for ids in spelled}, tuple(ids[-1] for ids in spelled)
        alike = len(heads) == len(points) == len(zeros) == 1 and len(set(decimals)) == len(DIGITS)
        if not (alike and whole[-3] not in zeros and whole[-1] == decimals[0]):
            raise ValueError(
                "this tokenizer does not write a value such as 0.7 as three tokens of its own, so its digits have no"
                " probabilities to average: set reading=sampled"
            )
        return cls(zeros.pop(), whole[-3], points.pop(), decimals)

    def spells(self, ids: Sequence[int]) -> bool:
        """Whether these three tokens are a value from 0.0 to 1.0."""
        first, point, decimal = ids
        fraction = first == self.zero and decimal in self.decimals
        return point == self.point and (fraction or (first == self.one and decimal == self.decimals[0]))

    def mean(self, logits: Float[Tensor, "3 V"]) -> float:
        """E[value] under the law of the digits: P(1) + P(0) sum_d P(d | 0.) d / 10, renormalized over legal tokens.

        `logits` are those before each of the three tokens of a value that begins with `0.`.
        """
        first = logits[0, [self.zero, self.one]].double().softmax(-1)
        decimal = logits[2, list(self.decimals)].double().softmax(-1)
        tenths = sum(d * float(p) for d, p in enumerate(decimal)) / 10
        return float(first[1]) + float(first[0]) * tenths


@torch.no_grad()
def digit_means(policy: WritingPolicy, digits: DigitTokens, contexts: Sequence[tuple[int, ...]]) -> list[float]:
    """`DigitTokens.mean` after each context: a statement up to where its value begins."""
    if not contexts:
        return []
    batch = moved(forced(contexts, (digits.zero, digits.point, digits.decimals[0])), device_of(policy.model))
    means = [0.0] * batch.rows
    for rows in microbatches(batch, torch.arange(batch.rows, device=batch.device), TOKENS):
        logits = policy.logits(policy.sampled_states(batch.select(rows)))
        for row, part in zip(rows.tolist(), logits.view(len(rows), 3, -1), strict=True):
            means[row] = digits.mean(part)
    return means


def forced(contexts: Sequence[tuple[int, ...]], ending: tuple[int, ...]) -> TokenBatch:
    """A batch in which the same tokens are taken to be written after each context."""
    rows, width = len(contexts), max(map(len, contexts)) + len(ending)
    ids = torch.zeros(rows, width, dtype=torch.long)
    valid, sampled = torch.zeros(rows, width, dtype=torch.bool), torch.zeros(rows, width, dtype=torch.bool)
    for row, context in enumerate(contexts):
        end = len(context) + len(ending)
        ids[row, :end] = torch.tensor((*context, *ending))
        valid[row, :end], sampled[row, len(context) : end] = True, True
    line, flat = torch.arange(rows), torch.zeros(rows, width)
    return TokenBatch(
        ids, valid, sampled, torch.where(valid, sampled.long(), -1), torch.where(sampled, sampled.cumsum(-1) - 1, -1),
        flat + 1, flat, torch.tensor([len(context) for context in contexts]), line, line, line * 0, line * 0 - 1, line,
        line * 0, (StopReason.TOKEN_LIMIT,) * rows, tuple(map(str, range(rows))),
    )  # fmt: skip
