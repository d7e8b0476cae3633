"""Sentences about a board that its intervals allow, and no others."""

import math

from critica.benches.noise_settings import CONTROLS
from critica.benches.noise_verdict import RIVALS, Board, Cell
from critica.functional.statistics import Interval

KEEPS, LOSES = 0.95, 0.85  # the goal: the best critic keeps so much of its clean accuracy where GRPO keeps at most that


def claims(board: Board) -> list[str]:
    """Everything that is said about this mix, in order."""
    return [
        *kept_claims(board), *rival_claims(board), *apart_claims(board), *control_claims(board),
        *collapse_claims(board), chance(board),
    ]  # fmt: skip


def kept_claims(board: Board) -> list[str]:
    """Who keeps how much of its own clean accuracy, on average over the noisy columns."""
    if not board.retained:
        return ["No arm was run both on clean and on noisy rewards: nothing is said about what is kept."]
    columns = next(iter(board.retained.values()))[1]
    sure = [f"{arm} {share(i)}" for arm, (i, _) in board.retained.items() if i.low >= KEEPS]
    below = [f"{arm} {share(i)}" for arm, (i, _) in board.retained.items() if i.high < KEEPS]
    open_ = [f"{arm} {share(i)}" for arm, (i, _) in board.retained.items() if not (i.low >= KEEPS or i.high < KEEPS)]
    lines = [
        f"Of its own clean accuracy, on average over {columns} noisy column{'s' * (columns != 1)}, at least"
        f" {100 * KEEPS:.0f}% is kept by: {', '.join(sure) or 'none'}; less by: {', '.join(below) or 'none'};"
        f" undecided: {', '.join(open_) or 'none'}."
    ]
    if "grpo" in board.retained:
        kept = board.retained["grpo"][0]
        word = "yes" if kept.high <= LOSES else "no" if kept.low > LOSES else "undecided"
        lines.append(f"GRPO keeps at most {100 * LOSES:.0f}%: {word} ({share(kept)}).")
    return lines


def rival_claims(board: Board) -> list[str]:
    """Paired by seed, column by column, against each rival."""
    lines = []
    for rival in RIVALS:
        compared = [
            (cell, gain)
            for noise in board.noises
            for arm in board.arms
            if (cell := board.cell(noise, arm)) is not None and (gain := cell.over[rival]) is not None
        ]
        if not compared:
            continue
        above = [f"{named(cell)} {points(gain)}" for cell, gain in compared if gain.low > 0]
        below = [f"{named(cell)} {points(gain)}" for cell, gain in compared if gain.high < 0]
        rest = len(compared) - len(above) - len(below)
        lines.append(
            f"Final accuracy against {rival}, paired by seed: better beyond the interval: {', '.join(above) or 'none'};"
            f" worse: {', '.join(below) or 'none'}; undecided: {rest} of {len(compared)}."
        )
    return lines


def apart_claims(board: Board) -> list[str]:
    """In how many noisy columns an arm's own interval lies wholly above GRPO's and PPO's."""
    lines = []
    for arm in board.arms:
        if arm in RIVALS:
            continue
        judged = [noise for noise in board.noisy if all(board.cell(noise, one) for one in (arm, *RIVALS))]
        won = [noise for noise in judged if all(apart(board, noise, arm, rival) for rival in RIVALS)]
        if judged and won:
            most = "most" if 2 * len(won) > len(judged) else "not most"
            lines.append(
                f"{arm} lies above GRPO and PPO with intervals that do not overlap in {len(won)} of {len(judged)} noisy"
                f" columns ({', '.join(f'`{noise}`' for noise in won)}): {most} of them."
            )
    columns = [noise for noise in board.noisy if all(board.cell(noise, rival) for rival in RIVALS)]
    if columns and not lines:
        lines.append(
            f"In none of {len(columns)} noisy columns does any arm's interval lie wholly above both GRPO's and PPO's."
        )
    return lines


def apart(board: Board, noise: str, arm: str, rival: str) -> bool:
    """Whether the arm's interval of final accuracy lies wholly above the rival's."""
    mine, other = board.cell(noise, arm), board.cell(noise, rival)
    return mine is not None and other is not None and mine.final.low > other.final.high


def control_claims(board: Board) -> list[str]:
    """Who gains under a control, where what is told teaches nothing: whatever it does, it needs no truth."""
    lines = []
    for noise in board.noises:
        if noise not in CONTROLS:
            continue
        risen = [
            f"{arm} {100 * board.start:.0f} -> {100 * cell.final.estimate:.0f}"
            for arm in board.arms
            if (cell := board.cell(noise, arm)) is not None and cell.final.low > board.start
        ]
        lines.append(
            f"Under the control `{noise}` above the start, beyond the interval: {', '.join(risen) or 'none'}."
            + (" What they gain elsewhere may need as little of the supervision." if risen else "")
        )
    return lines


def collapse_claims(board: Board) -> list[str]:
    """Who ended below where it started."""
    fallen = [cell for cell in board.cells if cell.collapsed]
    told = ", ".join(f"{named(cell)} {cell.collapsed} of {len(cell.seeds)} seeds" for cell in fallen)
    lines = [
        f"Collapsed (ended below {100 * board.floor:.1f}, the lower end of the start's interval): {told or 'none'}."
    ]
    idle = [f"{named(cell)} {cell.idle} of {len(cell.seeds)} seeds" for cell in board.cells if cell.idle]
    if idle:
        lines.append(f"Found no group to learn from before all was drawn, and stayed as it was: {', '.join(idle)}.")
    return lines


def chance(board: Board) -> str:
    """How many comparisons there were, and what chance alone would find."""
    count = sum(gain is not None for cell in board.cells for gain in cell.over.values())
    return f"{count} paired comparisons with 95% intervals: by chance alone about {count / 20:.0f} would exclude 0."


def named(cell: Cell) -> str:
    """The arm and its noise."""
    return f"{cell.arm} under `{cell.noise}`"


def points(gain: Interval) -> str:
    """A difference in points with its interval."""
    if not math.isfinite(gain.low):
        return f"{100 * gain.estimate:+.1f} (one seed)"
    return f"{100 * gain.estimate:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


def share(kept: Interval) -> str:
    """A share in percent with its interval."""
    if not math.isfinite(kept.low):
        return f"{100 * kept.estimate:.0f}% (one seed)"
    return f"{100 * kept.estimate:.0f}% [{100 * kept.low:.0f}, {100 * kept.high:.0f}]"
