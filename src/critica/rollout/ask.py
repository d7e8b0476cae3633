"""Ask a source of supervision, once: what it said is journaled, and what is in the journal is not asked again."""

from collections.abc import Sequence
from dataclasses import replace

from critica.records.journal import Answer, Journal, question_digest
from critica.records.supervision import Verdict
from critica.rewards.base import RewardSource, ScoreRequest, memory_of, remind, scope_of, verdicts_of


def ask(
    source: RewardSource, items: Sequence[ScoreRequest], journal: Journal, step: int, role: str = ""
) -> list[Verdict]:
    """One verdict per item, by index. The journal's answer counts if it was given about the same text.

    A source that compares siblings is asked again about a whole group if an answer of it is missing, and one with a
    memory about everything; if none is missing its memory becomes what it was after these answers. `role` keeps apart
    what sources of one name were asked for: the answer that is judged, and the audit of that judgment.
    """
    name = f"{role}: {source.name}" if role else source.name
    digests = [question_digest(item.task.task_id, item.text) for item in items]
    keys = [(item.trajectory_id, digest) for item, digest in zip(items, digests, strict=True)]
    known = {(a.trajectory_id, a.digest): a for a in journal.recall(step) if a.source == name}
    open_items = asked_again(source, items, [key in known for key in keys])
    if open_items:
        said = verdicts_of(source, [items[i] for i in open_items])
        answers = [
            Answer(name, items[i].trajectory_id, digests[i], verdict)
            for i, verdict in zip(open_items, said, strict=True)
        ]
        answers[-1] = replace(answers[-1], memory=memory_of(source))
        journal.record(step, answers)
        known |= {(answer.trajectory_id, answer.digest): answer for answer in answers}
    else:
        for memory in [known[key].memory for key in keys if known[key].memory][-1:]:
            remind(source, memory)
    return [known[key].verdict for key in keys]


def asked_again(source: RewardSource, items: Sequence[ScoreRequest], known: Sequence[bool]) -> list[int]:
    """Which items the source has to be asked about."""
    missing = [i for i, found in enumerate(known) if not found]
    if missing and (scope_of(source) == "batch" or memory_of(source)):
        return list(range(len(items)))
    if missing and scope_of(source) == "group":
        groups = {items[i].group for i in missing}
        return [i for i, item in enumerate(items) if item.group in groups]
    return missing
