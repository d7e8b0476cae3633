"""What a running batch wrote, by row number."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.policies.base import Sample
from critica.records.kept_tokens import NOTHING_CUT, KeptTokens
from critica.records.words import StopReason


class Pages:
    """Tokens, log-probs, lengths and reasons of each row. The row after the last takes what nobody keeps."""

    def __init__(self, rows: int, steps: int, dtype: torch.dtype, device: torch.device) -> None:
        self._tokens = torch.zeros(steps, rows + 1, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(steps, rows + 1, dtype=dtype, device=device)
        self._lengths = torch.full((rows + 1,), steps, dtype=torch.long, device=device)
        self._stops = [StopReason.TOKEN_LIMIT] * rows
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def write(self, step: int, rows: Int[Tensor, "n"], tokens: Int[Tensor, "n"], logprobs: Float[Tensor, "n"]) -> None:
        """One token for each of these rows; what a finished row writes lies beyond its length."""
        self._tokens[step].index_copy_(0, rows, tokens)
        self._logprobs[step].index_copy_(0, rows, logprobs.to(self._logprobs.dtype))

    def keep(self, rows: Int[Tensor, "n"], counts: Int[Tensor, "n"], ids: Int[Tensor, "E"]) -> None:
        """Among which tokens each of these rows drew this step's."""
        self._kept.append((rows.cpu().numpy(), counts.cpu().numpy(), ids.cpu().numpy().astype(np.int32)))

    def finish(self, rows: Int[Tensor, "n"], length: int, reason: StopReason) -> None:
        """These rows end with `length` tokens."""
        self._lengths[rows] = length
        for row in rows.tolist():
            self._stops[row] = reason

    def tokens(self, row: int) -> tuple[int, ...]:
        """What a finished row wrote."""
        return tuple(self._tokens[: int(self._lengths[row]), row].tolist())

    def last(self, live: Int[Tensor, "n"], step: int, slots: Int[Tensor, "k"], count: int) -> list[list[int]]:
        """The last tokens, `count` at most, of the rows in these slots, that of this step included."""
        return self._tokens[max(0, step + 1 - count) : step + 1, live[slots]].t().tolist()

    def cut(self) -> list[int]:
        """The rows that the limit cut."""
        return [row for row, stop in enumerate(self._stops) if stop is StopReason.TOKEN_LIMIT]

    def samples(self) -> list[Sample]:
        """Every row as a record."""
        tokens, logprobs = self._tokens.t().tolist(), self._logprobs.t().double().tolist()
        lengths = self._lengths.tolist()
        kept = self._kept_tokens(lengths)
        return [
            Sample(tuple(tokens[row][: lengths[row]]), tuple(logprobs[row][: lengths[row]]), stop, kept[row])
            for row, stop in enumerate(self._stops)
        ]

    def _kept_tokens(self, lengths: list[int]) -> list[KeptTokens]:
        """Each row's sets, in the order of its tokens; what lies beyond its length is left out."""
        rows = len(self._stops)
        if not self._kept:
            return [NOTHING_CUT] * rows
        row, counts, ids = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        owner = np.repeat(row, counts)
        order, places = np.argsort(row, kind="stable"), np.argsort(owner, kind="stable")
        begins = np.searchsorted(row[order], np.arange(rows + 1))
        firsts = np.searchsorted(owner[places], np.arange(rows + 1))
        return [
            KeptTokens.of(counts[order[a:b]], ids[places[c:d]]).first(length)
            for a, b, c, d, length in zip(begins, begins[1:], firsts, firsts[1:], lengths, strict=False)
        ]
