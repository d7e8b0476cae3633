"""Groups that grow: when most prompts no longer tell samples apart, fewer prompts get more samples each."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from critica.curricula.base import Budget, Curriculum, CurriculumPart, Request
from critica.curricula.stream import Stream
from critica.environments.base import Environment
from critica.records.arrays import Metric
from critica.records.words import Task

MIXED = "prompts/mixed"


class GrowthProblem(ValueError):
    """Sizes that do not fit the step."""


@dataclass(frozen=True, slots=True)
class GrowingGroups(CurriculumPart):
    """samples_per_prompt doubles up to `doublings` times; prompts halve, so that a step has as many rollouts as before.

    It goes one size up when the share of prompts whose known outcomes are all equal was above `share` on average over
    the last `window` steps, then starts to count again; it never goes back, and ends where prompts cannot be halved. A
    group of G samples of a prompt solved with probability p tells something with probability 1 - p^G - (1 - p)^G, which
    rises with G, most for prompts that are almost never or almost always solved. The price is fewer prompts a step:
    where p is near one half, more prompts are worth more than more samples of one.

    Source: Aryabhata 2 (arXiv 2605.28829) trains with progressively larger groups; its stages are not published:
    doublings (8, 16, 32, 64 from 8 samples), the share and the window are ours. Use it with admission=accept_all: a
    rule that turns silent groups away hides what this waits for.
    """

    doublings: int = 3
    share: float = 0.5
    window: int = 20

    def __post_init__(self) -> None:
        if self.doublings < 1:
            raise GrowthProblem(f"doublings is {self.doublings}: groups that never grow are curriculum=stream")
        if not 0 <= self.share < 1:
            raise GrowthProblem(f"share is {self.share}: a share of prompts in [0, 1), above which groups grow")
        if self.window < 1:
            raise GrowthProblem(f"window counts steps, got {self.window}")

    def sizes(self, prompts: int, samples_per_prompt: int) -> tuple[int, ...]:
        """The samples of a prompt, stage by stage, in steps that begin with so many prompts."""
        fitting = [k for k in range(self.doublings + 1) if prompts % 2**k == 0]
        return tuple(samples_per_prompt * 2**k for k in fitting)

    def most_samples(self, prompts: int, samples_per_prompt: int) -> int:
        return self.sizes(prompts, samples_per_prompt)[-1]

    def check_admission(self, shows_silent: bool) -> None:
        if not shows_silent:
            raise GrowthProblem(
                "curriculum=growing_groups waits for silent groups, and this admission turns them away before they are"
                " counted: set admission=accept_all"
            )

    def build(self, environment: Environment, budget: Budget) -> Curriculum:
        stream = Stream().build(environment, budget)
        return LiveGrowth(self, stream, budget.prompts_per_step, budget.samples_per_prompt)


class LiveGrowth(Curriculum):
    """A stream whose groups have a size, and the readings that decide when it changes."""

    def __init__(self, part: GrowingGroups, stream: Curriculum, prompts: int, samples_per_prompt: int) -> None:
        self.part, self.sizes = part, part.sizes(prompts, samples_per_prompt)
        self.place = 0  # in sizes
        self._stream, self._rollouts = stream, prompts * samples_per_prompt
        self._silent: deque[float] = deque(maxlen=part.window)

    @property
    def size(self) -> int:
        """Samples of a prompt now."""
        return self.sizes[self.place]

    def next(self, step: int) -> Request:
        """The request of this step (from 1)."""
        asked = self._stream.next(step)
        return replace(asked, prompts=self._rollouts // self.size, samples_per_prompt=self.size)

    def draw(self, count: int) -> tuple[Task, ...]:
        """The next `count` training tasks."""
        return self._stream.draw(count)

    def feedback(self, metrics: Sequence[Metric]) -> None:
        """How many prompts of the step were mixed. A step without that number counts for nothing."""
        self._silent += [1.0 - m.value for m in metrics if m.name == MIXED and math.isfinite(m.value)]
        full = len(self._silent) == self.part.window
        if full and math.fsum(self._silent) / self.part.window > self.part.share:
            if self.place + 1 < len(self.sizes):
                self.place += 1
            self._silent.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self._stream.state_dict(), "place": self.place, "silent": list(self._silent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stream.load_state_dict(state["stream"])
        self.place = min(int(state["place"]), len(self.sizes) - 1)
        self._silent = deque(state["silent"], maxlen=self.part.window)
