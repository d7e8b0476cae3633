"""`critica evaluate`: held-out accuracy of a run, a policy folder or a named policy."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Natural, Positive
from critica.cli.output import show, show_json


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure held-out accuracy, with 95% intervals.

    The prompts are disjoint by text from those of training; an answer counts when it scores at least .999.

    Examples:
      critica evaluate runs/first
      critica evaluate runs/first --samples 8              # pass@1, 2, 4 and 8
      critica evaluate pico --environment chain_sum --temperature 0
    """

    # A run folder (its last policy), a model folder, or a name.
    target: Annotated[Positional[str], arg(metavar="TARGET")]

    # What is asked; by default what the run was trained on.
    environment: Annotated[str, arg(metavar="E")] = ""

    # Held-out prompts.
    prompts: Positive = 1000

    # Answers to each prompt.
    samples: Positive = 1

    # 0 is greedy.
    temperature: float = 1.0

    # Of the sampling; the held-out prompts are the same for every seed.
    seed: Natural = 0

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Load, sample, score, print."""
        from critica.training.run import evaluate

        report = evaluate(
            self.target,
            environment=self.environment,
            prompts=self.prompts,
            samples=self.samples,
            temperature=self.temperature,
            seed=self.seed,
        )
        if self.json:
            show_json(report.to_json())
            return 0
        show(f"{report.environment}, {len(report.prompts)} held-out prompts, {report.how}")
        show(f"accuracy  {report.accuracy}")
        for item in report.pass_at_k:
            show(f"pass@{item.k}  {item.interval}  ({item.prompts} prompts)")
        for source in report.sources:
            show(f"{source.source}  {source.interval}  ({source.prompts} prompts)")
        if report.unscored:
            show(f"{report.unscored} answers could not be scored and count neither way")
        return 0
