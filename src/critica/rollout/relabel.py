"""Tokens of an episode under another context: their log-probs are read anew, so that the ratio starts at one."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from critica.policies.base import Conversing, TrainablePolicy, WritingPolicy
from critica.policies.batching import microbatches
from critica.policies.body_mode import device_of
from critica.policies.scoring import logprobs_of as logprobs_from
from critica.records.arrays import scatter_sampled
from critica.records.devices import moved
from critica.records.supervision import Reward
from critica.records.words import ContextTurn, Group, Message, SampledTurn, Task, Trajectory
from critica.rollout.protocol import Relabeled
from critica.rollout.tokenize import tokenize

TOKENS = 16384  # read at once


def reread(
    policy: Conversing, shells: Sequence[tuple[Trajectory, Relabeled, tuple[Reward, ...]]], temperature: float
) -> list[tuple[Trajectory, tuple[Reward, ...]]]:
    """Each shell with its new context and tokens, and the policy's log-probs of them there.

    These stand as `behavior_logprobs`: the policy did not write the tokens in this context, and what is learned from
    them is weighed against reading them there, not against how they came about (RLTF, arXiv 2602.02482). Rows that do
    not fit into the policy's context are left out.
    """
    made = []
    for shell, one, told in shells:
        opening, ids = policy.encode(one.messages), one.token_ids or spelled(policy, one.text)
        if len(opening) + len(ids) > policy.context_length:
            continue
        written = SampledTurn(Message("assistant", one.text), ids, (0.0,) * len(ids), temperature, policy.version)
        made.append((replace(shell, turns=(ContextTurn(one.messages[-1], opening), written)), told))
    if not made:
        return []
    scores = logprobs_of(policy, [trajectory for trajectory, _ in made])
    return [
        (replace(t, turns=(t.turns[0], replace(t.turns[1], behavior_logprobs=found))), told)
        for (t, told), found in zip(made, scores, strict=True)
    ]


def spelled(policy: Conversing, text: str) -> tuple[int, ...]:
    """A text that the policy did not write, and its end, as tokens. Raises TypeError for one that knows no ends."""
    if not isinstance(policy, WritingPolicy):
        raise TypeError(f"texts of others are learned by policies that know what ends one, not {type(policy).__name__}")
    return (*policy.encode_text(text), *policy.end_ids[:1])


@torch.no_grad()
def logprobs_of(policy: Conversing, rows: Sequence[Trajectory]) -> list[tuple[float, ...]]:
    """The log-probs of each row's sampled tokens under the weights as they are. Raises TypeError for remote ones."""
    if not isinstance(policy, TrainablePolicy):
        raise TypeError(f"tokens are read under another context by weights that are here, not {type(policy).__name__}")
    groups = [
        Group(row.trajectory_id, Task(row.task_id, "", (Message("user", ""),), ""), (row,)) for row in rows
    ]  # one each: only tokens matter here
    batch = moved(tokenize(tuple(groups)), device_of(policy.model))
    grid = torch.zeros(batch.token_ids.shape, dtype=torch.float64, device=batch.device)
    for some in microbatches(batch, torch.arange(batch.rows, device=batch.device), TOKENS):
        piece = batch.select(some)
        mask = piece.sampled_mask
        states = policy.sampled_states(piece)
        flat = logprobs_from(policy, states, piece.token_ids[mask], piece.temperature[mask])
        grid[some, : mask.shape[1]] = scatter_sampled(flat, mask).double()
    return [tuple(grid[n, batch.sampled_mask[n]].tolist()) for n in range(batch.rows)]
