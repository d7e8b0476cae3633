"""The books of a step: where every prompt and every sample went, or the run stops."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from critica.curricula.base import Stage
from critica.records.arrays import Advantages, Metric, TokenBatch
from critica.records.run import LedgerEntry, Progress
from critica.records.supervision import by_trajectory, together
from critica.rollout.gather import Gathered, ledger_of


class UnbalancedBooks(RuntimeError):
    """A prompt or a sample was counted twice or not at all."""


def close_books(
    gathered: Gathered, batch: TokenBatch, credit: Advantages, stage: Stage, skipped: str = ""
) -> tuple[LedgerEntry, ...]:
    """One entry per sample and prompt; raises `UnbalancedBooks` unless in = trained + masked + filtered + failed.

    In is what was noted when tasks were drawn and samples were asked for. `skipped` says why nothing at all was
    learned from this step; empty if something was.
    """
    counted = credit.mask.any(-1).tolist()
    flat = credit.zero_variance.tolist()
    heard = [f"{reward.trajectory_id} by {reward.source}" for reward in gathered.rewards]
    require_once("reward", tuple(dict.fromkeys(heard)), heard)
    task_of = {t.trajectory_id: g.task.task_id for g in gathered.groups for t in g.trajectories}
    row_of = {name: row for row, name in enumerate(batch.trajectory_ids)}
    entries: list[LedgerEntry] = []
    for reward in map(together, by_trajectory(gathered.rewards).values()):
        row = row_of[reward.trajectory_id]
        reason = "zero_variance" if flat[row] else "no_baseline" if not counted[row] else ""
        reason = skipped or reason or ("" if stage.policy else stage.name)
        entries.append(ledger_of(reward, task_of[reward.trajectory_id], "masked" if reason else "trained", reason))
    samples = [*entries, *gathered.turned_away]
    prompts = prompt_entries(samples)
    require_once("sample", gathered.asked, [entry.trajectory_id for entry in samples])
    require_once("sample of the batch", batch.trajectory_ids, [entry.trajectory_id for entry in entries])
    require_once("prompt", gathered.drawn, [entry.task_id for entry in prompts])
    return (*samples, *prompts)


def require_once(what: str, came: Sequence[str], counted: Sequence[str]) -> None:
    """Raise `UnbalancedBooks`, naming the first that differ, unless both hold the same names equally often."""
    lost, extra = Counter(came) - Counter(counted), Counter(counted) - Counter(came)
    if lost or extra:
        said = [f"{sum(lost.values())} not counted ({', '.join(sorted(lost)[:3])})"] if lost else []
        said += [f"{sum(extra.values())} counted too often ({', '.join(sorted(extra)[:3])})"] if extra else []
        raise UnbalancedBooks(
            f"the books do not balance: of {len(came)} {what} entries that came in, {' and '.join(said)}. Nothing of"
            f" this step is kept; this is a defect of Critica or of a part of yours that drops or repeats rows"
        )


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


def advanced(
    progress: Progress,
    step: int,
    metrics: tuple[Metric, ...],
    version: int,
    ledger: tuple[LedgerEntry, ...],
    skipped: bool,
) -> Progress:
    """What a resume must know after this step."""
    sampled = next(metric.total for metric in metrics if metric.name == "tokens/sampled")
    prompts = sum(entry.kind == "prompt" for entry in ledger)
    return replace(
        progress,
        step=step,
        policy_version=version,
        prompts=progress.prompts + prompts,
        samples=progress.samples + len(ledger) - prompts,
        sampled_tokens=progress.sampled_tokens + int(sampled),
        skipped=progress.skipped + skipped,
        skipped_in_a_row=(progress.skipped_in_a_row + 1) * skipped,
    )
