"""Judged with hindsight: what an answer leads to is played out first, and the judge sees what happened (RLHS)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from critica.environments.base import Environment
from critica.records.supervision import Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.exposure import read_needs
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import (
    Criterion,
    Said,
    Wanted,
    ask_criteria,
    check_criteria,
    known_mean,
    shown,
)
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_reward import QUALITY
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section, Unreadable, answer_object, question_messages
from critica.rewards.workers import WorkerLimits

WORLD = (
    "You play the world. Someone got this response to their task and acted on it. Say what happens then, plainly and"
    " as it would really turn out, whatever the response promises."
)
INSTRUCTIONS = (
    "You judge a response to a task after the fact: you know what happened to the person who acted on it. For each"
    " criterion say which of its choices fits best, or null where it does not apply."
)
OUTCOME = "outcome: "  # the part of a verdict that holds what happened
LONGEST = 500  # characters of it that are kept with the verdict


@dataclass(frozen=True)
class Hindsight(RewardConfig):
    """r = judge(task, answer, z) with z = world(task, answer): feedback is given after the consequences.

    A judge who only reads an answer pays for what sounds good; one who knows what came of it does not. The same model
    plays the world and the judge, in two questions; the world is shown `world_sees` (facts that the judge need not be
    shown, such as info.KEY), the judge `needs` and z. What happened is kept in the verdict's parts.
    Source: RLHS (arXiv 2501.08617), where the world is simulated by a language model too.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    criteria: tuple[Criterion, ...] = (QUALITY,)
    needs: tuple[str, ...] = ("prompt",)
    world_sees: tuple[str, ...] = ("prompt",)
    world: str = WORLD
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        check_criteria(self.criteria)
        read_needs(self.needs)
        read_needs(self.world_sees)
        if not self.criteria:
            raise ValueError("reward.criteria needs at least one criterion")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "HindsightSource":  # noqa: B008
        """The live source."""
        return HindsightSource(self, Panel(self.judge.build(environment, limits), self.asking))


class HindsightSource(JudgedSource):
    """The live source: two rounds of questions a step."""

    name = "hindsight"
    scales = (Scale("hindsight", 0.0, 1.0),)

    def __init__(self, part: Hindsight, panel: Panel) -> None:
        self.part, self.panel = part, panel
        self.needs = read_needs(tuple(dict.fromkeys((*part.needs, *part.world_sees))))

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """What happens, then what is thought of it. Where nothing is known to have happened, nothing is thought."""
        part = self.part
        answers = [Section("response", item.text) for item in items]
        worlds = self.panel.ask([self._world(item) for item in items])
        wanted = [
            Wanted(
                (*shown(item.task, part.needs), answer, Section("outcome", str(world.said))),
                part.criteria if world.missing is None else (),
            )
            for item, answer, world in zip(items, answers, worlds, strict=True)
        ]
        verdicts = []
        for world, said in zip(worlds, ask_criteria(self.panel, wanted, instructions=INSTRUCTIONS), strict=True):
            questions, tokens = world.questions + said.questions, float(world.tokens + said.tokens)
            happened = {f"{OUTCOME}{str(world.said)[:LONGEST]}": 1.0} if world.missing is None else {}
            outcome = world.missing if world.missing is not None else self._outcome(said)
            verdicts.append(Verdict((outcome,), asked_parts(questions, said.values) | happened, cost=tokens))
        return verdicts

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """What happens."""
        return (self._world(item),)

    def _world(self, item: ScoreRequest) -> Question:
        sections = (*shown(item.task, self.part.world_sees), Section("response", item.text))
        return world_question(sections, self.part.world)

    def _outcome(self, said: Said) -> Outcome:
        found = known_mean(self.part.criteria, said.values)
        return Scored(*found) if isinstance(found, tuple) else found


def world_question(sections: Sequence[Section], instructions: str) -> Question:
    """What happens to someone who acts on the answer."""
    form = json.dumps({"outcome": "what happens, in one or two sentences"})
    return Question(question_messages(instructions, sections, form), read_outcome)


def read_outcome(text: str) -> str:
    """What happens."""
    said = answer_object(text, "outcome")
    if not isinstance(said, str) or not said.strip():
        raise Unreadable("what happens is no text")
    return said.strip()
