"""Ours: what to make of a verdict in the light of its siblings' verdicts and of how often such prompts are solved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from critica.functional.posterior import Channel, Fit, expected_truth, fit_channel
from critica.records.arrays import Metric
from critica.records.supervision import Reward, Scored
from critica.records.words import Task
from critica.rewards.base import Scope
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, Said, corrected
from critica.rewards.rates import CorrectionProblem, two_valued

RATES = ("false_positives", "false_negatives", "exchanged_groups")
INNER = {"false_positives": "rho0", "false_negatives": "rho1", "exchanged_groups": "swapped"}
FEWEST_GROUPS = 8.0  # of counts, before anything is fitted


@dataclass(frozen=True, slots=True)
class Posterior(CorrectionPart):
    """Told is P(right | all verdicts about the prompt's answers), by Bayes' rule under a channel and a prior.

    The channel: false positives, false negatives, and whole groups exchanged (`exchanged_groups`). The prior: how
    often the policy solves prompts of a kind (the task's data set), a Beta law fitted to the verdicts as training
    goes. A verdict that its siblings contradict counts for little; where the policy is right nine times of ten, a
    group of which one in ten is told right was most likely exchanged, and is read the other way round.

    Rates named in `estimate` are fitted to the verdicts themselves, without audits: kinds of prompts that differ in
    difficulty and share their errors tell the two apart. The others stay as stated. Counts fade by `kept` a step;
    fits are made at steps 1, 2, 4 and then every `every` steps. When it helps little: one kind of prompt and rates
    near one half, where hard prompts and wrong verdicts look alike; state the rates then, or audit.

    For two-valued rewards. What training is told lies in the range and is no unbiased estimate of the clean value:
    for each prompt it is a rising line of it, steeper where verdicts are worth more. Take it beside an advantage that
    does not divide by the group's spread, which would undo that weighting.
    """

    false_positives: float = 0.0
    false_negatives: float = 0.0
    exchanged_groups: float = 0.0
    estimate: tuple[str, ...] = RATES
    kept: float = 0.95
    every: int = 4

    def __post_init__(self) -> None:
        check_rates(self)

    @property
    def scope(self) -> Scope:
        return "group"

    @property
    def rising_in_groups(self) -> bool:
        """Two values become two others in the same order, unless whole groups may be read the other way round."""
        return not self.exchanged_groups and "exchanged_groups" not in self.estimate

    def build(self, context: CorrectionContext) -> "LivePosterior":
        """With counts of its own."""
        return LivePosterior(self)


class StatesRates(Protocol):
    """The settings that both posteriors share."""

    @property
    def estimate(self) -> tuple[str, ...]: ...

    @property
    def kept(self) -> float: ...

    @property
    def every(self) -> int: ...


def check_rates(part: StatesRates) -> None:
    """Raise `CorrectionProblem` for settings that mean nothing."""
    for name in RATES:
        if not 0.0 <= getattr(part, name) < 0.5:
            raise CorrectionProblem(
                f"{name} is {getattr(part, name)}: a rate in [0, .5); at one half verdicts say nothing"
            )
    unknown = [name for name in part.estimate if name not in RATES]
    if unknown:
        raise CorrectionProblem(f"estimate names {', '.join(unknown)}: write some of {', '.join(RATES)}")
    if not 0.0 < part.kept <= 1.0 or part.every < 1:
        raise CorrectionProblem("kept must lie in (0, 1] and every be at least 1")
    if not part.estimate and not any(getattr(part, name) for name in RATES):
        raise CorrectionProblem(
            "with no rate stated and none to estimate verdicts are taken to be right: state a rate"
            " (correction.exchanged_groups=0.2), or leave correction.estimate as it is"
        )


def channel_of(part: StatesRates) -> Channel:
    """As stated; where fits begin. A free rate that is stated as 0 begins at .05."""
    stated = {name: getattr(part, name) or (0.05 if name in part.estimate else 0.0) for name in RATES}
    return Channel(**{INNER[name]: value for name, value in stated.items()})


def kind_of(task: Task, kinds: list[str]) -> int:
    """The number of the task's data set, or of its environment; a new one is added to `kinds`."""
    name = str(task.info.get("dataset", task.environment))
    if name not in kinds:
        kinds.append(name)
    return kinds.index(name)


class LivePosterior:
    """Counts of how many siblings were told high, by kind of prompt and size of group, and the last fit to them."""

    def __init__(self, part: Posterior) -> None:
        self.part = part
        self.kinds: list[str] = []
        self.counts: dict[tuple[int, int], Tensor] = {}
        self.fit = Fit(channel_of(part), (), 0.0)
        self.step = 0
        self.exchanged = 0.0
        self.groups = 0

    def correct(self, said: Said) -> list[Reward]:
        """Group by group, after this round's verdicts have been counted."""
        if said.step != self.step:
            self.step, self.exchanged, self.groups = said.step, 0.0, 0
            self.counts = {key: count * self.part.kept for key, count in self.counts.items()}
        told = {r.trajectory_id: two_valued(r, said) for r in said.rewards if isinstance(r.outcome, Scored)}
        read = []
        for group in said.groups:
            heard = [told[t.trajectory_id] for t in group.trajectories if t.trajectory_id in told]
            if heard:
                read.append((group, self.kind_of(group.task), len(heard), int(sum(heard))))
        for _, kind, size, high in read:
            self.counts.setdefault((kind, size), torch.zeros(size + 1, dtype=torch.float64))[high] += 1
        if said.step in (1, 2, 4) or said.step % self.part.every == 0:
            self.refit()
        values: dict[str, float] = {}
        width = said.scale.high - said.scale.low
        for group, kind, size, high in read:
            a, b = self.fit.priors[kind]
            if_high, if_low, turned = expected_truth(size, a, b, self.fit.channel)
            self.exchanged, self.groups = self.exchanged + float(turned[high]), self.groups + 1
            for trajectory in group.trajectories:
                if trajectory.trajectory_id in told:
                    law = if_high if told[trajectory.trajectory_id] else if_low
                    values[trajectory.trajectory_id] = said.scale.low + width * float(law[high])
        return [
            corrected(reward, values[reward.trajectory_id], "posterior") if reward.trajectory_id in values else reward
            for reward in said.rewards
        ]

    def kind_of(self, task: Task) -> int:
        """The number of the task's kind; a new one gets an even prior."""
        kind = kind_of(task, self.kinds)
        if kind == len(self.fit.priors):
            self.fit = Fit(self.fit.channel, (*self.fit.priors, (1.0, 1.0)), self.fit.mean_log_likelihood)
        return kind

    def refit(self) -> None:
        """The likeliest channel and priors; from the stated rates, which keep what the counts leave open."""
        if sum(float(count.sum()) for count in self.counts.values()) < FEWEST_GROUPS:
            return
        free = tuple(INNER[name] for name in self.part.estimate)
        counts = tuple((kind, count) for (kind, _), count in sorted(self.counts.items()))
        self.fit = fit_channel(counts, Fit(channel_of(self.part), self.fit.priors, 0.0), free)

    def reports(self) -> tuple[Metric, ...]:
        """The channel, its J, and the share of groups that were probably exchanged."""
        channel = self.fit.channel
        made = [
            Metric("correction/false_positives", channel.rho0, 1.0),
            Metric("correction/false_negatives", channel.rho1, 1.0),
            Metric("correction/exchanged_groups", channel.swapped, 1.0),
            Metric("correction/signal", channel.signal, 1.0),
        ]
        return (*made, Metric("correction/exchanged_share", self.exchanged, float(self.groups))) if self.groups else ()

    def close(self) -> None:
        """Nothing to end."""

    def state_dict(self) -> dict[str, Any]:
        """Counts and fit."""
        channel = self.fit.channel
        return {
            "kinds": list(self.kinds),
            "counts": [[kind, size, count.tolist()] for (kind, size), count in sorted(self.counts.items())],
            "channel": [channel.rho0, channel.rho1, channel.swapped],
            "priors": [list(prior) for prior in self.fit.priors],
            "step": self.step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        self.kinds = list(state["kinds"])
        self.counts = {(kind, size): torch.tensor(count, dtype=torch.float64) for kind, size, count in state["counts"]}
        self.fit = Fit(Channel(*state["channel"]), tuple((a, b) for a, b in state["priors"]), 0.0)
        self.step = state["step"]
