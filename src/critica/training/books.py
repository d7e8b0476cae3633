"""The books of a step: where every prompt and every sample went, or the run stops."""

from critica.curricula.base import Stage
from critica.records.arrays import Advantages, TokenBatch
from critica.records.run import LedgerEntry
from critica.rollout.gather import Gathered, ledger_of


class UnbalancedBooks(RuntimeError):
    """A sample was counted twice or not at all."""


def close_books(gathered: Gathered, batch: TokenBatch, credit: Advantages, stage: Stage) -> tuple[LedgerEntry, ...]:
    """One entry per sample and prompt; raises `UnbalancedBooks` unless in = trained + masked + filtered + failed."""
    counted = credit.mask.any(-1).tolist()
    flat = credit.zero_variance.tolist()
    task_of = {t.trajectory_id: g.task.task_id for g in gathered.groups for t in g.trajectories}
    row_of = {name: row for row, name in enumerate(batch.trajectory_ids)}
    entries: list[LedgerEntry] = []
    for reward in gathered.rewards:
        row = row_of[reward.trajectory_id]
        reason = "zero_variance" if flat[row] else "no_baseline" if not counted[row] else ""
        reason = reason or ("" if stage.policy else stage.name)
        entries.append(ledger_of(reward, task_of[reward.trajectory_id], "masked" if reason else "trained", reason))
    samples = [*entries, *gathered.turned_away]
    names = [entry.trajectory_id for entry in samples]
    if len(set(names)) != len(names) or set(batch.trajectory_ids) != {entry.trajectory_id for entry in entries}:
        raise UnbalancedBooks(
            f"{len(batch.trajectory_ids)} trajectories in the batch, {len(gathered.turned_away)} turned away and"
            f" {len(names)} ledger entries: every sample must be counted exactly once"
        )
    return (*samples, *prompt_entries(samples))


def prompt_entries(samples: list[LedgerEntry]) -> list[LedgerEntry]:
    """One entry per group of samples: trained if any sample is, else the state of its first sample."""
    groups: dict[str, list[LedgerEntry]] = {}
    for entry in samples:
        groups.setdefault(entry.trajectory_id.rsplit(".", 1)[0], []).append(entry)
    prompts = []
    for members in groups.values():
        chosen = next((entry for entry in members if entry.state == "trained"), members[0])
        prompts.append(LedgerEntry("", chosen.task_id, chosen.state, chosen.reason))
    return prompts
