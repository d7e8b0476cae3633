"""Hints: a source that waits for others is told of each answer as its last token is written, and may begin at once."""

import contextlib
from collections.abc import Callable, Sequence

from critica.policies.base import Ended
from critica.records.journal import Journal, question_digest
from critica.rewards.base import RewardSource, ScoreRequest, VerdictSource
from critica.rollout.samples import Want, trajectory_name


def hints(
    source: RewardSource, journal: Journal, wants: Sequence[Want], step: int, decode: Callable[[Sequence[int]], str]
) -> Ended | None:
    """What the decoder tells of each row that ends, for a source that can use it; None for any other.

    The journal's answers are not asked for again, so nobody is told of them. A hint that fails is no failure: the
    question itself will say what is wrong.
    """
    if not isinstance(source, VerdictSource) or not source.takes_hints:
        return None
    rows = [(want, index) for want in wants for index in want.places]
    known = {(answer.trajectory_id, answer.digest) for answer in journal.recall(step) if answer.source == source.name}

    def ended(row: int, token_ids: tuple[int, ...]) -> None:
        want, index = rows[row]
        name, text = trajectory_name(step, want.slot, index), decode(token_ids)
        if (name, question_digest(want.task.task_id, text)) in known:
            return
        with contextlib.suppress(Exception):
            item = ScoreRequest(want.task, name, text, f"{step}.{want.slot}", step, len(token_ids))
            source.hint(item, len(rows))

    return ended
