"""Everything that a report tells of a run, read once."""

from dataclasses import dataclass

from critica.records.outcome import Difference, NamedReport
from critica.store.evaluations import gains, load_evaluations
from critica.store.run_folder import RunFolder, StepMetrics
from critica.viewer.calibration import CriticPicture, picture_critic
from critica.viewer.contest import Contest, hold_contest
from critica.viewer.drift import Sign, held_out_signs, signs_of
from critica.viewer.dropped import LedgerRow, ledger_rows
from critica.viewer.pushes import NoiseEffect, noise_effect
from critica.viewer.rollouts import ShownAnswers, pick_rollouts
from critica.viewer.surprises import Surprises, find_surprises
from critica.viewer.tasks import HeldOutChange, SampledChange, held_out_changes, sampled_changes
from critica.viewer.window import WINDOW, ends, read_window


@dataclass(frozen=True, slots=True)
class Story:
    """A run's metrics and clock, and what was found in its last steps' rollouts, evaluations and books."""

    run: RunFolder
    lines: tuple[StepMetrics, ...]
    timing: tuple[StepMetrics, ...]
    reports: tuple[NamedReport, ...]
    gains: tuple[Difference, ...]
    picture: CriticPicture
    contest: Contest
    surprises: Surprises
    answers: ShownAnswers
    noise: NoiseEffect
    ledger: tuple[LedgerRow, ...]
    signs: tuple[Sign, ...]
    held_out: tuple[HeldOutChange, ...]
    sampled: tuple[SampledChange, ...]


def read_story(run: RunFolder) -> Story:
    """Read the run folder. Rollouts are read of the first ten, the last ten and six more steps, however many it has."""
    lines, reports = tuple(run.metrics()), load_evaluations(run.path)
    differences = gains(reports)
    steps = run.rollout_steps
    first_steps, end_steps = ends(steps)
    last = tuple(read_window(run, steps[-WINDOW:]))
    end = set(end_steps)
    first_rows = [row for step in read_window(run, first_steps) for row in step.rows]
    last_rows = [row for step in last for row in step.rows]
    end_rows = [row for row in last_rows if row.step in end]
    contest = hold_contest(last)
    surprises = find_surprises(() if contest.silent else last)
    return Story(
        run=run,
        lines=lines,
        timing=tuple(run.timing()),
        reports=reports,
        gains=differences,
        picture=picture_critic(() if contest.silent else last),
        contest=contest,
        surprises=surprises,
        answers=pick_rollouts(run, surprises),
        noise=noise_effect(last_rows),
        ledger=ledger_rows(run),
        signs=(*held_out_signs(differences, reports), *signs_of(lines, first_rows, end_rows)),
        held_out=held_out_changes(reports, differences),
        sampled=sampled_changes(lines, first_rows, end_rows),
    )
