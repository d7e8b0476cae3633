"""A policy loss on numbers written by hand, and through the real learner, the batch cut, padded or ordered anyhow."""

from dataclasses import replace

import torch

from arrays import token_batch, told_batch
from critica.critics.counted import NoBaselineCritic
from critica.functional.reduce import denominator, reduce
from critica.objectives.base import TokenScores
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, ProximalLogprobs, ReferenceLogprobs
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.updaters.gradient import Adam
from fakes import BigramPolicy
from training.test_learner import OUTCOMES, TRAIN, Descent, filled_batch

F64 = torch.float64


def by_hand(objective, rows, policy, proximal, behavior, advantage, reference=None):
    """(loss, gradient of each sampled token's log-prob, metrics): rows like 'css', numbers per sampled token."""
    batch = token_batch(rows, [0] * len(rows))
    mask = batch.sampled_mask

    def grid(numbers):
        made = torch.zeros(mask.shape, dtype=F64)
        made[mask] = torch.tensor(numbers, dtype=F64)
        return made

    batch = replace(batch, behavior_logprobs=grid(behavior))
    leaf = grid(policy).requires_grad_()
    credit = Advantages(grid(advantage), mask, torch.zeros(len(rows), dtype=torch.bool), "by hand")
    scores = TokenScores(leaf, grid(proximal), torch.zeros_like(leaf))
    told = told_batch(batch, [0.0] * len(rows))
    known = (ReferenceLogprobs("initial", grid(reference)),) if reference else ()
    terms, metrics = objective.terms(scores, batch, credit, Evidence(*known), told)
    masks = objective.masks(credit, told)
    loss = sum(reduce(term, denominator(masks[term.name], term.reduction)) for term in terms)
    gradient = torch.autograd.grad(loss, leaf)[0]
    return loss.item(), gradient[mask].tolist(), {metric.name: metric.value for metric in metrics}


def learned(objective, tokens=10_000, order=None, padding=0, schedule=None):
    """The weights after one update on six rows whose log-probs differ between the three policies, and the reports."""
    policy = BigramPolicy(dtype=F64)
    batch = filled_batch(policy)
    mask = batch.sampled_mask
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(2, *mask.shape, generator=generator, dtype=F64)
    proximal = (-1.9 + 0.3 * noise[0]).where(mask, 0.0)
    batch = replace(batch, behavior_logprobs=(proximal + 0.2 * noise[1]).where(mask, 0.0))
    credit = torch.tensor([-1.3, 0.4, -0.7, 1.1, 0.0, -0.9], dtype=F64)[:, None].expand(mask.shape).where(mask, 0.0)
    told = told_batch(batch, OUTCOMES)
    told = replace(told, per_token=told.per_token.double(), outcome=told.outcome.double())
    if order is not None:
        rows = torch.tensor(order)
        batch, proximal, credit = batch.select(rows), proximal[rows], credit[rows]
        told = replace(
            told, outcome=told.outcome[rows], known=told.known[rows], confidence=told.confidence[rows],
            per_token=told.per_token[rows],
        )  # fmt: skip
    if padding:
        batch, proximal, credit, told = padded(batch, proximal, credit, told, padding)
    evidence = Evidence(ProximalLogprobs(proximal))
    values = NoBaselineCritic().predict(batch, told, evidence)
    silent = torch.zeros(batch.rows, dtype=torch.bool)
    lesson = Lesson(
        batch, told, Advantages(credit, batch.sampled_mask, silent, "by hand"), None, values, evidence
    )  # fmt: skip
    learner = Learner(
        policy, NoBaselineCritic(), objective, (Descent(policy.trainable(), Adam(1.0)), None),
        schedule or Schedule(1, 1, 1, tokens), seed=0,
    )  # fmt: skip
    reports = learner.update(lesson, TRAIN, step=1)
    weights = {name: value.detach().clone() for name, value in policy.trainable()}
    return weights, {metric.name: metric.value for metric in reports}


def padded(batch, proximal, credit, told, width):
    """The same rows with `width` more columns of padding."""

    def wider(grid, fill):
        return torch.cat((grid, torch.full((grid.shape[0], width, *grid.shape[2:]), fill, dtype=grid.dtype)), 1)

    batch = replace(
        batch, token_ids=wider(batch.token_ids, 0), valid_mask=wider(batch.valid_mask, False),
        sampled_mask=wider(batch.sampled_mask, False), turn_index=wider(batch.turn_index, -1),
        node_index=wider(batch.node_index, -1), temperature=wider(batch.temperature, 1.0),
        behavior_logprobs=wider(batch.behavior_logprobs, 0.0),
    )  # fmt: skip
    return batch, wider(proximal, 0.0), wider(credit, 0.0), replace(told, per_token=wider(told.per_token, 0.0))
