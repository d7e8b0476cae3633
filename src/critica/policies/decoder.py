"""The batched decoder over the policy's own weights: prompts prefilled once, a static cache, finished rows dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional import random
from critica.policies.base import Sample, SampleLimits, SampleRequest
from critica.policies.cache import arrange
from critica.policies.families import Stack
from critica.policies.native_step import NativeDecoding, flat_grid
from critica.policies.sampling import draw, end_table
from critica.policies.step import DecodeWeights, Decoding
from critica.records.words import StopReason

CACHE_BYTES = 2 << 30  # rows decode together while their cache fits here


class DecodeControl(Protocol):
    """A hand on the decoder, called once a step.

    `rows` are the rows' numbers in the request order. Returned are the logits to sample from and who stops: a stopped
    row still writes this step's token and ends as `early_stopped`.
    """

    def on_logits(
        self, hidden: Float[Tensor, "n D"], logits: Float[Tensor, "n V"], rows: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, "n V"], Bool[Tensor, "n"]]: ...


@dataclass(slots=True)
class _Pages:
    """What was written: tokens, log-probs, lengths and reasons, by row number."""

    tokens: np.ndarray
    logprobs: np.ndarray
    lengths: np.ndarray
    stops: list[StopReason]


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
        control: DecodeControl | None = None,
    ) -> list[list[Sample]]:
        """Continue every request; the token of stream s at step t is drawn with uniform t of (seed, "decode", *s)."""
        if limits.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {limits.max_new_tokens}; a sample has at least one token: ask for 1")
        weights = DecodeWeights(self._stack, self._packed, self._native)
        made: list[list[Sample]] = [[] for _ in requests]
        for members in self._chunks(requests, limits):
            pages = self._decode(weights, requests, members, limits, seed, control)
            for row, (request, _) in enumerate(members):
                size = int(pages.lengths[row])
                tokens, logprobs = pages.tokens[row, :size].tolist(), pages.logprobs[row, :size].tolist()
                made[request].append(Sample(tuple(tokens), tuple(logprobs), pages.stops[row]))
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
        control: DecodeControl | None,
    ) -> _Pages:
        """Write one chunk of rows to its end."""
        rows, steps, device = len(members), limits.max_new_tokens, self._stack.device
        used = sorted({i for i, _ in members})
        uniforms = np.zeros((rows, steps))
        if limits.temperature != 0:
            for row, (i, j) in enumerate(members):
                uniforms[row] = random.uniforms(seed, "decode", *requests[i].streams[j], count=steps)
        points = torch.from_numpy(uniforms).to(device)
        tokens = torch.zeros(rows, steps, dtype=torch.long, device=device)
        logprobs = torch.zeros(rows, steps, dtype=weights.result_dtype, device=device)
        lengths = torch.full((rows,), steps, dtype=torch.long, device=device)
        early = torch.zeros(rows, dtype=torch.bool, device=device)
        ends = end_table(self._end_ids, weights.vocabulary, device)

        owners = np.searchsorted(used, [i for i, _ in members])
        asked = [requests[i].prompt_ids for i in used]
        decoding: Decoding | NativeDecoding
        if weights.native is not None:
            grid = flat_grid(owners)
            decoding, hidden = NativeDecoding.prefill(weights, asked, grid, steps)
        else:
            grid = arrange(owners, np.arange(rows))
            decoding, hidden = Decoding.prefill(weights, asked, grid, steps)
        live = torch.from_numpy(grid.rows).to(device)  # the row behind each slot; -1: nobody
        writing = live >= 0
        for t in range(steps):
            logits = weights.logits(hidden)
            if t < limits.min_new_tokens:
                logits.masked_fill_(ends, -torch.inf)
            stopped = None
            if control is not None:
                logits, stopped = _controlled(control, hidden, logits, live, writing)
            chosen, chosen_logprobs = draw(logits, points[live, t], limits.temperature)
            slots = writing.nonzero().squeeze(-1)
            at = live[slots]
            tokens[at, t] = chosen[slots]
            logprobs[at, t] = chosen_logprobs[slots]
            done = ends[chosen]
            if stopped is not None:
                early[live[writing & stopped & ~done]] = True
                done = done | stopped
            done = done & writing
            lengths[live[done]] = t + 1
            writing = writing & ~done
            left = int(writing.sum())
            if left == 0 or t + 1 == steps:
                break
            if left <= decoding.live_share * writing.shape[0]:
                kept = writing.nonzero().squeeze(-1)
                chosen, live = chosen[kept], live[kept]
                grid = decoding.keep(kept.cpu().numpy(), t)
                places = torch.from_numpy(grid.rows).to(device)
                writing = places >= 0
                chosen, live = chosen[places], live[places]
            hidden = decoding.step(chosen, t)
        ended = ends[tokens.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)]
        stops = [_reason(bool(end), bool(cut)) for end, cut in zip(ended.tolist(), early.tolist(), strict=True)]
        return _Pages(tokens.cpu().numpy(), logprobs.double().cpu().numpy(), lengths.cpu().numpy(), stops)


def _controlled(
    control: DecodeControl, hidden: Tensor, logits: Tensor, live: Tensor, writing: Tensor
) -> tuple[Tensor, Tensor]:
    """Show the control the rows that still write; the others keep their logits and do not stop."""
    slots = writing.nonzero().squeeze(-1)
    changed, stop = control.on_logits(hidden[slots], logits[slots], live[slots])
    stopped = torch.zeros_like(writing)
    stopped[slots] = stop
    return logits.index_copy(0, slots, changed.to(logits.dtype)), stopped


def _reason(ended: bool, cut: bool) -> StopReason:
    if ended:
        return StopReason.END_OF_TEXT
    return StopReason.EARLY_STOPPED if cut else StopReason.TOKEN_LIMIT
