"""`critica replay`: do a recorded step again and compare the bits."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Positive
from critica.cli.output import quiet_libraries, say, show, show_json

if TYPE_CHECKING:
    from critica.training.replay import Replay

DIFFERS = 1
ROWS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class ReplayStep:
    """Do a step of a run again, from the nearest checkpoint before it, told what its journal says it was told.

    Compares metrics, ledger, rollouts and weights bit for bit; exit status 1 if anything differs. For a step in which
    a number was not finite, says which number, and in which trajectories. The run itself is not changed.

    Examples:
      critica replay runs/first 120
      critica replay runs/first 120 --keep runs/again     # keep what the replay wrote, itself a run folder
    """

    # The run folder.
    run: Annotated[Positional[str], arg(metavar="RUN")]

    # The step.
    step: Annotated[Positional[Positive], arg(metavar="STEP")]

    # A new folder for what the replay writes; by default a temporary one.
    keep: Annotated[str, arg(metavar="DIR")] = ""

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Run it, compare, say what was found."""
        from critica.training.progress import Lines
        from critica.training.replay import replay

        quiet_libraries()
        with tempfile.TemporaryDirectory(prefix="critica-replay-") as temporary:
            scratch = Path(self.keep or f"{temporary}/run")
            found = replay(self.run, self.step, scratch, reporter=Lines, notify=say)
            if self.json:
                show_json({"run": self.run, **asdict(found), "same": not found.differences})
            else:
                show("\n".join(described(found, Path(self.run))))
        return DIFFERS if found.differences else 0


def described(found: "Replay", run: Path) -> list[str]:
    """What the replay showed, in sentences."""
    span = f"steps {found.base + 1} to {found.step}" if found.step > found.base + 1 else f"step {found.step}"
    lines = []
    if found.differences:
        lines += [f"{span}: not as recorded:", *(f"  {difference}" for difference in found.differences)]
        lines.append("  bits depend on the machine, the thread count, the versions and a compiled kernel: see run.json")
    else:
        lines.append(f"{span}: bit for bit as recorded (metrics, ledger, rollouts, shared checkpoints)")
    if found.asked_again:
        lines.append(f"{found.asked_again} answers were not in the journal and were asked for again")
    if found.fault is not None:
        lines += [f"step {found.step} was skipped: {found.fault.sentence}", *shown_rows(run, found)]
    return lines


def shown_rows(run: Path, found: "Replay") -> list[str]:
    """The first trajectories that the fault touches, as text."""
    from critica.store.run_folder import RunFolder

    assert found.fault is not None
    columns = ["trajectory_id", "prompt", "text"]
    table = RunFolder.open(run).rollouts(found.step, columns).to_pylist()
    rows = [row for row in table if row["trajectory_id"] in found.fault.rows[:ROWS_SHOWN]]
    lines = [f"  {row['trajectory_id']}: {row['prompt']!r} -> {row['text']!r}" for row in rows]
    return [*lines, f"  the arrays are in {RunFolder.open(run).poison.path_of(found.step)}/batch.safetensors"]
