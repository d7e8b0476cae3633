"""Ask a source of supervision, once: what it said is journaled, and what is in the journal is not asked again."""

from collections.abc import Sequence

from critica.records.journal import Answer, Journal, question_digest
from critica.records.supervision import Verdict
from critica.rewards.base import RewardSource, ScoreRequest, VerdictSource, scope_of, verdicts_of


def ask(
    source: RewardSource, items: Sequence[ScoreRequest], journal: Journal, step: int, role: str = ""
) -> list[Verdict]:
    """One verdict per item, by index. The journal's answer counts if it was given about the same text.

    A source that compares siblings is asked again about a whole group if an answer of it is missing. `role` keeps
    apart what sources of one name were asked for: the answer that is judged, and the audit of that judgment.
    """
    name = f"{role}: {source.name}" if role else source.name
    digests = [question_digest(item.task.task_id, item.text) for item in items]
    known = {(a.trajectory_id, a.digest): a.verdict for a in journal.recall(step) if a.source == name}
    open_items = [i for i, item in enumerate(items) if (item.trajectory_id, digests[i]) not in known]
    if scope_of(source) != "sample" and open_items:
        together = {items[i].group for i in open_items}
        whole = scope_of(source) == "batch"
        open_items = [i for i, item in enumerate(items) if whole or item.group in together]
    heard = sorted(set(range(len(items))) - set(open_items))
    if heard and isinstance(source, VerdictSource):
        source.recalled([items[i] for i in heard], [known[items[i].trajectory_id, digests[i]] for i in heard])
    if open_items:
        said = verdicts_of(source, [items[i] for i in open_items])
        answers = [
            Answer(name, items[i].trajectory_id, digests[i], verdict)
            for i, verdict in zip(open_items, said, strict=True)
        ]
        journal.record(step, answers)
        known |= {(answer.trajectory_id, answer.digest): answer.verdict for answer in answers}
    return [known[item.trajectory_id, digest] for item, digest in zip(items, digests, strict=True)]
