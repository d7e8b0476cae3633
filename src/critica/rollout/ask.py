"""Ask a source of supervision, once: what it said is journaled, and what is in the journal is not asked again."""

from collections.abc import Sequence

from critica.records.journal import Answer, Journal, question_digest
from critica.records.supervision import Outcome
from critica.rewards.base import RewardSource, ScoreRequest


def ask(source: RewardSource, items: Sequence[ScoreRequest], journal: Journal, step: int) -> list[Outcome]:
    """One outcome per item, by index. The journal's answer counts if it was given about the same text."""
    digests = [question_digest(item.task.task_id, item.text) for item in items]
    known = {(a.trajectory_id, a.digest): a.outcome for a in journal.recall(step) if a.source == source.name}
    open_items = [i for i, item in enumerate(items) if (item.trajectory_id, digests[i]) not in known]
    if open_items:
        said = source.scores([items[i] for i in open_items])
        answers = [
            Answer(source.name, items[i].trajectory_id, digests[i], outcome)
            for i, outcome in zip(open_items, said, strict=True)
        ]
        journal.record(step, answers)
        known |= {(answer.trajectory_id, answer.digest): answer.outcome for answer in answers}
    return [known[item.trajectory_id, digest] for item, digest in zip(items, digests, strict=True)]
