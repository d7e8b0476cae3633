"""ESPO: an answer is given up while it is written: its tokens surprise the policy, and the critic expects little."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.critics.learned import LearnedCritic
from critica.functional.random import uniforms
from critica.functional.stopping import (
    gives_up,
    moments,
    smoothed,
    standardized_regret,
    steered,
    steered_hazard,
    surrogate_regret,
)
from critica.policies.base import DecodeControl
from critica.records.arrays import Metric
from critica.records.supervision import Reward
from critica.records.words import StopReason, Trajectory
from critica.rollout.control import Control, ControlContext, ControlPart, Stream

CLIP, LOW, HIGH, GAIN = 5.0, 0.5, 50.0, 0.1  # of the standardized regret; of the threshold; of its steering
CORRECT = 0.999


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
    regret and are never caught. Cost: a maximum over the logits and the critic's head, per token.
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

    tokens: int = 0
    total: float = 0.0
    squares: float = 0.0
    audited: set[str] = field(default_factory=set)  # trajectories that the rule gave up and the audit let go on

    def add(self, tokens: int, total: float, squares: float) -> None:
        """Regrets of one decoding step."""
        self.tokens, self.total, self.squares = self.tokens + tokens, self.total + total, self.squares + squares


class LiveEarlyStop(Control):
    """The rule with its memory."""

    def __init__(self, part: EarlyStop, critic: LearnedCritic, seed: int) -> None:
        self.part, self.critic, self.seed = part, critic, seed
        self.memory = Memory(threshold=part.threshold)
        self.tally = Tally()

    @property
    def failure(self) -> float:
        return self.part.failure

    def begin(self, step: int, streams: Sequence[Stream], temperature: float) -> DecodeControl | None:
        """The rule for one call of the decoder; during the warm-up it only watches."""
        return Watch(self, streams, temperature, acts=step > self.part.warmup_steps)

    def close(self, trajectories: Sequence[Trajectory], rewards: Sequence[Reward]) -> tuple[Metric, ...]:
        """Renew the statistics, steer the threshold, report."""
        memory, tally, part = self.memory, self.tally, self.part
        if tally.tokens:
            mean, variance = moments(tally.tokens, tally.total, tally.squares)
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
    """One call of the decoder: each row's smoothed signal, by row number."""

    def __init__(self, owner: LiveEarlyStop, streams: Sequence[Stream], temperature: float, acts: bool) -> None:
        self.owner, self.temperature, self.acts = owner, temperature, acts
        self.names = [".".join(map(str, stream)) for stream in streams]
        part, seed = owner.part, owner.seed
        draws = [float(uniforms(seed, "control/audit", *stream, count=1)[0]) for stream in streams] if acts else []
        self.spared = torch.tensor([draw < part.audit for draw in draws], dtype=torch.bool)
        self.signal = torch.zeros(len(streams))
        self.dice = [torch.empty(0)] * len(streams)
        self.streams, self.written = streams, torch.zeros(len(streams), dtype=torch.long)
        self._logits = torch.empty(0)
        self._value = torch.empty(0)

    def on_logits(
        self, hidden: Float[Tensor, "n D"], logits: Float[Tensor, "n V"], rows: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, "n V"], Bool[Tensor, "n"]]:
        """Nothing is changed; what the rule reads is kept until the token is known."""
        self._logits = logits
        if self.acts and not self.owner.part.at_random:
            self._value = self.owner.critic.expect(hidden)
        return logits, torch.zeros(len(rows), dtype=torch.bool, device=logits.device)

    def on_tokens(self, tokens: Int[Tensor, "n"], rows: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Who is given up, save those under audit."""
        tally, memory, part = self.owner.tally, self.owner.memory, self.owner.part
        regret = surrogate_regret(self._logits, tokens, self.temperature)
        exact = regret.double()
        tally.add(len(rows), float(exact.sum()), float(exact @ exact))
        if not self.acts:
            return torch.zeros_like(tokens, dtype=torch.bool)
        if part.at_random:
            given_up = self._at_random(rows)
        else:
            now = standardized_regret(regret, memory.mean, memory.variance, CLIP)
            self.signal[rows] = smoothed(self.signal[rows], now, part.smoothing)
            given_up = gives_up(self.signal[rows], self._value, memory.threshold)
        spared = given_up & self.spared[rows]
        if bool(spared.any()):
            tally.audited.update(self.names[row] for row in rows[spared].tolist())
        return given_up & ~spared

    def _at_random(self, rows: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Each token of each row ends it with the hazard, drawn by the row's identity."""
        chosen = []
        for row in rows.tolist():
            at = int(self.written[row])
            if at % 64 == 0:
                self.dice[row] = torch.from_numpy(
                    uniforms(self.owner.seed, "control/random", *self.streams[row], at // 64, count=64)
                )
            chosen.append(float(self.dice[row][at % 64]) < self.owner.memory.hazard)
        self.written[rows] += 1
        return torch.tensor(chosen, dtype=torch.bool)
