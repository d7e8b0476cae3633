"""A reward model's scores of many texts and the gradient of its pairs, in batches that bound memory alone."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.functional.bradley_terry import pair_losses
from critica.rewards.reward_model_network import RewardNetwork
from critica.rewards.reward_model_text import Reading, buckets, read_text
from critica.training.reward_folder import CannotFitReward
from critica.training.reward_pairs import Pair
from critica.training.reward_robust import Weigher
from critica.training.reward_slices import read_margins


def named_weights(network: RewardNetwork) -> Iterable[tuple[str, nn.Parameter]]:
    """Every parameter; those of the score and the attention are named `head.…`, which learn at a higher rate."""
    for name, weight in network.named_parameters():
        head = name.startswith(("model.score.", "model.classifier.", "attention."))
        yield f"head.{name}" if head else name, weight


def read_answers(network: RewardNetwork, pairs: Sequence[Pair]) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
    """What the network reads of each pair: chosen, then rejected. Raises `CannotFitReward` for a text too long."""
    readings, answers = [], []
    for number, pair in enumerate(pairs, 1):
        for answer in (pair.chosen, pair.rejected):
            reading = read_text(network.tokenizer, pair.prompt, answer)
            if len(reading.token_ids) > network.longest:
                raise CannotFitReward(
                    f"pair {number} has {len(reading.token_ids)} tokens, and the model reads {network.longest}: leave"
                    " it out of the file, or take a model with a longer context"
                )
            readings.append(reading)
            answers.append(answer)
    return tuple(readings), tuple(answers)


@torch.no_grad()
def score_answers(
    network: RewardNetwork, texts: tuple[Sequence[Reading], Sequence[str]], cells: int
) -> Float[Tensor, "Q"]:
    """The network's score of each text, in batches of at most `cells` padded tokens."""
    readings, answers = texts
    scores = torch.zeros(len(readings))
    for rows in buckets([len(reading.token_ids) for reading in readings], cells):
        judged = network.judge([readings[i] for i in rows], [answers[i] for i in rows])
        scores[rows] = torch.stack([one.score for one in judged]).float().cpu()
    return scores


def backward(
    network: RewardNetwork, weigher: Weigher, texts: tuple[list[Reading], list[str]], rows: Sequence[int], cells: int
) -> float:
    """Add the gradient of the pairs' loss to the weights; the loss.

    All scores first, without gradient, since robust weights depend on all losses; then batch by batch with it, each
    score weighed by d loss / d score. Exact, at any `cells`; one forward pass in three is the price.
    """
    scores = score_answers(network, texts, cells).requires_grad_(True)
    loss = weigher.loss(pair_losses(read_margins(scores)), rows)
    loss.backward()
    assert scores.grad is not None
    readings, answers = texts
    for batch in buckets([len(reading.token_ids) for reading in readings], cells):
        judged = network.judge([readings[i] for i in batch], [answers[i] for i in batch])
        made = torch.stack([one.score for one in judged])
        if made.requires_grad:  # by sentence, answers without text have no gradient
            (made * scores.grad[batch].to(made)).sum().backward()
    return float(loss.detach())
