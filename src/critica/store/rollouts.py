"""One Parquet file a step: every trajectory with its tokens, masks, log-probs, rewards, values and advantages."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from critica.records.arrays import TokenBatch
from critica.records.kept_tokens import KeptTokens
from critica.records.run import StepRecord
from critica.records.supervision import Abstained, Failed, Reward
from critica.store.errors import DamagedRun
from critica.store.files import write_whole
from critica.store.laws import LEVELS, summarize_law

if TYPE_CHECKING:
    import pyarrow as pa

CORRECT = 0.999


def rollout_path(run: Path, step: int) -> Path:
    """RUN/rollouts/step_000123.parquet."""
    return run / "rollouts" / f"step_{step:06d}.parquet"


def write_rollouts(run: Path, payload: bytes, step: int) -> None:
    """Publish one step's file: whole or not at all."""
    write_whole(rollout_path(run, step), payload, sync=False)


def encode_rollouts(record: StepRecord) -> bytes:
    """The step as a Parquet file in memory. Numbers keep their type (bfloat16 and half become float32, exactly)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = rollout_table(record)
    texts: Any = [*(field.name for field in table.schema if field.type == pa.string()), "tokens.list.element"]
    pq.write_table(table, sink, compression="zstd", write_statistics=False, use_dictionary=texts)
    return sink.getvalue().to_pybytes()


def rollout_table(record: StepRecord) -> "pa.Table":
    """One row a trajectory. List columns are aligned: entry t speaks about token t, prompt included, padding cut.

    `value_mean` and `value_quantiles` are null where the critic says nothing. `reward_clean` is the truth,
    `reward_said` what the source said, noise included, and `reward_told` what training saw after correction and
    placing; null where they are unknown. `kept_ids` is there if sampling was truncated: the tokens that each sampled
    token was drawn among; empty for the whole vocabulary.
    """
    import pyarrow as pa

    columns = _trajectory_columns(record) | _reward_columns(record) | _token_columns(record)
    facts = {
        "step": record.step,
        "value_law": type(record.values.law).__name__,
        "value_levels": list(LEVELS),
        "uses_own_outcome": record.values.uses_own_outcome,
        "advantage_rule": record.credit.rule,
        "objectives": list(record.told.objectives),
        "low": list(record.told.low),
        "high": list(record.told.high),
    }
    return pa.table(columns).replace_schema_metadata({"critica": json.dumps(facts)})


def read_rollouts(run: Path, step: int, columns: list[str] | None = None) -> "pa.Table":
    """One step's table; `read_facts` reads what stands beside the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = rollout_path(run, step)
    if not path.exists():
        raise DamagedRun(f"{path} is not there: the run has not reached step {step}, or the file was removed")
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedRun(f"{path} cannot be read ({error}): resume from a checkpoint before step {step}") from error


def read_facts(table: "pa.Table") -> dict[str, Any]:
    """Step, law, levels, rule, objectives and their range, as `rollout_table` wrote them."""
    return json.loads((table.schema.metadata or {}).get(b"critica", b"{}"))


def rewards_by_trajectory(record: StepRecord) -> list[tuple[Reward, ...]]:
    """The rewards of each row, in the batch's order."""
    found: dict[str, list[Reward]] = {name: [] for name in record.batch.trajectory_ids}
    for reward in record.rewards:
        if reward.trajectory_id in found:
            found[reward.trajectory_id].append(reward)
    return [tuple(found[name]) for name in record.batch.trajectory_ids]


def outcome_state(rewards: tuple[Reward, ...]) -> str:
    """failed, else abstained, if any source did; `scored` only when every source gave a number."""
    if not rewards or any(isinstance(reward.outcome, Failed) for reward in rewards):
        return "failed"
    return "abstained" if any(isinstance(reward.outcome, Abstained) for reward in rewards) else "scored"


def _trajectory_columns(record: StepRecord) -> dict[str, "pa.Array"]:
    import pyarrow as pa

    batch = record.batch
    groups = {t.trajectory_id: (group, t) for group in record.groups for t in group.trajectories}
    pairs = [groups[name] for name in batch.trajectory_ids]
    return {
        "trajectory_id": pa.array(batch.trajectory_ids, pa.string()),
        "episode_id": pa.array([t.episode_id for _, t in pairs], pa.string()),
        "parent_id": pa.array([t.parent_id for _, t in pairs], pa.string()),
        "group_id": pa.array([t.group_id for _, t in pairs], pa.string()),
        "group": pa.array(batch.group_index.tolist(), pa.int32()),
        "role": pa.array([t.role for _, t in pairs], pa.string()),
        "task_id": pa.array([g.task.task_id for g, _ in pairs], pa.string()),
        "environment": pa.array([g.task.environment for g, _ in pairs], pa.string()),
        "prompt": pa.array([g.task.prompt for g, _ in pairs], pa.string()),
        "answer": pa.array([g.task.answer for g, _ in pairs], pa.string()),
        "text": pa.array([t.sampled_text for _, t in pairs], pa.string()),
        "stop": pa.array([str(stop) for stop in batch.stop], pa.string()),
        "policy_version": pa.array(batch.policy_version.tolist(), pa.int64()),
        "zero_variance": pa.array(record.credit.zero_variance.tolist(), pa.bool_()),
    }


