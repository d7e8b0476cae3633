"""The states of a world and what they are worth: walked where that can be done, else sampled; found once and kept."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from critica.benches.critics_world import Answered, World
from critica.environments.exact import GameEnvironment
from critica.evaluation.critic_exact import Spelling, exact_laws, padded, vocabulary_texts
from critica.evaluation.critic_panel import AuditedStates
from critica.evaluation.critic_truth import Place, choose_places, continued_outcomes

PLACES_AT_ONCE = 48  # continued together, for the memory
REFERENCE = 1_000_003  # added to the seed: Monte-Carlo references share no random number with the truth


@dataclass
class States:
    """The audited states of a world, their true laws, and `references` further continuations of each."""

    world: World
    continuations: int
    references: int

    @cached_property
    def group(self) -> Answered:
        """The audited groups as declared."""
        return self.world.audited()

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Some places of the first answers of every prompt."""
        world = self.world
        rows = [p * world.sizes.samples + a for p in range(world.sizes.prompts) for a in range(world.sizes.answers)]
        tasks = [task for task in world.tasks for _ in range(world.sizes.samples)]
        return choose_places(self.group.batch, tasks, rows, world.sizes.positions, world.limit, world.seed)

    @cached_property
    def prompt(self) -> np.ndarray:
        """The prompt's number of each state."""
        return np.array([place.row // self.world.sizes.samples for place in self.places])

    @cached_property
    def answer(self) -> np.ndarray:
        """The answer's number within its group, of each state."""
        return np.array([place.row % self.world.sizes.samples for place in self.places])

    def truth(self) -> AuditedStates:
        """The states with their laws, as the panel reads them."""
        path = self.world.folder / "truth.npz"
        if not path.is_file():
            save(path, *(self._walked() if self.world.spot.exact else self._sampled(self.continuations, 0)))
        outcomes, weights, _ = load(path)
        own = self.group.told.total.double().numpy()
        return AuditedStates(
            prompt=self.prompt,
            answer=np.array([place.row for place in self.places]),
            place=np.array([place.offset / place.length for place in self.places]),
            length=np.array([place.length for place in self.places]),
            own=own[[place.row for place in self.places]],
            outcomes=outcomes,
            weights=weights,
            sampled=not self.world.spot.exact,
            low=0.0,
            high=1.0,
        )

    def fresh(self) -> tuple[Float[np.ndarray, "n k"], float]:
        """Independent continuations for the Monte-Carlo references, and the CPU seconds of one of each state."""
        path = self.world.folder / "references.npz"
        if not path.is_file():
            save(path, *self._sampled(self.references, REFERENCE))
        outcomes, _, seconds = load(path)
        return outcomes, seconds / outcomes.shape[1]

    def _sampled(self, count: int, shift: int) -> tuple[np.ndarray, np.ndarray, float]:
        begun, world, parts = time.process_time(), self.world, []
        for start in range(0, len(self.places), PLACES_AT_ONCE):
            places = self.places[start : start + PLACES_AT_ONCE]
            parts.append(continued_outcomes(world.policy, world.judge, places, count, 1.0, world.seed + shift))
        outcomes = np.concatenate(parts)
        return outcomes, np.full_like(outcomes, 1 / count), time.process_time() - begun

    def _walked(self) -> tuple[np.ndarray, np.ndarray, float]:
        begun, world = time.process_time(), self.world
        assert isinstance(world.environment, GameEnvironment)
        texts = vocabulary_texts(world.policy)
        laws: dict[tuple[str, tuple[int, ...]], object] = {}
        for task in world.tasks:
            spelling = Spelling(world.policy, world.environment.game(task), texts, world.policy.end_ids)
            own = {p.written_ids: (p.prefix_ids, len(p.written_ids)) for p in self.places if p.task is task}
            found = exact_laws(world.policy, spelling, list(own.values()), world.limit)
            laws |= {(task.task_id, written): law for written, law in zip(own, found, strict=True)}
        ordered = [laws[place.task.task_id, place.written_ids] for place in self.places]
        return *padded(ordered), time.process_time() - begun  # type: ignore[arg-type]


def save(path: Path, outcomes: np.ndarray, weights: np.ndarray, seconds: float) -> None:
    """Write what was found: whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    np.savez_compressed(temporary, outcomes=outcomes, weights=weights, seconds=seconds)
    temporary.replace(path)


def load(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        return kept["outcomes"], kept["weights"], float(kept["seconds"])
