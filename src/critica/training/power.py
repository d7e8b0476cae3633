"""A policy measured by power samples, and beside them by itself and at the temperature of their proposals."""

import os
from dataclasses import dataclass
from pathlib import Path

from critica.environments.catalogue import parse_environment
from critica.evaluation.outcome import evaluate_policy
from critica.policies.base import Policy
from critica.policies.numerics import configure
from critica.policies.power_sampling import PowerSampler, PowerSampling
from critica.records.outcome import OutcomeReport
from critica.store.evaluations import name_part, save_evaluation
from critica.training.held_out import EVALUATION_SEED, HELD_OUT_SEED, load_target


@dataclass(frozen=True, slots=True)
class PowerReport:
    """Accuracy of power samples, of the policy alone, and at temperature 1 / power.

    `tokens_per_answer` counts every token that a chain wrote for one answer, `kept` is the share of its moves kept.
    """

    power: OutcomeReport
    alone: OutcomeReport
    cooled: OutcomeReport
    tokens_per_answer: float
    kept: float


def evaluate_power(
    target: str | Path,
    part: PowerSampling,
    environment: str = "",
    prompts: int = 1000,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
) -> PowerReport:
    """Measure `target` (a run, a model folder or a name) three ways on the same prompts; saved with it if it is a run.

    p is the policy at `temperature`, which is above 0.
    """
    configure(len(os.sched_getaffinity(0)))
    policy, recipe = load_target(target)
    config = parse_environment(environment) if environment or recipe is None else recipe.environment
    where = config.build(HELD_OUT_SEED)
    limit = (recipe.sampling.max_new_tokens if recipe and not environment else 0) or where.max_new_tokens

    def measured(writer: Policy, heat: float) -> OutcomeReport:
        return evaluate_policy(writer, where, prompts, samples, heat, seed, max_new_tokens=limit)

    sampler = PowerSampler(policy, part)
    alone, cooled = measured(policy, temperature), measured(policy, temperature / part.power)
    power, tally = measured(sampler, temperature), sampler.tally
    if recipe is not None:
        place = name_part(where.name)
        save_evaluation(target, f"power_{part.power:g}-temperature_{temperature:g}-{place}", power)
    return PowerReport(power, alone, cooled, tally.tokens / max(tally.answers, 1), tally.kept / max(tally.moves, 1))
