"""What the audited states are worth: where they come from, and what comes of them, by sampling or by walking all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from critica.environments.exact import GameEnvironment
from critica.evaluation.critic_exact import Spelling, exact_laws, padded, vocabulary_texts
from critica.evaluation.critic_truth import Place, choose_places, continued_outcomes, name_of, weights_of
from critica.records.arrays import TokenBatch
from critica.records.words import Task
from critica.training.critic_target import CriticTarget


class AuditProblem(ValueError):
    """An audit that cannot be carried out as asked."""


@dataclass(frozen=True, slots=True)
class Truths:
    """Possible returns of each place, their weights, and how they were found."""

    outcomes: np.ndarray
    weights: np.ndarray
    sampled: bool
    how: str

    @property
    def means(self) -> np.ndarray:
        """The true values, as found."""
        return (np.nan_to_num(self.outcomes) * self.weights).sum(1)


def truths_of(
    opened: CriticTarget, places: tuple[Place, ...], continuations: int, seed: int, exact: bool, limit: int
) -> Truths:
    """What comes of these places: `continuations` fresh ones, or with `exact` every one."""
    temperature = opened.recipe.sampling.temperature
    if not exact:
        fresh = continued_outcomes(opened.policy, opened.source, places, continuations, temperature, seed)
        return Truths(fresh, weights_of(fresh), True, f"{continuations} fresh continuations of each state")
    if not isinstance(opened.environment, GameEnvironment):
        raise AuditProblem(
            f"the exact value of {opened.environment.name!r} is not known: only token games (digit_sum, binary_tree,"
            " chain, two_branch) can be walked through; leave --exact out"
        )
    texts, laws = vocabulary_texts(opened.policy), {}
    for members in by_task(places).values():
        spelling = Spelling(opened.policy, opened.environment.game(members[0][1].task), texts, opened.policy.end_ids)
        prefixes = [(place.prefix_ids, len(place.written_ids)) for _, place in members]
        found = exact_laws(opened.policy, spelling, prefixes, limit, temperature)
        laws |= {index: law for (index, _), law in zip(members, found, strict=True)}
    ordered = [laws[index] for index in range(len(places))]
    slack = max(law.slack for law in ordered)
    return Truths(*padded(ordered), False, f"every continuation of each state, all but {slack:.1g} of them followed")


def by_task(places: tuple[Place, ...]) -> dict[str, list[tuple[int, Place]]]:
    """The places of each task with their numbers."""
    found: dict[str, list[tuple[int, Place]]] = {}
    for index, item in enumerate(places):
        found.setdefault(item.task.task_id, []).append((index, item))
    return found


def bare_prompts(batch: TokenBatch, tasks: Sequence[Task], limit: int) -> tuple[Place, ...]:
    """The state before the first token of each group's first row, with random numbers of its own."""
    firsts = [n for n, order in enumerate(order_in_group(batch)) if order == 0]
    found = choose_places(batch, tasks, firsts, 1, limit, seed=0)
    whole = []
    for item in found:
        start = item.column - item.offset
        whole.append(
            replace(
                item, offset=0, column=start, prefix_ids=item.prefix_ids[:start], written_ids=(), room=limit,
                stream=(name_of(item.task), -1),
            )
        )  # fmt: skip
    return tuple(whole)


def order_in_group(batch: TokenBatch) -> list[int]:
    """Each row's number among its siblings."""
    seen: dict[int, int] = {}
    order = []
    for group in batch.group_index.tolist():
        order.append(seen.get(group, 0))
        seen[group] = order[-1] + 1
    return order
