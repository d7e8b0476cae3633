"""`critica inspect`: what a run folder holds, whether its books balance, whether its checkpoints are good."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from critica.cli.output import show, show_json, table

if TYPE_CHECKING:
    from critica.store.audit import Audit, Tally
    from critica.store.run_folder import RunFolder

FAILED = 1
REASONS_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Look into a run folder: how far it came, its checkpoints byte by byte, its bad steps, and its books.

    The books: every prompt and sample that came in was trained, masked (in the batch with weight 0), filtered (turned
    away before the batch) or failed (no outcome), each once. Exit status 1 when they do not balance or a checkpoint
    is not good. Reading never changes the run, also while it is being written.

    Examples:
      critica inspect runs/first
      critica inspect runs/first --ledger            # where every sample went, and why
      critica inspect runs/first --ledger --json
    """

    # The run folder.
    run: Annotated[Positional[str], arg(metavar="RUN")]

    # Show the ledger: entries by state and by reason.
    ledger: bool = False

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read, add up, compare."""
        from critica.store.audit import audit
        from critica.store.run_folder import RunFolder

        store = RunFolder.open(Path(self.run))
        found = audit(store)
        sound = not found.problems and not any(state.problem for state in found.checkpoints)
        if self.json:
            show_json(as_json(store, found))
        else:
            show("\n".join([*overview(store, found), *(ledger_text(found) if self.ledger else [])]))
        return 0 if sound else FAILED


def as_json(store: "RunFolder", found: "Audit") -> dict[str, Any]:
    """Everything, for a program."""
    return {
        "run": str(store.path),
        "manifest": asdict(store.manifest),
        "balanced": not found.problems,
        **asdict(found),
        "bad_steps": {step: store.poison.fault(step).sentence for step in store.poison.steps},
        "journaled_steps": store.journal.steps,
    }


def overview(store: "RunFolder", found: "Audit") -> list[str]:
    """The run in a few lines."""
    made = store.manifest
    good = [str(state.step) for state in found.checkpoints if not state.problem]
    lines = [
        f"{store.path}: {made.recipe} on {made.environment}, noise {made.noise}, seed {made.seed}, {made.created_at}",
        f"steps        {max(0, found.last_step)} done",
        f"checkpoints  {', '.join(good) or 'none'} good, every byte checked",
    ]
    lines += [f"             NOT GOOD: {state.problem}" for state in found.checkpoints if state.problem]
    for step in store.poison.steps:
        lines.append(f"bad step     {step}: {store.poison.fault(step).sentence} (critica replay {store.path} {step})")
    lines.append(f"prompts      {sum_of(found.prompts)}")
    lines.append(f"samples      {sum_of(found.samples)}")
    if found.problems:
        lines += [f"books        DO NOT BALANCE: {problem}" for problem in found.problems]
    else:
        lines.append("books        balance: each counted once, in agreement with rollouts and checkpoints")
    return lines


def sum_of(tally: "Tally") -> str:
    """The equation of the books."""
    parts = " + ".join(f"{count:,} {state}" for state, count in tally.states.items())
    return f"{tally.total:,} in = {parts}"


def ledger_text(found: "Audit") -> list[str]:
    """Why entries were not trained, most frequent first."""
    lines = []
    for what, tally in (("prompts", found.prompts), ("samples", found.samples)):
        rows = [(f"{what}, state: reason", "entries")]
        rows += [(reason, f"{count:,}") for reason, count in list(tally.reasons.items())[:REASONS_SHOWN]]
        rows += [("(nothing but trained)", "")] if len(rows) == 1 else []
        left = len(tally.reasons) - REASONS_SHOWN
        rows += [(f"({left} more reasons: --json has them all)", "")] if left > 0 else []
        lines += ["", table(rows)]
    return lines
