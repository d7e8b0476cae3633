"""Which samples were not learned from, why, and some of each reason by name."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from critica.records.run import LEDGER_STATES
from critica.store.audit import short_reason
from critica.store.run_folder import RunFolder

NAMED = 20  # samples named for one reason: the latest
MEANING = {  # of the loop's own reasons
    "zero_variance": "all answers to the prompt were told the same, so none is better than another",
    "critic_warmup": "the critic learns alone in these steps",
    "no_baseline": "no other answer to the prompt has an outcome to compare with",
    "no_outcome": "no answer to the prompt has an outcome",
}


@dataclass(frozen=True, slots=True)
class NamedSample:
    """One sample or prompt that was dropped; a prompt's own entry has no trajectory."""

    step: int
    trajectory_id: str
    task_id: str


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """How many samples and prompts ended in one state for one reason, and the latest of them unless trained."""

    state: str
    reason: str
    samples: int
    prompts: int
    named: tuple[NamedSample, ...]


def ledger_rows(run: RunFolder) -> tuple[LedgerRow, ...]:
    """Counts by state and reason, in the ledger's order of states, most samples first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    latest: dict[tuple[str, str], deque[NamedSample]] = {}
    for line in run.ledger():
        state, reason, kind = str(line["state"]), short_reason(str(line["reason"])), str(line["kind"])
        counts[state, reason, kind] += 1
        if state != "trained" and kind == "sample":
            sample = NamedSample(int(str(line["step"])), str(line["trajectory_id"]), str(line["task_id"]))
            latest.setdefault((state, reason), deque(maxlen=NAMED)).append(sample)
    keys = {(state, reason) for state, reason, _ in counts}
    rows = [
        LedgerRow(s, r, counts[s, r, "sample"], counts[s, r, "prompt"], tuple(reversed(latest.get((s, r), ()))))
        for s, r in keys
    ]
    return tuple(sorted(rows, key=lambda row: (LEDGER_STATES.index(row.state), -row.samples, row.reason)))  # type: ignore[arg-type]


def dropped_sentence(rows: Iterable[LedgerRow]) -> str:
    """How many samples of how many were dropped, and the commonest reasons."""
    rows = tuple(rows)
    total = sum(row.samples for row in rows)
    lost = sorted((row for row in rows if row.state != "trained" and row.samples), key=lambda row: -row.samples)
    if not total:
        return "No sample is in the books yet."
    if not lost:
        return f"None: all {total:,} samples were trained on."
    said = "; ".join(f"{row.samples:,} {row.state} ({MEANING.get(row.reason, row.reason)})" for row in lost[:3])
    more = f"; and {len(lost) - 3} reasons more" if len(lost) > 3 else ""
    count = sum(row.samples for row in lost)
    return f"{count:,} of {total:,} ({100 * count / total:.1f}%): {said}{more}."
