"""A policy measured with and without a critic's guidance, on the same prompts with the same dice."""

import os
from dataclasses import dataclass
from pathlib import Path

from critica.evaluation.outcome import Hand, evaluate_policy
from critica.policies.numerics import configure
from critica.records.outcome import OutcomeReport
from critica.rollout.guidance import LiveGuidance, ValueGuidance
from critica.store.evaluations import name_part, save_evaluation
from critica.training.critic_target import CriticTarget, open_target
from critica.training.held_out import EVALUATION_SEED


@dataclass(frozen=True, slots=True)
class GuidedReport:
    """Accuracy under guidance and of the policy alone; `divergence` is KL(guided || policy) of an answer, in nats."""

    guided: OutcomeReport
    alone: OutcomeReport
    divergence: float
    part: ValueGuidance


def evaluate_guided(
    target: str | Path,
    guide: str | Path,
    part: ValueGuidance,
    environment: str = "",
    prompts: int = 1000,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
) -> GuidedReport:
    """Measure `target` (a run, a model folder or a name) guided by the critic of `guide` (a run or a fitted critic).

    Saved with the run if the target is one. Raises `NoCriticHere`, and ValueError for a critic that cannot guide.
    """
    configure(len(os.sched_getaffinity(0)))
    opened = open_target(guide, "" if same(target, guide) else str(target), environment)
    try:
        guidance = LiveGuidance(part, opened.critic, opened.policy)
        limit = 0 if environment else opened.recipe.sampling.max_new_tokens
        alone = _measure(opened, None, prompts, samples, temperature, seed, limit)
        guided = _measure(opened, guidance.evaluating, prompts, samples, temperature, seed, limit)
    finally:
        opened.source.close()
    if (Path(target) / "run.json").is_file():
        label = "greedy" if temperature == 0 else f"temperature_{temperature:g}"
        place = name_part(opened.environment.name)
        save_evaluation(target, f"guided-{label}-eta_{part.eta:g}-{place}", guided)
    return GuidedReport(guided, alone, guidance.tally.divergence_per_answer, part)


def same(target: str | Path, guide: str | Path) -> bool:
    """Whether the policy to be guided is the one beside the critic."""
    return Path(target).resolve() == Path(guide).resolve()


def _measure(
    opened: CriticTarget, hand: Hand | None, prompts: int, samples: int, temperature: float, seed: int, limit: int
) -> OutcomeReport:
    return evaluate_policy(
        opened.policy, opened.environment, prompts, samples, temperature, seed,
        max_new_tokens=limit or opened.environment.max_new_tokens, hand=hand, stop=opened.recipe.sampling.stop,
    )  # fmt: skip
