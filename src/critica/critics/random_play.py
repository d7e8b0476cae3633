"""What an environment's states are worth to a player who moves at random: simulated, and kept by state and action."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from critica.functional.random import generator
from critica.records.protocols import Restorable
from critica.records.words import Task

ILLEGAL = "\0illegal"  # one key for all actions that a state does not allow
TASKS_KEPT = 4096


def random_return(
    environment: Restorable,
    task: Task,
    state: Hashable,
    rollouts: int,
    discount: float,
    rng: np.random.Generator,
    first: str | None = None,
    max_steps: int = 1000,
) -> float:
    """The mean of sum_k discount^k r_k over `rollouts` games from `state` under the uniformly random policy.

    `first` forces the first action. All rollouts advance together: those that stand in one state are split among its
    legal actions by one multinomial draw, which has the law of as many separate games and costs the states visited
    rather than the moves. Needs an environment without chance of its own. After `max_steps` moves nothing more counts.
    """
    total, weight = 0.0, 1.0
    if first is not None:
        state, total = environment.act(task, state, first)
        weight, max_steps = discount, max_steps - 1
    layer = {state: rollouts}
    for _ in range(max_steps):
        following: dict[Hashable, int] = {}
        for here, many in layer.items():
            legal = environment.legal_actions(task, here)
            shares = rng.multinomial(many, np.full(len(legal), 1 / len(legal))).tolist() if legal else []
            for action, share in zip(legal, shares, strict=True):
                if share:
                    there, reward = environment.act(task, here, action)
                    total += weight * share / rollouts * reward
                    following[there] = following.get(there, 0) + share
        if not following:
            break
        layer, weight = following, weight * discount
    return total


@dataclass(slots=True)
class RandomPlay:
    """V_mc and Q_mc by (task, state, action), each simulated once, with random numbers named by just these.

    What is asked again is the same number whether it was kept or is simulated anew, so nothing needs to be saved. A
    task that comes back with other rules under its old name starts afresh; `forget` says so by hand. The task asked
    for longest ago goes first when there are too many.
    """

    rollouts: int
    discount: float
    max_steps: int
    seed: int
    simulated: int = 0  # how many numbers were simulated, not kept
    _kept: dict[str, tuple[Task, dict[tuple[Hashable, str | None], float]]] = field(default_factory=dict)

    def value(self, environment: Restorable, task: Task, state: Hashable) -> float:
        """V_mc(state)."""
        return self._look_up(environment, task, state, None)

    def action_value(self, environment: Restorable, task: Task, state: Hashable, action: str) -> float:
        """Q_mc(state, action): the first action is forced. All illegal actions of a state are one."""
        return self._look_up(environment, task, state, action)

    def forget(self, task_id: str) -> None:
        """Drop what is kept about this task."""
        self._kept.pop(task_id, None)

    def _look_up(self, environment: Restorable, task: Task, state: Hashable, action: str | None) -> float:
        known, numbers = self._kept.pop(task.task_id, (task, {}))
        numbers = numbers if known == task else {}
        self._kept[task.task_id] = (task, numbers)  # the last one asked for stands at the end
        if len(self._kept) > TASKS_KEPT:
            del self._kept[next(iter(self._kept))]
        legal = action is None or action in environment.legal_actions(task, state)
        key = (state, action if legal else ILLEGAL)
        if key not in numbers:
            name = ("value",) if action is None else ("action", action if legal else ILLEGAL)
            rng = generator(self.seed, "critics/random_play", task.task_id, repr(state), *name)
            numbers[key] = random_return(
                environment, task, state, self.rollouts, self.discount, rng, action, self.max_steps
            )
            self.simulated += 1
        return numbers[key]
