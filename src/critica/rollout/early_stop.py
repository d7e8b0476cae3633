"""ESPO: an answer is given up while it is written: its tokens surprise the policy, and the critic expects little."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.critics.learned import LearnedCritic
from critica.functional.random import uniforms
from critica.functional.stopping import moments, smoothed, steered, steered_hazard
from critica.policies.base import DecodeHand
from critica.records.arrays import Metric
from critica.records.supervision import Reward
from critica.records.words import StopReason, Trajectory
from critica.rollout.control import Control, ControlContext, ControlPart, Stream
from critica.rollout.regrets import Regrets, StopRule

CLIP, LOW, HIGH, GAIN = 5.0, 0.5, 50.0, 0.1  # of the standardized regret; of the threshold; of its steering
CORRECT = 0.999
DICE = 64  # a row's random numbers for random stops are drawn so many at a time


@dataclass(frozen=True, slots=True)
class EarlyStop(ControlPart):
    """Stop after token t if z_t > threshold * max(V(s_t), .001) (ESPO, arXiv 2605.29860, algorithm 1).

    z_t = smoothing z_{t-1} + (1 - smoothing) x_t; x_t is the surrogate regret g_t = max_a log pi - log pi(y_t),
    standardized by running statistics that are frozen while rows decode, and clipped to +-5 (our choice). A stopped
    answer ends in an absorbing failure: it is told `failure`, whatever its text, and no source is asked. The threshold
    is steered so that a share `target` of the answers is stopped. Nothing is stopped in the first `warmup_steps`.

    `audit`: this share of the answers is never stopped; what they earn although the rule gave them up is the rate of
    false stops (the paper does not audit). `at_random`: the control experiment, stops at the same rate at random
    places. V is read from the policy's own states, so the critic must share its trunk. Confident mistakes have no
    regret and are never caught. Cost per token: one pass over the logits (compiled where a compiler is) and the
    critic's head.
    """

    failure: float = -1.0
    target: float = 0.25
    threshold: float = 7.0
    smoothing: float = 0.9
    memory: float = 0.99
    warmup_steps: int = 10
    audit: float = 0.02
    at_random: bool = False

    def __post_init__(self) -> None:
        for name in ("target", "smoothing", "memory", "audit"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"control.{name} is a share between 0 and 1, got {getattr(self, name)}")
        if self.threshold <= 0 or self.warmup_steps < 0:
            raise ValueError("control.threshold must be above 0 and control.warmup_steps not negative")

    def lowest(self, low: float) -> float:
        """The failure, if it is below what the source may say."""
        return min(low, self.failure)

    def build(self, context: ControlContext) -> Control:
        critic = context.critic
        if not isinstance(critic, LearnedCritic) or critic.has_body:
            raise ValueError(
                "control=early_stop reads the critic's value from the policy's own states while it decodes: take a"
                " learned critic without a body of its own (critic=scalar, critic.body=shared)"
            )
        return LiveEarlyStop(self, critic, context.seed)


@dataclass
class Memory:
    """What is carried from step to step: the regret's statistics and the threshold (or the random hazard)."""

    mean: float = 0.0
    variance: float = 1.0
    threshold: float = 7.0
    hazard: float = 0.01
    steps: int = 0


@dataclass
class Tally:
    """What one step's decoding showed."""

    regrets: list[Regrets] = field(default_factory=list)  # one for each call of the decoder
    audited: set[str] = field(default_factory=set)  # trajectories that the rule gave up and the audit let go on

    def sums(self) -> tuple[int, float, float]:
        """How many regrets there were, their sum, and the sum of their squares."""
        if not self.regrets:
            return 0, 0.0, 0.0
        count, total, squares = torch.stack([one.sums.sum(0).cpu() for one in self.regrets]).sum(0).tolist()
        return int(count), total, squares


