"""From words to aligned arrays: the recorded tokens and log-probs, right-padded, nothing re-encoded."""

import torch

from critica.records.arrays import TokenBatch
from critica.records.kept_tokens import KeptTokens
from critica.records.words import Group, SampledTurn, Trajectory


def tokenize(groups: tuple[Group, ...]) -> TokenBatch:
    """Every trajectory of every group as one row, in order. Tokens are those recorded at generation, bit for bit."""
    rows = [(g, group, t) for g, group in enumerate(groups) for t in group.trajectories]
    count, width = len(rows), max(t.token_count for _, _, t in rows)
    token_ids = torch.zeros(count, width, dtype=torch.long)
    turn_index = torch.full((count, width), -1, dtype=torch.long)
    node_index = torch.full((count, width), -1, dtype=torch.long)
    sampled = torch.zeros(count, width, dtype=torch.bool)
    temperature = torch.ones(count, width)
    logprobs = torch.zeros(count, width)
    for n, (_, _, trajectory) in enumerate(rows):
        at, node = 0, 0
        for turn_number, turn in enumerate(trajectory.turns):
            end = at + len(turn.token_ids)
            token_ids[n, at:end] = torch.tensor(turn.token_ids)
            turn_index[n, at:end] = turn_number
            if isinstance(turn, SampledTurn):
                sampled[n, at:end] = True
                logprobs[n, at:end] = torch.tensor(turn.behavior_logprobs)
                temperature[n, at:end] = turn.temperature or 1.0
                node_index[n, at:end] = torch.arange(node, node + end - at)
                node += end - at
            at = end
    tasks = {task_id: i for i, task_id in enumerate(dict.fromkeys(t.task_id for _, _, t in rows))}
    roles = {role: i for i, role in enumerate(dict.fromkeys(t.role for _, _, t in rows))}
    episodes = {name: i for i, name in enumerate(dict.fromkeys(t.episode_id for _, _, t in rows))}
    index = {t.trajectory_id: n for n, (_, _, t) in enumerate(rows)}
    kept = tuple(kept_of(t) for _, _, t in rows)
    return TokenBatch(
        token_ids, turn_index >= 0, sampled, turn_index, node_index, temperature, logprobs,
        prefix_length=torch.tensor([len(t.turns[0].token_ids) for _, _, t in rows]),
        group_index=torch.tensor([g for g, _, _ in rows]),
        task_index=torch.tensor([tasks[t.task_id] for _, _, t in rows]),
        role_index=torch.tensor([roles[t.role] for _, _, t in rows]),
        parent_index=torch.tensor([index.get(t.parent_id, -1) for _, _, t in rows]),
        episode_index=torch.tensor([episodes[t.episode_id] for _, _, t in rows]),
        policy_version=torch.tensor([version_of(t) for _, _, t in rows]),
        stop=tuple(t.stop for _, _, t in rows),
        trajectory_ids=tuple(t.trajectory_id for _, _, t in rows),
        kept=kept if any(kept) else (),
    )  # fmt: skip


def version_of(trajectory: Trajectory) -> int:
    """The oldest policy version that wrote a part of it; -1 if nothing was sampled."""
    versions = [turn.policy_version for turn in trajectory.turns if isinstance(turn, SampledTurn)]
    return min(versions, default=-1)


def kept_of(trajectory: Trajectory) -> KeptTokens:
    """Which tokens each sampled one was drawn among, over all turns."""
    return KeptTokens.join([(len(t.token_ids), t.kept) for t in trajectory.turns if isinstance(t, SampledTurn)])
