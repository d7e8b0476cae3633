"""`critica evaluate`: held-out accuracy of a run, a policy folder or a named policy, alone or guided by a critic."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Positive, Seed
from critica.cli.output import quiet_libraries, show, show_json
from critica.recipes.coercion import ConfigError

if TYPE_CHECKING:
    from critica.records.outcome import OutcomeReport
    from critica.rollout.guidance import ValueGuidance


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure held-out accuracy, with 95% intervals.

    The prompts are disjoint by text from those of training; an answer counts when it scores at least .999.

    Examples:
      critica evaluate runs/first
      critica evaluate runs/first --samples 8              # pass@1, 2, 4 and 8
      critica evaluate pico --environment rg:chain_sum --temperature 0
      critica evaluate runs/first --guide critics/mine --eta 0.1   # its critic picks among likely tokens
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

    # A run folder or a fitted critic whose values guide what is written (Q#); the policy alone is measured beside it.
    guide: Annotated[str, arg(metavar="RUN_OR_CRITIC", help_behavior_hint="")] = ""

    # With --guide: the price of a nat of KL from the policy, in units of reward. inf is the policy itself.
    eta: float = 0.1

    # With --guide: how many of the policy's likeliest next tokens are judged.
    top_k: Positive = 8

    # With --guide: never write a token that was not judged.
    only_candidates: bool = False

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Load, sample, score, print."""
        self._check()
        environment = self._environment()
        from critica.training.held_out import EVALUATION_SEED, evaluate

        quiet_libraries()
        seed = EVALUATION_SEED if self.seed is None else self.seed
        if self.guide:
            return self._guided(environment, seed)
        report = evaluate(self.target, environment, self.prompts, self.samples, self.temperature, seed)
        if self.json:
            show_json(report.to_json())
            return 0
        show_report(report)
        return 0

    def _guided(self, environment: str, seed: int) -> int:
        """Under guidance and alone, on the same prompts with the same dice."""
        from critica.training.guided import evaluate_guided

        found = evaluate_guided(
            self.target, self.guide, self._guidance(), environment, self.prompts, self.samples, self.temperature, seed
        )
        if self.json:
            show_json(
                found.guided.to_json()
                | {
                    "guidance": {
                        "guide": self.guide,
                        "eta": found.part.eta if math.isfinite(found.part.eta) else "inf",
                        "top_k": found.part.top_k,
                        "keeps_rest": found.part.keeps_rest,
                        "kl_per_answer": found.divergence,
                        "alone": found.alone.to_json(),
                    }
                }
            )
            return 0
        show_report(found.guided)
        show(f"alone     {found.alone.accuracy}")
        show(f"KL(guided || policy)  {found.divergence:.3f} nats an answer, at eta {found.part.eta:g}")
        return 0

    def _guidance(self) -> "ValueGuidance":
        from critica.rollout.guidance import ValueGuidance

        if not self.eta > 0:
            raise ConfigError(f"--eta is {self.eta:g}: it is above 0; --temperature 0 is greedy decoding.")
        if self.top_k < 2:
            raise ConfigError(f"--top-k is {self.top_k}: with fewer than 2 candidates there is no choice.")
        return ValueGuidance(self.eta, self.top_k, not self.only_candidates)

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


def show_report(report: "OutcomeReport") -> None:
    """Accuracy, pass@k and each source, for people."""
    show(f"{report.environment}, {len(report.prompts)} held-out prompts, {report.how}")
    show(f"accuracy  {report.accuracy}")
    for item in report.pass_at_k:
        show(f"pass@{item.k}  {item.interval}  ({item.prompts} prompts)")
    for source in report.sources:
        show(f"{source.source}  {source.interval}  ({source.prompts} prompts)")
    if report.unscored:
        show(f"{report.unscored} answers could not be scored and count neither way")
