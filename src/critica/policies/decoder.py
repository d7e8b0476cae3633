"""The batched decoder over the policy's own weights: prompts prefilled once, a static cache, finished rows dropped."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.functional import random
from critica.policies.base import DecodeHand, Ended, ReadsPrompts, Sample, SampleLimits, SampleRequest
from critica.policies.cache import arrange
from critica.policies.families import Stack
from critica.policies.native_step import NativeDecoding, flat_grid
from critica.policies.sampling import draw, end_table
from critica.policies.shown import Shown, shown
from critica.policies.step import DecodeWeights, Decoding
from critica.records.words import StopReason

CACHE_BYTES = 2 << 30  # rows decode together while their cache fits here


class _Pages:
    """What was written, by row number: tokens, log-probs, lengths and reasons. The last row takes what nobody keeps."""

    def __init__(self, rows: int, steps: int, dtype: torch.dtype, device: torch.device) -> None:
        self._tokens = torch.zeros(steps, rows + 1, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(steps, rows + 1, dtype=dtype, device=device)
        self._lengths = torch.full((rows + 1,), steps, dtype=torch.long, device=device)
        self._stops = [StopReason.TOKEN_LIMIT] * rows

    def write(self, step: int, rows: Tensor, tokens: Tensor, logprobs: Tensor) -> None:
        """One token for each of these rows; what a finished row writes lies beyond its length."""
        self._tokens[step].index_copy_(0, rows, tokens)
        self._logprobs[step].index_copy_(0, rows, logprobs)

    def finish(self, rows: Tensor, length: int, reason: StopReason) -> None:
        """These rows end with `length` tokens."""
        self._lengths[rows] = length
        for row in rows.tolist():
            self._stops[row] = reason

    def tokens(self, row: int) -> tuple[int, ...]:
        """What a finished row wrote."""
        return tuple(self._tokens[: int(self._lengths[row]), row].tolist())

    def cut(self) -> list[int]:
        """The rows that the limit cut."""
        return [row for row, stop in enumerate(self._stops) if stop is StopReason.TOKEN_LIMIT]

    def samples(self) -> list[Sample]:
        """Every row as a record."""
        tokens, logprobs = self._tokens.t().tolist(), self._logprobs.t().double().tolist()
        lengths = self._lengths.tolist()
        return [
            Sample(tuple(tokens[row][: lengths[row]]), tuple(logprobs[row][: lengths[row]]), stop)
            for row, stop in enumerate(self._stops)
        ]


class Decoder:
    """Samples continuations for one `Stack`. Nothing outlives a call: weights are read anew each time.

    The rows of a request share their prompt's keys and values. A row's tokens depend on its own prompt and its own
    uniforms, never (beyond rounding) on which rows decode beside it. `packed` and `native` allow this processor's fast
    paths (see `numerics` and `kernels`); they change no result beyond rounding.
    """

    def __init__(
        self,
        stack: Stack,
        end_ids: tuple[int, ...],
        packed: bool,
        cache_bytes: int = CACHE_BYTES,
        native: bool = True,
    ) -> None:
        self._stack = stack
        self._end_ids = end_ids
        self._packed = packed
        self._cache_bytes = cache_bytes
        self._native = native

    @torch.inference_mode()
    def sample(
        self,
        requests: Sequence[SampleRequest],
        limits: SampleLimits,
        seed: int,
        control: DecodeHand | None = None,
        ended: Ended | None = None,
    ) -> list[list[Sample]]:
        """Continue every request; the token of stream s at step t is drawn with uniform t of (seed, "decode", *s).

        `ended` is told of each row, by its number in the order of the streams, when all its tokens are written; not of
        a row that the control stopped.
        """
        if limits.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {limits.max_new_tokens}; a sample has at least one token: ask for 1")
        if isinstance(control, ReadsPrompts):
            control.on_prompts(requests, limits, self._end_ids)
        weights = DecodeWeights(self._stack, self._packed, self._native)
        made: list[list[Sample]] = [[] for _ in requests]
        first = 0
        for members in self._chunks(requests, limits):
            hand = None if control is None else shown(control, first)
            hear = None if ended is None else partial(_tell, ended, first)
            written = self._decode(weights, requests, members, limits, seed, hand, hear)
            first += len(members)
            for (request, _), sample in zip(members, written, strict=True):
                made[request].append(sample)
        return made

    def _chunks(self, requests: Sequence[SampleRequest], limits: SampleLimits) -> list[list[tuple[int, int]]]:
        """Rows as (request, sample), in order, cut so that one chunk's cache stays within the bound."""
        stack = self._stack
        token_bytes = 2 * len(stack.layers) * stack.key_heads * stack.head_width * stack.dtype.itemsize
        chunks: list[list[tuple[int, int]]] = [[]]
        held = 0
        for i, request in enumerate(requests):
            for j in range(len(request.streams)):
                need = token_bytes * (limits.max_new_tokens + (len(request.prompt_ids) if j == 0 else 0))
                if held + need > self._cache_bytes and chunks[-1]:
                    chunks.append([])
                    held = token_bytes * len(request.prompt_ids) if j else 0
                chunks[-1].append((i, j))
                held += need
        return [chunk for chunk in chunks if chunk]

    def _decode(
        self,
        weights: DecodeWeights,
        requests: Sequence[SampleRequest],
        members: list[tuple[int, int]],
        limits: SampleLimits,
        seed: int,
        hand: Shown | None,
        hear: Callable[[_Pages, Sequence[int]], None] | None,
    ) -> list[Sample]:
        """Write one chunk of rows to its end.

        A slot of the running batch belongs to the row `live[slot]` and still writes while `writing[slot]`; slots that
        stand in for nobody belong to the row after the last.
        """
        rows, steps = len(members), limits.max_new_tokens
        points = _points(requests, members, limits, seed).to(self._stack.device)
        pages = _Pages(rows, steps, weights.result_dtype, self._stack.device)
        ends = end_table(self._end_ids, weights.vocabulary, self._stack.device)
        decoding, hidden, live = _start(weights, requests, members, steps)
        writing = live < rows
        for t in range(steps):
            logits = weights.logits(hidden)
            if t < limits.min_new_tokens:
                logits.masked_fill_(ends, -torch.inf)
            if hand is not None:
                logits = hand.ask(hidden, logits, live, writing)
            chosen, logprobs = draw(logits, points[t].index_select(0, live), limits.temperature)
            stopped = None if hand is None else hand.tell(hidden, logits, chosen, live, writing)
            pages.write(t, live, chosen, logprobs)
            done = ends[chosen]
            if stopped is not None:
                pages.finish(live[stopped & ~done & writing], t + 1, StopReason.EARLY_STOPPED)
            if bool(done.any()) or stopped is not None:
                pages.finish(live[done & writing], t + 1, StopReason.END_OF_TEXT)
                if hear is not None:
                    hear(pages, live[done & writing].tolist())
                writing = writing & ~done if stopped is None else writing & ~done & ~stopped
                left = int(writing.sum())
                if left == 0:
                    break
                if left <= decoding.live_share * len(live):
                    kept = writing.nonzero().squeeze(-1)
                    grid = decoding.keep(kept.cpu().numpy(), t)
                    places = torch.from_numpy(grid.filled).to(live.device)
                    writing = torch.from_numpy(grid.rows >= 0).to(live.device)
                    chosen = chosen[kept][places]
                    live = torch.where(writing, live[kept][places], rows)
            if t + 1 < steps:
                hidden = decoding.step(chosen, t)
        if hear is not None:
            hear(pages, pages.cut())
        return pages.samples()


