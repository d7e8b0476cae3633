"""Extract, then verify: a model copies what a criterion names, and a rule compares the copy with the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from critica.records.supervision import Scored
from critica.rewards.base import RewardSource, ScoreRequest
from critica.rewards.judge_criteria import Criterion, Value, shown
from critica.rewards.judge_panel import Heard, Question
from critica.rewards.judge_text import Section, Unreadable, answer_object, attributed, question_messages

INSTRUCTIONS = "You copy one thing out of a response, letter by letter. You do not solve the task and correct nothing."
ABSENT = ""


def extract_question(item: ScoreRequest, criterion: Criterion, sees: Sequence[str]) -> Question:
    """What to copy, from which response. No answer of the task or the criterion is in it: it is not asked for one."""
    sections = [*shown(item.task, sees), Section("response", item.text)]
    sections.append(attributed("extract", criterion.text, id=criterion.id))
    form = '{"value": "what the response says, or null if it does not say it"}'
    return Question(question_messages(INSTRUCTIONS, sections, form), partial(read_copy, item.text))


def read_copy(response: str, text: str) -> str:
    """What was copied; empty for null. Raises `Unreadable` for what does not stand in the response."""
    value = answer_object(text, "value")
    if value is None:
        return ABSENT
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Unreadable("its value is no text")
    copied = str(value).strip()
    if squeezed(copied) not in squeezed(response):
        raise Unreadable(f"{copied[:80]!r} does not stand in the response, so it was not copied")
    return copied


def verified(
    asked: Sequence[tuple[ScoreRequest, Criterion]], heard: Sequence[Heard], verifier: RewardSource
) -> list[Value]:
    """What the rule says of each copy, from 0 to 1. What the response does not say is wrong."""
    copies = [(i, one.said) for i, one in enumerate(heard) if one.missing is None and one.said != ABSENT]
    questions = []
    for i, text in copies:
        item, criterion = asked[i]
        task = replace(item.task, answer=criterion.answer or item.task.answer)
        questions.append(ScoreRequest(task, item.trajectory_id, text, item.group, item.step))
    found: Mapping[int, Any] = {
        i: outcome for (i, _), outcome in zip(copies, verifier.scores(questions) if questions else [], strict=True)
    }
    values: list[Value] = []
    for i, one in enumerate(heard):
        outcome = found.get(i)
        if one.missing is not None:
            values.append(one.missing)
        elif isinstance(outcome, Scored):
            values.append((outcome.value - verifier.low) / (verifier.high - verifier.low))
        else:
            values.append(0.0 if outcome is None else outcome)
    return values


def squeezed(text: str) -> str:
    """Without blanks and case."""
    return "".join(text.split()).casefold()
