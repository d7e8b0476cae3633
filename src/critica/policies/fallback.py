"""Sampling through transformers' `generate`, for families that the decoder does not read: same draws, same records."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from critica.functional import random
from critica.policies.base import Ended, Sample, SampleLimits, SampleRequest
from critica.policies.pages import Pages
from critica.policies.sampling import draw, draw_truncated, end_table
from critica.policies.stops import Stops, stops_of
from critica.records.words import StopReason


class _Draws:
    """A logits processor that draws the token itself and leaves `generate` no other choice than to take it.

    So a row's tokens come from its own uniforms here too, and the log-probs are the sampler's own.
    """

    def __init__(self, uniforms: Tensor, ends: Tensor, limits: SampleLimits, pages: Pages) -> None:
        self._uniforms, self._ends, self._limits, self._pages = uniforms, ends, limits, pages
        self.rows = torch.arange(len(uniforms), device=uniforms.device)
        self.steps = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        limits, at = self._limits, self._uniforms[:, self.steps]
        if self.steps < limits.min_new_tokens:
            scores = scores.masked_fill(self._ends, -torch.inf)
        if limits.truncates:
            chosen, logprobs, counts, left = draw_truncated(scores, at, limits.temperature, limits.truncation)
            self._pages.keep(self.rows, counts, left)
        else:
            chosen, logprobs = draw(scores, at, limits.temperature)
        self._pages.write(self.steps, self.rows, chosen, logprobs)
        self.steps += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen.unsqueeze(1), 0.0)


class _Ends:
    """A stopping criterion by row: an end-of-text token, or a stop string."""

    def __init__(self, draws: _Draws, ends: Tensor, stops: Stops | None, pages: Pages) -> None:
        self._draws, self._ends, self._stops, self._pages = draws, ends, stops, pages
        self._done = torch.zeros(len(draws.rows), dtype=torch.bool, device=ends.device)

    def __call__(self, input_ids: Tensor, scores: object, **_: object) -> Tensor:
        chosen, rows, step = input_ids[:, -1], self._draws.rows, self._draws.steps
        done = self._ends[chosen] & ~self._done
        self._pages.finish(rows[done], step, StopReason.END_OF_TEXT)
        self._done = self._done | done
        said = None
        if self._stops is not None:
            said = self._stops.said(chosen, ~self._done, partial(self._pages.last, rows, step - 1))
        if said is not None:
            self._pages.finish(rows[said], step, StopReason.STOP_STRING)
            self._done = self._done | said
        return self._done


@torch.inference_mode()
def generate_samples(
    model: nn.Module,
    end_ids: tuple[int, ...],
    requests: Sequence[SampleRequest],
    limits: SampleLimits,
    seed: int,
    rows_at_once: int = 128,
    ended: Ended | None = None,
    stops: Stops | None = None,
) -> list[list[Sample]]:
    """Continue every request with left-padded batches of `rows_at_once` rows; `ended` hears of a batch as it ends."""
    if limits.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {limits.max_new_tokens}; a sample has at least one token: ask for 1")
    rows = [(i, stream) for i, request in enumerate(requests) for stream in request.streams]
    made: list[list[Sample]] = [[] for _ in requests]
    for begin in range(0, len(rows), rows_at_once):
        part = rows[begin : begin + rows_at_once]
        prompts = [requests[i].prompt_ids for i, _ in part]
        written = _generate(model, end_ids, prompts, part, limits, seed, stops_of(limits, stops))
        for row, ((i, _), sample) in enumerate(zip(part, written, strict=True), begin):
            made[i].append(sample)
            if ended is not None:
                ended(row, sample.token_ids)
    return made


def _generate(
    model: nn.Module,
    end_ids: tuple[int, ...],
    prompts: list[tuple[int, ...]],
    rows: list[tuple[int, tuple[int, ...]]],
    limits: SampleLimits,
    seed: int,
    stops: Stops | None,
) -> list[Sample]:
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    device = next(model.parameters()).device
    width, steps = max(map(len, prompts)), limits.max_new_tokens
    ids = torch.zeros(len(rows), width, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1
    drawn = np.stack([random.uniforms(seed, "decode", *stream, count=steps) for _, stream in rows])
    ends = end_table(end_ids, model.config.vocab_size, device)  # type: ignore[union-attr,arg-type]
    pages = Pages(len(rows), steps, torch.float64, device)
    draws = _Draws(torch.from_numpy(drawn).to(device), ends, limits, pages)
    settings = GenerationConfig(max_new_tokens=steps, do_sample=False, num_beams=1, pad_token_id=0)
    processors = LogitsProcessorList([draws])  # type: ignore[list-item]
    criteria = StoppingCriteriaList([_Ends(draws, ends, stops, pages)])  # type: ignore[list-item]
    model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=mask, generation_config=settings, logits_processor=processors,
        stopping_criteria=criteria,
    )  # fmt: skip
    return pages.samples()
