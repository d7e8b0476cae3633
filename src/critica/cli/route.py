"""`critica critic route`: which of several policies to ask, prompt by prompt."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Natural
from critica.cli.output import say, show, show_json, table

if TYPE_CHECKING:
    from critica.training.route import Routing

SHOWN = 60  # letters of a prompt


@dataclass(frozen=True, kw_only=True)
class RoutePrompts:
    """Choose between runs for each prompt: likely success against the price of an answer.

    Each run's rollouts say what its policy can do on prompts like this one (V_0); a run's score is
    weight x success + (1 - weight) x (1 - cost), costs in units of the dearest. How good such choices are is measured
    on prompts that are held out of the records and that every run answered: beside always asking the same run, and
    an oracle that knows the outcomes.

    Examples:
      critica critic route runs/small runs/large --costs 1,3
      critica critic route runs/small runs/large --costs 1,3 --prompts prompts.txt --weight 0.9
      critica critic route runs/a runs/b runs/c --costs 1,2,8 --prompts tasks.jsonl --json
    """

    # Run folders, the cheapest first for the eye.
    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN")]

    # The price of one answer of each run, separated by commas, in any unit.
    costs: Annotated[str, arg(metavar="C,C,…")]

    # A file of prompts: one a line, or JSON lines with a field `prompt`. Without it only the choosing is measured.
    prompts: Annotated[str, arg(metavar="FILE", help_behavior_hint="")] = ""

    # What success counts; the rest is thrift.
    weight: float = 0.75

    # Share of the prompts that is held out to measure by.
    held_out: float = 0.3

    # Of the split.
    seed: Natural = 0

    # Write choices and measurements as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read, choose, measure, print."""
        from critica.training.route import RoutePlan, RouteProblem, route

        try:
            costs = tuple(float(cost) for cost in self.costs.split(","))
        except ValueError:
            raise RouteProblem(f"--costs {self.costs}: write numbers separated by commas, for example 1,3") from None
        plan = RoutePlan(costs, self.weight, self.held_out, self.seed)
        routing = route(self.runs, read_prompts(self.prompts) if self.prompts else (), plan)
        if self.json:
            show_json(asdict(routing))
            return 0
        if routing.choices:
            show(choices_table(routing))
            show("")
        show(ways_table(routing))
        say(f"on {routing.judged_on} held-out prompts; regret is what is lost to the oracle, with its standard error")
        return 0


def read_prompts(path: str) -> tuple[str, ...]:
    """The prompts of a text file (one a line, empty ones left out) or of JSON lines. Raises `RouteProblem`."""
    from critica.training.route import RouteProblem

    lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    if not path.endswith((".jsonl", ".json")):
        return tuple(lines)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            prompt = json.loads(line)["prompt"]
        except (ValueError, KeyError, TypeError) as error:
            raise RouteProblem(f"{path} line {number} is no JSON object with a field `prompt`") from error
        if not isinstance(prompt, str):
            raise RouteProblem(f"{path} line {number}: `prompt` is no text, which is what rollouts are compared by")
        found.append(prompt)
    return tuple(found)


def choices_table(routing: "Routing") -> str:
    """One line a prompt."""
    names = [Path(run).name for run in routing.runs]
    rows = [("prompt", *(f"P({name})" for name in names), "ask")]
    for choice in routing.choices:
        text = " ".join(choice.prompt.split())
        short = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
        rows.append((short, *(f"{rate:.2f}" for rate in choice.rates), names[choice.run]))
    return table(rows)


def ways_table(routing: "Routing") -> str:
    """One line a way to choose."""
    rows = [("way", "success", "cost", "score", "regret")]
    for way in routing.ways:
        numbers = (f"{way.success:.3f}", f"{way.cost:.3f}", f"{way.score:.3f}", f"{way.regret:.3f} ± {way.error:.3f}")
        rows.append((way.name, *numbers))
    return table(rows)
