"""`critica evaluate`: held-out accuracy of a run, a policy folder or a named policy, alone or helped by a critic."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Natural, Positive, Seed
from critica.cli.output import quiet_libraries, show, show_json
from critica.recipes.coercion import ConfigError

if TYPE_CHECKING:
    from critica.records.outcome import OutcomeReport
    from critica.rollout.guidance import ValueGuidance
    from critica.training.critical import CriticalReport

ROUNDS, RESUMED = 1, 2


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure held-out accuracy, with 95% intervals.

    The prompts are disjoint by text from those of training; an answer counts when it scores at least .999.

    Examples:
      critica evaluate runs/first
      critica evaluate runs/first --samples 8              # pass@1, 2, 4 and 8
      critica evaluate pico --environment rg:chain_sum --temperature 0
      critica evaluate runs/first --guide critics/mine --eta 0.1   # its critic picks among likely tokens
      critica evaluate runs/first --power 4   # answers from a power of the policy, nothing trained
      critica evaluate runs/first --critical-sampling runs/first --samples 8   # answers cut and resumed
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

    # Sample whole answers x in proportion to p(x)^POWER by Metropolis-Hastings (power sampling), and measure beside it
    # the policy alone and at temperature 1/POWER. 0 is off; the published power is 4.
    power: float = 0.0

    # With --power: how often an answer is cut and written anew, in each of the --blocks stretches of its growth.
    moves: Positive = 10

    # With --power: in how many stretches of the token limit an answer grows.
    blocks: Positive = 16

    # With --power: the share of cuts that fall anywhere; the rest falls where the policy was undecided.
    even: float = 1.0

    # A run folder or a fitted critic that says where answers are cut and resumed (CodeRL); measured beside as many
    # plain answers. --samples is then how many each round writes.
    critical_sampling: Annotated[str, arg(metavar="RUN_OR_CRITIC", help_behavior_hint="")] = ""

    # With --critical-sampling: how often answers are cut and resumed.
    rounds: Positive = ROUNDS

    # With --critical-sampling: how many answers of a prompt are cut; those that pass its test, else the most promising.
    resumed: Positive = RESUMED

    # With --critical-sampling: nothing tests the answers; the critic alone says which one is handed in.
    untested: bool = False

    # Before each answer, so many updates on easier variants of its question, forgotten afterwards (TTRL); 0: none. The
    # policy as it is is measured beside it.
    test_time_training: Natural = 0

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
        if self.power:
            return self._powered(environment, seed)
        if self.critical_sampling:
            return self._critical(environment, seed)
        if self.test_time_training:
            return self._scoped(environment, seed)
        report = evaluate(self.target, environment, self.prompts, self.samples, self.temperature, seed)
        if self.json:
            show_json(report.to_json())
            return 0
        show_report(report)
        return 0

    def _powered(self, environment: str, seed: int) -> int:
        """By power samples, alone, and cooled, on the same prompts."""
        from critica.policies.power_sampling import PowerSampling
        from critica.training.power import evaluate_power

        part = PowerSampling(self.power, self.moves, self.blocks, self.even)
        found = evaluate_power(self.target, part, environment, self.prompts, self.samples, self.temperature, seed)
        if self.json:
            show_json(
                found.power.to_json()
                | {
                    "power": {
                        "power": part.power,
                        "moves": part.moves,
                        "blocks": part.blocks,
                        "even": part.even,
                        "tokens_per_answer": found.tokens_per_answer,
                        "moves_kept": found.kept,
                        "alone": found.alone.to_json(),
                        "cooled": found.cooled.to_json(),
                    }
                }
            )
            return 0
        show_report(found.power)
        show(f"alone     {found.alone.accuracy}")
        show(f"at temperature {found.cooled.temperature:g}  {found.cooled.accuracy}")
        show(f"{found.tokens_per_answer:.0f} tokens written an answer (alone: {found.alone.mean_tokens:.0f});"
             f" {found.kept:.0%} of moves kept")  # fmt: skip
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

    def _scoped(self, environment: str, seed: int) -> int:
        """With training before each answer, and as it is."""
        from critica.training.scoped_evaluation import evaluate_scoped
        from critica.training.test_time import ScopedTraining

        part = ScopedTraining(self.test_time_training)
        found = evaluate_scoped(self.target, part, environment, self.prompts, self.samples, self.temperature, seed)
        if self.json:
            more = {"steps": part.steps, "trained": found.trained, "alone": found.alone.to_json()}
            show_json(found.scoped.to_json() | {"test_time_training": more})
            return 0
        show_report(found.scoped)
        show(f"alone     {found.alone.accuracy}")
        show(f"{found.trained} of {self.prompts} questions had variants to learn from, {part.steps} updates each")
        return 0

    def _critical(self, environment: str, seed: int) -> int:
        """Resumed where the critic says, and plainly, with as many answers."""
        from critica.rollout.critical_sampling import CriticalSampling
        from critica.training.critical import evaluate_critical

        part = CriticalSampling(self.samples, self.rounds, self.resumed)
        found = evaluate_critical(
            self.target, self.critical_sampling, part, not self.untested, environment, self.prompts, self.temperature,
            seed,
        )  # fmt: skip
        if self.json:
            show_json(found.to_json())
        else:
            show_critical(found)
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
        if self.power and (not 1 <= self.power < math.inf or not self.temperature or not 0 < self.even <= 1):
            raise ConfigError(
                f"--power {self.power:g} --temperature {self.temperature:g} --even {self.even:g}: power is 1 or more,"
                " temperature above 0, and even a share in (0, 1]."
            )
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"--temperature is {self.temperature:g}: it is 0 (greedy) or above.")
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                f"greedy decoding would write the same answer {self.samples} times: leave --samples out, "
                "or use --temperature 1."
            )
        if self.test_time_training and (self.guide or self.critical_sampling):
            raise ConfigError("--test-time-training is a way to answer of its own: leave --guide and"
                              " --critical-sampling out.")  # fmt: skip
        if self.critical_sampling:
            self._check_critical()
        elif (self.rounds, self.resumed, self.untested) != (ROUNDS, RESUMED, False):
            raise ConfigError("--rounds, --resumed and --untested belong to --critical-sampling RUN_OR_CRITIC.")

    def _check_critical(self) -> None:
        if self.temperature == 0:
            raise ConfigError("greedy decoding would resume an answer as it was: use --temperature 1.")
        if self.guide:
            raise ConfigError("--guide and --critical-sampling are two ways to sample: name one of them.")
        if self.resumed > self.samples:
            raise ConfigError(
                f"--samples is {self.samples}, and {self.resumed} answers of each prompt are cut and resumed: ask for "
                f"more answers, as --samples 8, or for fewer resumed ones."
            )


def show_report(report: "OutcomeReport") -> None:
    """Accuracy, pass@k and each source, for people."""
    show(f"{report.environment}, {len(report.prompts)} held-out prompts, {report.how}")
    show(f"accuracy  {report.accuracy}")
    if report.reward is not None:
        show(f"{report.rewarded_by}  {report.reward}  (the run's own reward, mean)")
    for item in report.pass_at_k:
        show(f"pass@{item.k}  {item.interval}  ({item.prompts} prompts)")
    for source in report.sources:
        show(f"{source.source}  {source.interval}  ({source.prompts} prompts)")
    if report.unscored:
        show(f"{report.unscored} answers could not be scored and count neither way")


def show_critical(found: "CriticalReport") -> None:
    """Both shares and their difference, for people."""
    part, how = found.part, "one of its answers is right" if found.tested else "the answer the critic chose is right"
    show(f"{found.environment}, {found.prompts} held-out prompts, at temperature {found.temperature:g}: {how}")
    for name, share, tokens in (
        (
            f"{part.samples} answers and {part.rounds} x {part.samples} resumed",
            found.resumed,
            found.resumed_tokens,
        ),
        (f"{part.plain} plain answers", found.plain, found.plain_tokens),
    ):
        show(f"{name:<40}  {share}  {tokens:.0f} tokens a prompt")
    i = found.difference
    show(f"{'difference':<40}  {100 * i.estimate:+.1f} points [{100 * i.low:+.1f}, {100 * i.high:+.1f}]")
