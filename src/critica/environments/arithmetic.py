"""Worked arithmetic with an oracle for every step: several ways of writing the steps, five difficulties.

An expression is reduced one operator at a time, the leftmost product first, then from the left:

    7+5-3*2     running  `3*2=6;7+5=12;12-6=6`     rewrite  `=7+5-6=12-6=6`     results  `6,12,6`
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from critica.environments.base import Environment, EnvironmentConfig, EnvironmentProblem
from critica.environments.easier import easier
from critica.functional.random import generator
from critica.records.words import Message, Task

StepFormat = Literal["running", "rewrite", "results"]
FORMATS: tuple[StepFormat, ...] = get_args(StepFormat)
Expression = tuple[int | str, ...]  # never empty: number, operator, number, ...; only the first number may be negative


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How long, how large, with which operators."""

    min_terms: int
    max_terms: int
    max_number: int
    operators: str


DIFFICULTIES = (
    Difficulty(2, 3, 9, "+-"),
    Difficulty(3, 5, 9, "+-"),
    Difficulty(3, 5, 20, "+-"),
    Difficulty(3, 5, 9, "+-*"),
    Difficulty(4, 7, 20, "+-*"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """Characters [start, end) of a worked answer.

    `correct`: it follows from the line that the writer had, right or wrong. `on_track`: what stands now still has the
    task's value, so that flawless work from here on wins.
    """

    start: int
    end: int
    text: str
    correct: bool
    on_track: bool


def evaluate(expression: Expression) -> int:
    """The expression's value, products first."""
    line = list(expression)
    while len(line) > 1:
        line = list(reduce(tuple(line))[0])
    return int(line[0])


def reduce(expression: Expression) -> tuple[Expression, Expression, int]:
    """(expression after the next reduction, the three items that were reduced, their value)."""
    place = expression.index("*") if "*" in expression else 1
    left, operator, right = (expression[place + i] for i in (-1, 0, 1))
    value = apply(int(left), str(operator), int(right))
    return (*expression[: place - 1], value, *expression[place + 2 :]), (left, operator, right), value


def apply(left: int, operator: str, right: int) -> int:
    """left operator right."""
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def render(expression: Expression) -> str:
    """The expression as text, without blanks."""
    return "".join(map(str, expression))


def parse(text: str) -> Expression | None:
    """The expression that a text spells; None if it spells none."""
    if not re.fullmatch(r"-?[0-9]{1,18}([-+*][0-9]{1,18})*", text):
        return None
    items = re.findall(r"^-?[0-9]+|[0-9]+|[-+*]", text)
    return tuple(item if item in "+-*" else int(item) for item in items)


def demonstrate(expression: Expression, step_format: StepFormat) -> str:
    """The flawless worked answer."""
    parts = []
    while len(expression) > 1:
        expression, used, value = reduce(expression)
        parts.append(
            {"running": f"{render(used)}={value}", "rewrite": f"={render(expression)}", "results": str(value)}[
                step_format
            ]
        )
    return {"running": ";", "rewrite": "", "results": ","}[step_format].join(parts)


def final_number(text: str) -> int | None:
    """The number after the last `=`, `;` or `,` (or the whole text); None if that is no number."""
    last = re.split(r"[=;,]", text)[-1].strip()
    return int(last) if re.fullmatch(r"-?[0-9]{1,18}", last) else None


def judge_steps(expression: Expression, text: str, step_format: StepFormat) -> tuple[Step, ...]:
    """Every step of a worked answer, judged. A step that cannot be read is wrong and leaves the line as it was."""
    answer = evaluate(expression)
    line: Expression = expression
    steps = []
    for start, end, written in _pieces(text, step_format):
        following, correct = _judge(line, written, step_format)
        line = following if following is not None else line
        steps.append(Step(start, end, written, correct, following is not None and evaluate(line) == answer))
    return tuple(steps)


def _judge(line: Expression, written: str, step_format: StepFormat) -> tuple[Expression | None, bool]:
    """(the line that the writer has now, None if unreadable; whether the step follows from the line before)."""
    if len(line) == 1:
        return None, False  # nothing was left to do
    expected, used, value = reduce(line)
    if step_format == "rewrite":
        return parse(written), written == render(expected)
    claim = written
    operands_right = True
    if step_format == "running":
        left, _, claim = written.partition("=")
        operands_right = left == render(used)
    claimed = final_number(claim) if re.fullmatch(r"-?[0-9]+", claim) else None
    if claimed is None:
        return None, False
    place = line.index("*") if "*" in line else 1
    following = (*line[: place - 1], claimed, *line[place + 2 :])
    if claimed < 0 and place > 1:
        return None, False  # a product of two numbers of the line is never negative
    return following, operands_right and claimed == value


def _pieces(text: str, step_format: StepFormat) -> Iterator[tuple[int, int, str]]:
    pattern = {"running": r"[^;]+", "rewrite": r"[^=]+", "results": r"[^,]+"}[step_format]
    for match in re.finditer(pattern, text):
        if match[0].strip():
            yield match.start(), match.end(), "".join(match[0].split())


@dataclass(frozen=True)
class Arithmetic(EnvironmentConfig):
    """Expressions of one difficulty (1 to 5), to be worked in one step format."""

    difficulty: int = 2
    step_format: StepFormat = "running"
    max_new_tokens: int = 96

    def __post_init__(self) -> None:
        if not 1 <= self.difficulty <= len(DIFFICULTIES):
            raise EnvironmentProblem(f"arithmetic has difficulties 1 to {len(DIFFICULTIES)}, not {self.difficulty}")
        if self.step_format not in FORMATS:
            raise EnvironmentProblem(f"arithmetic has the step formats {', '.join(FORMATS)}, not {self.step_format!r}")

    def build(self, seed: int) -> "ArithmeticEnvironment":
        """The live environment."""
        return ArithmeticEnvironment(self, seed)


class ArithmeticEnvironment(Environment):
    """The live environment: `demonstration` writes the flawless answer, `steps` judges any."""

    def __init__(self, config: Arithmetic, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.name = f"arithmetic:{config.difficulty}/{config.step_format}"
        self.reward_range = (0.0, 1.0)
        self.max_new_tokens = config.max_new_tokens

    def candidate(self, index: int) -> Task:
        """Expression `index`."""
        level = DIFFICULTIES[self.config.difficulty - 1]
        rng = generator(self.seed, "environments.arithmetic", self.config.difficulty, index)
        terms = int(rng.integers(level.min_terms, level.max_terms + 1))
        items: list[int | str] = [int(rng.integers(1, level.max_number + 1))]
        for _ in range(terms - 1):
            items += [
                level.operators[int(rng.integers(len(level.operators)))],
                int(rng.integers(1, level.max_number + 1)),
            ]
        return self._task(tuple(items), f"{self.name}/{self.seed}/{index}")

    def _task(self, expression: Expression, task_id: str, dataset: str = "") -> Task:
        return Task(
            task_id=task_id,
            environment=self.name,
            messages=(Message("user", f"{render(expression)}: "),),
            answer=str(evaluate(expression)),
            info={"expression": render(expression)} | ({"dataset": dataset} if dataset else {}),
            seed=self.seed,
        )

    def variants(self, task: Task, count: int) -> tuple[Task, ...]:
        """Up to `count` easier tasks, by the task alone; `info["dataset"]` says how many steps below an original."""
        expression, made = self._expression(task), []
        depth = task.task_id.count("~") + 1
        for number in range(count):
            rng = generator(self.seed, "environments.arithmetic.variants", task.task_id, number)
            variant = easier(expression, rng)
            if variant != expression:
                made.append(self._task(variant, f"{task.task_id}~{number}", f"{self.name}~{depth}"))
        return tuple(made)

    def score(self, task: Task, text: str) -> float:
        """1 if the final number is the answer, whatever the steps."""
        return float(final_number(text) == int(task.answer))

    def answer_in(self, task: Task, text: str) -> str:
        """The final number; empty where there is none."""
        found = final_number(text)
        return "" if found is None else str(found)

    def demonstration(self, task: Task) -> str:
        """The flawless worked answer in the environment's step format."""
        return demonstrate(self._expression(task), self.config.step_format)

    def steps(self, task: Task, text: str) -> tuple[Step, ...]:
        """The oracle: every step of `text`, judged."""
        return judge_steps(self._expression(task), text, self.config.step_format)

    def _expression(self, task: Task) -> Expression:
        expression = parse(task.info["expression"])
        assert expression is not None
        return expression
