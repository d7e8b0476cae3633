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
from critica.policies.pages import Pages
from critica.policies.sampling import draw, draw_truncated, end_table
from critica.policies.shown import Shown, shown
from critica.policies.step import DecodeWeights, Decoding
from critica.policies.stops import Stops, stops_of
from critica.records.words import StopReason

CACHE_BYTES = 2 << 30  # rows decode together while their cache fits here


class Decoder:
    """Samples continuations for one `Stack`. Nothing outlives a call: weights are read anew each time.

    The rows of a request share their prompt's keys and values. A row's tokens depend on its own prompt and its own
    uniforms, never (beyond rounding) on which rows decode beside it. `packed` and `native` allow this processor's fast
    paths (see `numerics` and `kernels`); they change no result beyond rounding. `stops` looks for the stop strings
    that the limits of a call may name.
    """

    def __init__(
        self,
        stack: Stack,
        end_ids: tuple[int, ...],
        packed: bool,
        cache_bytes: int = CACHE_BYTES,
        native: bool = True,
        stops: Stops | None = None,
    ) -> None:
        self._stack, self._stops = stack, stops
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
        stops = stops_of(limits, self._stops)
        made: list[list[Sample]] = [[] for _ in requests]
        first = 0
        for members in self._chunks(requests, limits):
            hand = None if control is None else shown(control, first)
            hear = None if ended is None else partial(_tell, ended, first)
            written = self._decode(weights, requests, members, limits, seed, stops, hand, hear)
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
        stops: Stops | None,
        hand: Shown | None,
        hear: Callable[[Pages, Sequence[int]], None] | None,
    ) -> list[Sample]:
        """Write one chunk of rows to its end.

        A slot of the running batch belongs to the row `live[slot]` and still writes while `writing[slot]`; slots that
        stand in for nobody belong to the row after the last.
        """
        rows, steps = len(members), limits.max_new_tokens
        points = _points(requests, members, limits, seed).to(self._stack.device)
        pages = Pages(rows, steps, weights.result_dtype, self._stack.device)
        ends = end_table(self._end_ids, weights.vocabulary, self._stack.device)
        decoding, hidden, live = _start(weights, requests, members, steps)
        writing = live < rows
        for t in range(steps):
            logits = weights.logits(hidden)
            if t < limits.min_new_tokens:
                logits.masked_fill_(ends, -torch.inf)
            if hand is not None:
                logits = hand.ask(hidden, logits, live, writing)
            at = points[t].index_select(0, live)
            if limits.truncates:
                chosen, logprobs, counts, left = draw_truncated(logits, at, limits.temperature, limits.truncation)
                pages.keep(live, counts, left)
            else:
                chosen, logprobs = draw(logits, at, limits.temperature)
            stopped = None if hand is None else hand.tell(hidden, logits, chosen, live, writing)
            pages.write(t, live, chosen, logprobs)
            done = ends[chosen]
            said = None if stops is None else stops.said(chosen, writing & ~done, partial(pages.last, live, t))
            if stopped is not None:
                pages.finish(live[stopped & ~done & writing], t + 1, StopReason.EARLY_STOPPED)
            if bool(done.any()) or stopped is not None or said is not None:
                pages.finish(live[done & writing], t + 1, StopReason.END_OF_TEXT)
                if said is not None:
                    pages.finish(live[said], t + 1, StopReason.STOP_STRING)
                    done = done | said
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


def _tell(ended: Ended, first: int, pages: Pages, rows: Sequence[int]) -> None:
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