def _tell(ended: Ended, first: int, pages: _Pages, rows: Sequence[int]) -> None:
    for row in rows:
        ended(first + row, pages.tokens(row))


def _points(
    requests: Sequence[SampleRequest], members: list[tuple[int, int]], limits: SampleLimits, seed: int
) -> Float[Tensor, "steps rows_and_one"]:
    """Every row's own uniforms, in fp64; greedy decoding draws none."""
    made = np.zeros((limits.max_new_tokens, len(members) + 1))
    if limits.temperature != 0:
        for row, (i, j) in enumerate(members):
            stream = requests[i].streams[j]
            made[:, row] = random.uniforms(seed, "decode", *stream, count=limits.max_new_tokens)
    return torch.from_numpy(made)


def _start(
    weights: DecodeWeights, requests: Sequence[SampleRequest], members: list[tuple[int, int]], steps: int
) -> tuple[Decoding | NativeDecoding, Float[Tensor, "slots D"], Int[Tensor, "slots"]]:
    """Prefill the prompts of these rows; the state after each slot's prompt, and the row of each slot."""
    used = sorted({i for i, _ in members})
    owners = np.searchsorted(used, [i for i, _ in members])
    asked = [requests[i].prompt_ids for i in used]
    if weights.native is not None:
        decoding, hidden = NativeDecoding.prefill(weights, asked, flat_grid(owners), steps)
        return decoding, hidden, torch.arange(len(members))
    grid = arrange(owners, np.arange(len(members)))
    slow, hidden = Decoding.prefill(weights, asked, grid, steps)
    rows = np.where(grid.rows < 0, len(members), grid.rows)
    return slow, hidden, torch.from_numpy(rows).to(weights.stack.device)
