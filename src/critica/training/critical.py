"""Critical sampling measured beside plain sampling: as many answers, the same tests, the same way to choose one."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from critica.evaluation.intervals import named, share_interval
from critica.functional.statistics import paired_difference_interval
from critica.policies.base import SampleLimits
from critica.policies.numerics import configure
from critica.records.outcome import Interval
from critica.records.words import Task
from critica.rollout.critical_sampling import (
    Asked,
    Candidate,
    CannotRepair,
    CriticalSampling,
    chosen,
    critical_sample,
    plain_sample,
)
from critica.training.critic_target import CriticTarget, open_target
from critica.training.guided import same
from critica.training.held_out import EVALUATION_SEED


@dataclass(frozen=True, slots=True)
class CriticalReport:
    """The share of prompts whose answer that was handed in is right, both ways, and their difference in pairs.

    `tested`: answers were tested by the task's scorer before one was handed in, so that a prompt counts as soon as one
    of its answers is right; else the critic alone chose. Tokens are those written anew, of a prompt's answers together.
    """

    environment: str
    temperature: float
    prompts: int
    part: CriticalSampling
    tested: bool
    seed: int
    policy_version: int
    resumed: Interval
    plain: Interval
    difference: Interval
    resumed_tokens: float
    plain_tokens: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON content."""
        return asdict(self) | {"answers": self.part.plain}


def evaluate_critical(
    target: str | Path,
    critic: str | Path,
    part: CriticalSampling,
    tested: bool = True,
    environment: str = "",
    prompts: int = 1000,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
) -> CriticalReport:
    """`target` (a run, a model folder or a name) resumed where the critic of `critic` (a run or a fitted one) says.

    The plain side begins with the very same answers and writes `part.plain` of them. Raises `NoCriticHere`, and
    `CannotRepair` for a critic that cannot tell an answer's prefixes apart.
    """
    configure(len(os.sched_getaffinity(0)))
    opened = open_target(critic, "" if same(target, critic) else str(target), environment)
    try:
        return compare_critical(opened, part, tested, prompts, temperature, seed, bool(environment))
    finally:
        opened.source.close()


def compare_critical(
    opened: CriticTarget,
    part: CriticalSampling,
    tested: bool,
    prompts: int,
    temperature: float,
    seed: int,
    elsewhere: bool = False,
) -> CriticalReport:
    """The same of an open critic beside its policy; `elsewhere`: its tasks are not those it was trained on."""
    if opened.part.flat:
        raise CannotRepair(
            f"{type(opened.part).__name__} has one value for a whole answer, so it cannot say where one went wrong:"
            " name a critic that values prefixes, for example one that `critica critic fit --critic success` wrote"
        )
    where = opened.environment
    limit = (0 if elsewhere else opened.recipe.sampling.max_new_tokens) or where.max_new_tokens
    tasks = where.held_out(prompts)

    def right(task: Task, text: str) -> bool:
        return where.is_correct(where.score(task, text))

    def untold(task: Task, text: str) -> bool:
        return False

    limits = SampleLimits(limit, temperature)
    asked = Asked(opened.policy, opened.critic, right if tested else untold, limits, seed)
    found = [critical_sample(part, asked, tasks), plain_sample(part.plain, asked, tasks)]
    resumed, plain = ([float(right(t, chosen(row).text)) for t, row in zip(tasks, f, strict=True)] for f in found)
    paired = paired_difference_interval(plain, resumed, seed=seed)
    return CriticalReport(
        where.name, temperature, len(tasks), part, tested, seed, opened.policy.version,
        share_interval(resumed, seed), share_interval(plain, seed), named(paired, "paired bootstrap over prompts"),
        *(tokens_written(rows) / len(tasks) for rows in found),
    )  # fmt: skip


def tokens_written(rows: Sequence[Sequence[Candidate]]) -> int:
    """Tokens that were sampled: what an answer kept of its seed is not."""
    return sum(len(one.token_ids) - one.kept for row in rows for one in row)