def _reward_columns(record: StepRecord) -> dict[str, "pa.Array"]:
    import pyarrow as pa

    rewards = rewards_by_trajectory(record)
    clean = [math.fsum(reward.clean_value for reward in row) if row else math.nan for row in rewards]
    said = [math.fsum(reward.said_value for reward in row) if row else math.nan for row in rewards]
    states = {entry.trajectory_id: entry for entry in record.ledger if entry.kind == "sample"}
    entries = [states[name] for name in record.batch.trajectory_ids]

    def known(values: list[float]) -> "pa.Array":
        return pa.array([None if math.isnan(value) else value for value in values], pa.float64())

    return {
        "reward_told": known(record.told.total.double().tolist()),
        "reward_said": known(said),
        "reward_clean": known(clean),
        "correct": pa.array([None if math.isnan(value) else value >= CORRECT for value in clean], pa.bool_()),
        "flipped": pa.array([any(r.tampering is not None and r.tampering.flipped for r in row) for row in rewards]),
        "outcome_state": pa.array([outcome_state(row) for row in rewards], pa.string()),
        "ledger_state": pa.array([entry.state for entry in entries], pa.string()),
        "ledger_reason": pa.array([entry.reason for entry in entries], pa.string()),
    }


def _token_columns(record: StepRecord) -> dict[str, "pa.Array"]:
    import pyarrow as pa

    batch, valid = record.batch, record.batch.valid_mask
    offsets = pa.array(np.concatenate([[0], np.cumsum(valid.sum(-1).numpy())]).astype(np.int32))
    told = (record.values.mask & valid)[valid].numpy()
    levels = torch.full((int(valid.sum()), len(LEVELS)), math.nan, dtype=torch.float64)
    if bool((record.values.mask & ~valid).any()):
        raise DamagedRun(
            f"step {record.step}: the critic predicts values at padding; its mask must lie inside valid_mask"
        )
    levels[torch.from_numpy(told)] = summarize_law(record.values)

    def lists(grid: Tensor, null: np.ndarray | None = None) -> "pa.Array":
        return pa.ListArray.from_arrays(offsets, pa.array(_numpy(grid[valid]), mask=null))

    quantiles = pa.FixedSizeListArray.from_arrays(pa.array(levels.flatten().numpy()), len(LEVELS), mask=pa.array(~told))
    texts = pa.array([text for row in record.tokens for text in row], pa.string())
    return {
        "token_ids": lists(batch.token_ids),
        "tokens": pa.ListArray.from_arrays(offsets, texts),
        "sampled_mask": lists(batch.sampled_mask),
        "turn_index": lists(batch.turn_index),
        "temperature": lists(batch.temperature),
        "behavior_logprobs": lists(batch.behavior_logprobs),
        "reward_per_token": lists(record.told.per_token.sum(-1)),
        "value_mean": lists(record.values.mean, ~told),
        "value_quantiles": pa.ListArray.from_arrays(offsets, quantiles),
        "advantage": lists(record.credit.advantage),
        "trained_mask": lists(record.credit.mask),
    } | _kept_columns(batch, offsets)


def _kept_columns(batch: TokenBatch, offsets: "pa.Array") -> dict[str, "pa.Array"]:
    """Nothing unless something was left out of what was sampled from."""
    import pyarrow as pa

    if not any(batch.kept):
        return {}
    sampled = batch.sampled_mask.sum(-1).tolist()
    counts, ids = KeptTokens.join(list(zip(sampled, batch.kept, strict=True))).arrays()
    of_all = np.zeros(int(batch.valid_mask.sum()), np.int32)
    of_all[batch.sampled_mask[batch.valid_mask].numpy()] = counts
    bounds = pa.array(np.concatenate([[0], np.cumsum(of_all)]).astype(np.int32))
    return {"kept_ids": pa.ListArray.from_arrays(offsets, pa.ListArray.from_arrays(bounds, pa.array(ids)))}


def _numpy(values: Tensor) -> np.ndarray:
    """As numpy, in the tensor's own type where numpy has it."""
    values = values.detach().cpu()
    return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()