class LiveEarlyStop(Control):
    """The rule with its memory."""

    def __init__(self, part: EarlyStop, critic: LearnedCritic, seed: int) -> None:
        self.part, self.critic, self.seed = part, critic, seed
        self.memory = Memory(threshold=part.threshold)
        self.tally = Tally()

    @property
    def failure(self) -> float:
        return self.part.failure

    def begin(self, step: int, streams: Sequence[Stream], temperature: float) -> DecodeHand | None:
        """The rule for one call of the decoder; during the warm-up it only watches."""
        return Watch(self, streams, temperature, acts=step > self.part.warmup_steps)

    def close(self, trajectories: Sequence[Trajectory], rewards: Sequence[Reward]) -> tuple[Metric, ...]:
        """Renew the statistics, steer the threshold, report."""
        memory, tally, part = self.memory, self.tally, self.part
        tokens, total, squares = tally.sums()
        if tokens:
            mean, variance = moments(tokens, total, squares)
            keep = part.memory if memory.steps else 0.0  # the first step's statistics are taken as they are
            memory.mean = smoothed(memory.mean, mean, keep)
            memory.variance = smoothed(memory.variance, variance, keep)
        memory.steps += 1
        stopped = sum(trajectory.stop is StopReason.EARLY_STOPPED for trajectory in trajectories)
        given_up = stopped + len(tally.audited)
        reports = [Metric("control/stop_rate", float(stopped), float(len(trajectories)))]
        if memory.steps > part.warmup_steps:
            rate = given_up / max(1, len(trajectories))
            memory.threshold = steered(memory.threshold, rate, part.target, GAIN, LOW, HIGH)
            memory.hazard = steered_hazard(memory.hazard, rate, part.target)
            right = sum(r.trajectory_id in tally.audited and r.clean_value >= CORRECT for r in rewards)
            reports.append(Metric("control/false_stop_rate", float(right), float(len(tally.audited))))
            reports.append(Metric("control/threshold", memory.threshold, 1.0))
        self.tally = Tally()
        return tuple(reports)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory = Memory(**state)


class Watch:
    """One call of the decoder: each row's regrets by row number, and who is let go on although it was given up."""

    def __init__(self, owner: LiveEarlyStop, streams: Sequence[Stream], temperature: float, acts: bool) -> None:
        self.owner, self.streams, self.acts = owner, streams, acts
        memory, smoothing = owner.memory, owner.part.smoothing
        self.rule = StopRule(temperature, memory.mean, memory.variance, CLIP, smoothing, memory.threshold)
        self.read = owner.critic.reader() if acts and not owner.part.at_random else None
        self.regrets: Regrets | None = None  # made where the first logits are
        self.spared: dict[int, bool] = {}
        self.dice = torch.empty(len(streams), DICE, dtype=torch.float64)
        self.thrown = torch.zeros(len(streams), dtype=torch.long)

    def on_drawn(
        self,
        hidden: Float[Tensor, "n D"],
        logits: Float[Tensor, "n V"],
        tokens: Int[Tensor, "n"],
        rows: Int[Tensor, "n"],
        writing: Bool[Tensor, "n"],
    ) -> Bool[Tensor, "n"] | None:
        """Who is given up, save those under audit."""
        if self.regrets is None:
            self.regrets = Regrets(len(self.streams), self.rule, logits.device)
            self.owner.tally.regrets.append(self.regrets)
        part = self.owner.part
        values = None if self.read is None else self.read(hidden)
        given_up = self.regrets.step(logits, tokens, rows, writing, values)
        if self.acts and part.at_random:
            given_up = self._at_random(rows, writing)
        return given_up if given_up is None or not part.audit else self._audited(given_up, rows)

    def _audited(self, given_up: Bool[Tensor, "n"], rows: Int[Tensor, "n"]) -> Bool[Tensor, "n"] | None:
        """Those who are not under audit; the others are noted. Only a row that is given up is drawn for."""
        seed, slots = self.owner.seed, given_up.nonzero().squeeze(-1)
        for slot, row in zip(slots.tolist(), rows[slots].tolist(), strict=True):
            stream = self.streams[row]
            if row not in self.spared:
                self.spared[row] = float(uniforms(seed, "control/audit", *stream, count=1)[0]) < self.owner.part.audit
            if self.spared[row]:
                given_up[slot] = False
                self.owner.tally.audited.add(".".join(map(str, stream)))
        return given_up if bool(given_up.any()) else None

    def _at_random(self, rows: Int[Tensor, "n"], writing: Bool[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Each token of each row ends it with the hazard, drawn by the row's identity."""
        slots = writing.nonzero().squeeze(-1)
        own = rows[slots].cpu()
        at = self.thrown[own]
        for row in own[at % DICE == 0].tolist():
            block = int(self.thrown[row]) // DICE
            drawn = uniforms(self.owner.seed, "control/random", *self.streams[row], block, count=DICE)
            self.dice[row] = torch.from_numpy(drawn)
        self.thrown[own] += 1
        stops = self.dice[own, at % DICE] < self.owner.memory.hazard
        return torch.zeros_like(writing).index_copy_(0, slots, stops.to(writing.device))
