"""Sampling through transformers' `generate`, for families that the decoder does not read: same draws, same records."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from critica.functional import random
from critica.policies.base import Ended, Sample, SampleLimits, SampleRequest
from critica.policies.sampling import draw, end_table
from critica.records.words import StopReason


class _Draws:
    """A logits processor that draws the token itself and leaves `generate` no other choice than to take it.

    So a row's tokens come from its own uniforms here too, and the log-probs are the sampler's own.
    """

    def __init__(self, uniforms: Tensor, ends: Tensor, limits: SampleLimits) -> None:
        self._uniforms, self._ends, self._limits = uniforms, ends, limits
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = len(self.logprobs)
        if step < self._limits.min_new_tokens:
            scores = scores.masked_fill(self._ends, -torch.inf)
        chosen, logprobs = draw(scores, self._uniforms[:, step], self._limits.temperature)
        self.logprobs.append(logprobs)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen.unsqueeze(1), 0.0)


@torch.inference_mode()
def generate_samples(
    model: nn.Module,
    end_ids: tuple[int, ...],
    requests: Sequence[SampleRequest],
    limits: SampleLimits,
    seed: int,
    rows_at_once: int = 128,
    ended: Ended | None = None,
) -> list[list[Sample]]:
    """Continue every request with left-padded batches of `rows_at_once` rows; `ended` hears of a batch as it ends."""
    if limits.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {limits.max_new_tokens}; a sample has at least one token: ask for 1")
    rows = [(i, stream) for i, request in enumerate(requests) for stream in request.streams]
    made: list[list[Sample]] = [[] for _ in requests]
    for begin in range(0, len(rows), rows_at_once):
        part = rows[begin : begin + rows_at_once]
        prompts = [requests[i].prompt_ids for i, _ in part]
        written = _generate(model, end_ids, prompts, part, limits, seed)
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
) -> list[Sample]:
    from transformers import GenerationConfig, LogitsProcessorList

    device = next(model.parameters()).device
    width, steps = max(map(len, prompts)), limits.max_new_tokens
    ids = torch.zeros(len(rows), width, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1
    drawn = np.stack([random.uniforms(seed, "decode", *stream, count=steps) for _, stream in rows])
    ends = end_table(end_ids, model.config.vocab_size, device)  # type: ignore[union-attr,arg-type]
    draws = _Draws(torch.from_numpy(drawn).to(device), ends, limits)
    settings = GenerationConfig(
        max_new_tokens=steps, do_sample=False, num_beams=1, eos_token_id=list(end_ids) or None, pad_token_id=0
    )
    processors = LogitsProcessorList([draws])  # type: ignore[list-item]
    out = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=mask, generation_config=settings, logits_processor=processors
    )
    tokens = out[:, width:].tolist()
    logprobs = torch.stack(draws.logprobs, 1).double().tolist()
    made = []
    for row, row_logprobs in zip(tokens, logprobs, strict=True):
        ended = next((t + 1 for t, token in enumerate(row) if token in end_ids), None)
        size = ended or len(row)
        stop = StopReason.END_OF_TEXT if ended else StopReason.TOKEN_LIMIT
        made.append(Sample(tuple(row[:size]), tuple(row_logprobs[:size]), stop))
    return made
