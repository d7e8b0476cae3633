"""Who writes criteria: a model asked for some about one task, and for each whether it is one that can be checked."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial

from critica.rewards.judge_criteria import Criterion
from critica.rewards.judge_panel import Question
from critica.rewards.judge_text import Section, Unreadable, answer_object, attributed, question_messages

WRITER = (
    "You write criteria by which responses to a task can be told apart. Each is one sentence that a reader of a"
    " response can answer with yes or no."
)
SHOWN = "These criteria are there already; write others."
META = "You check whether a criterion is fit to judge responses to a task."
FLAGS = ("atomic", "checkable", "relevant", "length_only")
LONGEST = 300  # characters of a criterion


def named(text: str) -> Criterion:
    """A criterion that somebody wrote; its id says which text it is."""
    return Criterion(f"w{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}", text)


def writer_question(task: Sequence[Section], known: Sequence[str], count: int, draw: int = 0) -> Question:
    """For `count` criteria beside the known ones."""
    sections = [*task, *(attributed("example", text, kind="criterion") for text in known)]
    form = json.dumps({"criteria": [f"at most {count} sentences"]})
    instructions = f"{WRITER} {SHOWN}" if known else WRITER
    return Question(question_messages(instructions, sections, form), partial(read_written, count), draw)


def read_written(count: int, text: str) -> tuple[str, ...]:
    """At most `count` different sentences."""
    said = answer_object(text, "criteria")
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise Unreadable("its criteria are no list of sentences")
    clean = [" ".join(one.split()) for one in said]
    return tuple(dict.fromkeys(one for one in clean if 0 < len(one) <= LONGEST))[:count]


def meta_question(task: Sequence[Section], text: str) -> Question:
    """Whether a criterion is atomic, checkable, relevant, and about more than length."""
    sections = [*task, attributed("criterion", text, id=named(text).id, choices="no|yes")]
    form = json.dumps({"flags": dict.fromkeys(FLAGS, "yes or no")})
    return Question(question_messages(META, sections, form), read_fit)


def read_fit(answer: str) -> bool:
    """Whether the criterion may be used."""
    flags = answer_object(answer, "flags")
    if not isinstance(flags, dict) or any(flags.get(name) not in ("yes", "no") for name in FLAGS):
        raise Unreadable(f"its flags are not yes or no for each of {', '.join(FLAGS)}")
    return [flags[name] for name in FLAGS] == ["yes", "yes", "yes", "no"]
