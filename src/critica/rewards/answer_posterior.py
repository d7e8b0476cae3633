"""Ours: verdicts in the light of who gave the same answer. Equal answers share their fate, and one answer is right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from critica.environments.base import Environment
from critica.functional.answer_posterior import AnswerModel, Answers, chance_right, fit_answers
from critica.functional.posterior import Channel
from critica.records.arrays import Metric
from critica.records.supervision import Reward, Scored
from critica.records.words import Group
from critica.rewards.base import Scope
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, Said, corrected
from critica.rewards.posterior import INNER, RATES, channel_of, check_rates, kind_of
from critica.rewards.rates import two_valued

FEWEST_GROUPS = 8
KEPT_GROUPS = 512  # the last so many groups are fitted to, at most
FIRST_SWEEPS, SWEEPS = 10, 2


@dataclass(frozen=True, slots=True)
class AnswerPosterior(CorrectionPart):
    """Told is P(this answer is right | all siblings' answers and what each was told), by Bayes' rule.

    For tasks with one right answer and an environment that can say what was answered (`Environment.answer_in`):
    siblings with equal answers are right together, and of different answers at most one is right. So a group in which
    two different answers are told right was told the wrong way round; a lie about one of six equal answers is outvoted
    by the other five; and where verdicts say little, agreement does (self-consistency, arXiv 2203.11171). See
    `functional.answer_posterior` for the model: a Beta law of success for each kind of prompt, a Chinese restaurant
    for wrong answers, and a channel of false positives, false negatives and exchanged groups.

    Rates named in `estimate` are fitted to answers and verdicts as training goes, without audits, as are the priors:
    by two sweeps of expectation maximization every `every` steps over the last 512 groups, older ones fading by `kept`
    a step. When it misleads: tasks with several right answers that are written differently, a policy whose commonest
    answer is wrong on most prompts, verdicts that err in the same way for everybody who gives an answer (wrong
    labels). Cost: a fit takes a few hundredths of a second, whatever the policy's size.
    """

    false_positives: float = 0.0
    false_negatives: float = 0.0
    exchanged_groups: float = 0.0
    estimate: tuple[str, ...] = RATES
    kept: float = 0.95
    every: int = 2

    def __post_init__(self) -> None:
        check_rates(self)

    @property
    def scope(self) -> Scope:
        return "group"

    def build(self, context: CorrectionContext) -> "LiveAnswerPosterior":
        """With the environment that reads answers."""
        return LiveAnswerPosterior(self, context.environment)


@dataclass(slots=True)
class Heard:
    """One group as counts: kind of prompt, answers given, told high among them, and the same of those without one."""

    kind: int
    sizes: list[int]
    high: list[int]
    mute: int
    mute_high: int
    weight: float = 1.0


class LiveAnswerPosterior:
    """The last groups, and the last fit to them."""

    def __init__(self, part: AnswerPosterior, environment: Environment) -> None:
        self.part, self.environment = part, environment
        self.kinds: list[str] = []
        self.heard: list[Heard] = []
        self.model = AnswerModel(channel_of(part), ())
        self.step = 0
        self.fitted = False
        self.exchanged, self.groups = 0.0, 0

    def correct(self, said: Said) -> list[Reward]:
        """Group by group, after this round has been counted."""
        if said.step != self.step:
            self.step, self.exchanged, self.groups = said.step, 0.0, 0
            for old in self.heard:
                old.weight *= self.part.kept
        told = {r.trajectory_id: two_valued(r, said) for r in said.rewards if isinstance(r.outcome, Scored)}
        fresh, places = [], {}
        for group in said.groups:
            members = [t.trajectory_id for t in group.trajectories if t.trajectory_id in told]
            if members:
                heard, classes = self.listen(group, told)
                places |= {name: (len(fresh), classes[name]) for name in members}
                fresh.append(heard)
        if not fresh:
            return list(said.rewards)
        self.heard = (self.heard + fresh)[-KEPT_GROUPS:]
        if (not self.fitted or said.step % self.part.every == 0) and len(self.heard) >= FEWEST_GROUPS:
            self.refit()
        chances, turned = chance_right(tabled(fresh), self.model)
        self.exchanged, self.groups = self.exchanged + float(turned.sum()), self.groups + len(fresh)
        width = said.scale.high - said.scale.low
        made = []
        for reward in said.rewards:
            if reward.trajectory_id not in places:
                made.append(reward)
                continue
            row, column = places[reward.trajectory_id]
            right = float(chances[row, column]) if column >= 0 else 0.0
            made.append(corrected(reward, said.scale.low + width * right, "answer_posterior"))
        return made

    def listen(self, group: Group, told: Mapping[str, float]) -> tuple[Heard, dict[str, int]]:
        """The group as counts, and the class of each member; -1 for one without an answer."""
        numbers: dict[str, int] = {}
        classes = {}
        heard = Heard(kind_of(group.task, self.kinds), [], [], 0, 0)
        if len(self.kinds) > len(self.model.priors):
            self.model = AnswerModel(self.model.channel, (*self.model.priors, (1.0, 1.0)), self.model.concentration)
        for trajectory in group.trajectories:
            name = trajectory.trajectory_id
            if name not in told:
                continue
            answer = self.environment.answer_in(group.task, trajectory.sampled_text)
            if not answer:
                classes[name] = -1
                heard.mute, heard.mute_high = heard.mute + 1, heard.mute_high + int(told[name])
                continue
            classes[name] = numbers.setdefault(answer, len(numbers))
            if classes[name] == len(heard.sizes):
                heard.sizes.append(0)
                heard.high.append(0)
            heard.sizes[classes[name]] += 1
            heard.high[classes[name]] += int(told[name])
        return heard, classes

    def refit(self) -> None:
        """From the last fit; the stated rates keep what the groups leave open."""
        free = tuple(INNER[name] for name in self.part.estimate)
        weight = torch.tensor([heard.weight for heard in self.heard], dtype=torch.float64)
        sweeps = SWEEPS if self.fitted else FIRST_SWEEPS
        self.model = fit_answers(tabled(self.heard), weight, self.model, free, channel_of(self.part), sweeps=sweeps)
        self.fitted = True

    def reports(self) -> tuple[Metric, ...]:
        """The channel, its J, and the share of groups that were probably told the wrong way round."""
        if not self.groups:
            return ()
        channel = self.model.channel
        return (
            Metric("correction/false_positives", channel.rho0, 1.0),
            Metric("correction/false_negatives", channel.rho1, 1.0),
            Metric("correction/exchanged_groups", channel.swapped, 1.0),
            Metric("correction/signal", channel.signal, 1.0),
            Metric("correction/exchanged_share", self.exchanged, float(self.groups)),
        )

    def close(self) -> None:
        """Nothing to end."""

    def state_dict(self) -> dict[str, Any]:
        """The groups and the fit."""
        channel = self.model.channel
        return {
            "kinds": list(self.kinds),
            "heard": [[h.kind, h.sizes, h.high, h.mute, h.mute_high, h.weight] for h in self.heard],
            "channel": [channel.rho0, channel.rho1, channel.swapped],
            "priors": [list(prior) for prior in self.model.priors],
            "concentration": self.model.concentration,
            "step": self.step,
            "fitted": self.fitted,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        self.kinds = list(state["kinds"])
        self.heard = [Heard(*row) for row in state["heard"]]
        priors = tuple((a, b) for a, b in state["priors"])
        self.model = AnswerModel(Channel(*state["channel"]), priors, state["concentration"])
        self.step, self.fitted = state["step"], state["fitted"]


def tabled(groups: Sequence[Heard]) -> Answers:
    """As padded tensors."""
    width = max(1, *(len(heard.sizes) for heard in groups))
    sizes = torch.zeros(len(groups), width, dtype=torch.float64)
    high = torch.zeros(len(groups), width, dtype=torch.float64)
    for n, heard in enumerate(groups):
        sizes[n, : len(heard.sizes)] = torch.tensor(heard.sizes, dtype=torch.float64)
        high[n, : len(heard.high)] = torch.tensor(heard.high, dtype=torch.float64)
    counts = torch.tensor([[heard.mute, heard.mute_high] for heard in groups], dtype=torch.float64)
    return Answers(sizes, high, counts[:, 0], counts[:, 1], torch.tensor([heard.kind for heard in groups]))
