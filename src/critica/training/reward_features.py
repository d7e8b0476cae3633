"""Pairs of answers as points, for a probe that was never taught by them: letters, or states of an untouched model."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.text_features import ngram_features
from critica.policies.loading import open_model, open_tokenizer
from critica.rewards.reward_model_text import buckets, padded, read_text
from critica.training.reward_pairs import Pair

LETTERS = "letters"


def pair_differences(pairs: Sequence[Pair], features: str = LETTERS, cells: int = 8192) -> Float[Tensor, "P F"]:
    """Features of the chosen answer minus those of the rejected one, fp64; exchanging a pair changes the sign.

    `letters`: hashed character n-grams, F = 257: tone and form, hardly meaning. Else a model folder or name: the mean
    of its last states over the answer, each answer scaled to norm 1. It must not have learned from these pairs.
    """
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    if features == LETTERS:
        known = {answer: ngram_features(answer) for answer in dict.fromkeys(answers)}
        points = torch.stack([known[answer] for answer in answers])
    else:
        points = _states(pairs, answers, features, cells)
    return (points[::2] - points[1::2]).double()


@torch.no_grad()
def _states(pairs: Sequence[Pair], answers: Sequence[str], path: str, cells: int) -> Float[Tensor, "Q D"]:
    model, tokenizer = open_model(path, "float32", headless=True), open_tokenizer(path)
    readings = [read_text(tokenizer, pairs[i // 2].prompt, answer) for i, answer in enumerate(answers)]
    points = torch.zeros(len(answers), cast(int, model.config.hidden_size))
    for rows in buckets([len(reading.token_ids) for reading in readings], cells):
        ids, mask = padded([readings[i] for i in rows], cast(int, tokenizer.pad_token_id or 0))
        states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        for n, i in enumerate(rows):
            own = states[n, readings[i].start - 1 : max(readings[i].start, readings[i].stop)].mean(0)
            points[i] = own / own.norm().clamp(min=1e-12)
    return points
