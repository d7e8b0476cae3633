"""`critica evaluate`: held-out accuracy of a run, a policy folder or a named policy."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Positive, Seed
from critica.cli.output import quiet_libraries, show, show_json
from critica.recipes.coercion import ConfigError


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure held-out accuracy, with 95% intervals.

    The prompts are disjoint by text from those of training; an answer counts when it scores at least .999.

    Examples:
      critica evaluate runs/first
      critica evaluate runs/first --samples 8              # pass@1, 2, 4 and 8
      critica evaluate pico --environment rg:chain_sum --temperature 0
    """

    # A run folder (its last policy), a model folder, or a name.
    target: Annotated[Positional[str], arg(metavar="TARGET")]

    # What is asked; by default what the run was trained on.
    environment: Annotated[str, arg(metavar="E", help_behavior_hint="")] = ""

    # Held-out prompts.
    prompts: Positive = 1000

    # Answers to each prompt.
    samples: Positive = 1

    # 0 is greedy.
    temperature: float = 1.0

    # Of the sampling; by default that of the evaluations in a run, so that they can be compared in pairs.
    seed: Seed = None

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Load, sample, score, print."""
        self._check()
        environment = self._environment()
        from critica.training.held_out import EVALUATION_SEED, evaluate

        quiet_libraries()
        seed = EVALUATION_SEED if self.seed is None else self.seed
        report = evaluate(self.target, environment, self.prompts, self.samples, self.temperature, seed)
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

    def _environment(self) -> str:
        """What is asked: as told, else the run's own tasks (empty), else those that pico was made for."""
        if self.environment or (Path(self.target) / "run.json").is_file():
            return self.environment
        if self.target == "pico":
            return "pico"
        raise ConfigError(f"{self.target} is no run folder: name its tasks, for example --environment rg:chain_sum.")

    def _check(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"--temperature is {self.temperature:g}: it is 0 (greedy) or above.")
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                f"greedy decoding would write the same answer {self.samples} times: leave --samples out, "
                "or use --temperature 1."
            )
