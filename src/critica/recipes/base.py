"""A recipe is a sentence that picks parts; this file says which parts a sentence has and where its values come from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from critica.advantages.base import AdvantageRule
from critica.critics.base import CriticPart
from critica.critics.counted import GroupMean, LeaveOneOut
from critica.critics.targets import MonteCarlo, TargetRule
from critica.curricula.base import CurriculumPart
from critica.curricula.stream import Stream
from critica.environments.base import EnvironmentConfig
from critica.environments.catalogue import pico
from critica.objectives.base import Objective
from critica.objectives.policy_loss import PolicyLoss
from critica.policies.base import SampleLimits
from critica.policies.decoding import DecodingPart, TokenByToken
from critica.policies.part import LocalPolicy
from critica.policies.truncation import Truncation
from critica.recipes.misfits import refuse_misfits
from critica.records.supervision import Scale
from critica.rewards.base import FailurePolicy, RewardConfig
from critica.rewards.correction_base import CorrectionPart, Uncorrected
from critica.rewards.each_objective import EachObjective
from critica.rewards.noise import NoNoise
from critica.rewards.noise_base import NoiseModel
from critica.rewards.several import Several
from critica.rewards.verifiers import EnvironmentScorer
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll, AdmissionRule, Informative
from critica.rollout.budget import BudgetRule, Uniform
from critica.rollout.combine import NormalizeThenSum, Sum
from critica.rollout.control import ControlPart, NoControl
from critica.rollout.place import Placement
from critica.rollout.protocol import ProtocolPart, SingleTurn
from critica.updaters.evolution import EvolutionStrategy
from critica.updaters.gradient import Adam
from critica.updaters.replay_ratio import AdaptiveReplay, FixedReplay, Replay


@dataclass(frozen=True, slots=True)
class Paper:
    """Where the idea was published."""

    title: str
    arxiv: str = ""


@dataclass(frozen=True, slots=True)
class PaperSays:
    """The paper states this value, at this place."""

    where: str


@dataclass(frozen=True, slots=True)
class CodeSays:
    """A public implementation uses this value, in this file."""

    where: str


@dataclass(frozen=True, slots=True)
class OurChoice:
    """We chose this value for the stated reason; `paper` is what the paper used, if known."""

    because: str
    paper: str = ""


Source = PaperSays | CodeSays | OurChoice


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many prompts and samples a step gathers, and how they are written.

    `samples_per_prompt` is what a prompt gets, or what prompts get on average where a budget spreads samples.
    `max_new_tokens` 0 takes the environment's own token limit.

    `top_k` (0: all), then `top_p`, then `min_p` leave tokens out of what is drawn from; by default none. The recorded
    log-probs are then of the law over the tokens left, and which were left is recorded too: all log-probs that training
    compares are taken over these same sets, so that ratios are 1 on-policy (see `functional.kept_laws`). A token that
    is never drawn is never learned from either, so exploration is the price. Held-out accuracy is measured without.

    `stop`: texts that end an answer, which is then no truncated one. The string stays in the answer's text; what its
    last token holds beyond it does not.
    """

    prompts_per_step: int = 16
    samples_per_prompt: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()

    def limits(self, otherwise: int) -> SampleLimits:
        """How answers are written; `otherwise` is the environment's token limit."""
        truncation = Truncation(self.top_p, self.top_k, self.min_p)
        return SampleLimits(self.max_new_tokens or otherwise, self.temperature, 0, truncation, self.stop)

    def __post_init__(self) -> None:
        Truncation(self.top_p, self.top_k, self.min_p)
        if any(not stop for stop in self.stop):
            raise ValueError("stop holds an empty text, which every answer begins with: leave it out")
        if self.prompts_per_step < 1 or self.samples_per_prompt < 1:
            raise ValueError("prompts_per_step and samples_per_prompt must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be at least 0 and finite, got {self.temperature}")


@dataclass(frozen=True, slots=True)
class Learner:
    """How often each model is updated on a step's batch, and by which optimizer.

    `policy_epochs` passes over the batch, each cut into `updates_per_epoch` optimizer steps; the critic makes
    `critic_epochs` passes, or as many as `replay` lets it. `critic_warmup_steps` first steps train the critic alone.
    `tokens_per_microbatch` bounds memory and changes nothing else. `policy` is Adam on the objective's gradient, or an
    evolution strategy on told outcomes, which reads neither objective nor advantage.
    """

    policy: Adam | EvolutionStrategy = field(default_factory=Adam)
    critic: Adam = field(default_factory=lambda: Adam(head_factor=10.0))
    policy_epochs: int = 1
    updates_per_epoch: int = 1
    critic_epochs: int = 1
    critic_warmup_steps: int = 0
    tokens_per_microbatch: int = 16384
    replay: Replay = FixedReplay()

    def __post_init__(self) -> None:
        for name in ("policy_epochs", "updates_per_epoch", "critic_epochs", "tokens_per_microbatch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.critic_warmup_steps < 0:
            raise ValueError("critic_warmup_steps cannot be negative")
        if isinstance(self.replay, AdaptiveReplay) and self.critic_epochs != 1:
            raise ValueError(
                f"critic_epochs={self.critic_epochs} and an adaptive replay both say how often the critic learns from"
                " a batch: leave critic_epochs at 1 and set learner.replay.low and learner.replay.high"
            )


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Save every `every` steps (and at the end, and on Ctrl-C); keep the last `keep`.

    `background` lets training go on while a checkpoint reaches the disk.
    """

    every: int = 50
    keep: int = 2
    background: bool = False

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise ValueError("checkpoint.every and checkpoint.keep must be at least 1")


@dataclass(frozen=True, slots=True)
class Safety:
    """What happens when a number is not finite: the step is skipped and kept for replay (the first `kept_batches`).

    After `skips_in_a_row` such steps the run stops. `rehearsal` checks before training that every weight moves and
    that sampler and trainer agree.
    """

    skips_in_a_row: int = 3
    kept_batches: int = 4
    rehearsal: bool = True

    def __post_init__(self) -> None:
        if self.skips_in_a_row < 1 or self.kept_batches < 0:
            raise ValueError("safety.skips_in_a_row must be at least 1, and safety.kept_batches not negative")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out evaluation before and after training, and every `every` steps in between (0: not in between).

    `prompts` 0 switches it off. Accuracy is measured at temperature 1 with `samples` each, and greedy. `keep_best`
    keeps the policy that was best on the way, at temperature 1, as the model folder RUN/best: by accuracy, the
    environment's word, or with `best_by` reward by the mean of the run's own reward, which is measured beside it.
    """

    prompts: int = 0
    samples: int = 1
    every: int = 0
    keep_best: bool = False
    best_by: Literal["accuracy", "reward"] = "accuracy"

    def __post_init__(self) -> None:
        if self.prompts < 0 or self.samples < 1 or self.every < 0:
            raise ValueError("held_out.prompts and held_out.every cannot be negative, held_out.samples is at least 1")
        if self.every and not self.prompts:
            raise ValueError(f"held_out.every={self.every} measures nothing: set held_out.prompts, say to 200")
        if self.keep_best and not self.every:
            raise ValueError("held_out.keep_best compares what is measured on the way: set held_out.every, say to 20")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One published system, or one resolved run: parts, and the provenance of every value that matters."""

    name: str
    paper: Paper
    critic: CriticPart
    advantage: AdvantageRule
    objective: Objective
    target: TargetRule = MonteCarlo()
    policy: LocalPolicy = field(default_factory=LocalPolicy)
    environment: EnvironmentConfig = field(default_factory=pico)
    reward: RewardConfig = field(default_factory=EnvironmentScorer)
    noise: NoiseModel = field(default_factory=NoNoise)
    correction: CorrectionPart = Uncorrected()
    failures: FailurePolicy = field(default_factory=FailurePolicy)
    placement: Placement = Placement()
    admission: AdmissionRule = AcceptAll()
    control: ControlPart = NoControl()
    decoding: DecodingPart = TokenByToken()
    protocol: ProtocolPart = SingleTurn()
    budget: BudgetRule = Uniform()
    curriculum: CurriculumPart = Stream()
    sampling: Sampling = Sampling()
    learner: Learner = field(default_factory=Learner)
    checkpoint: Checkpoints = Checkpoints()
    safety: Safety = Safety()
    workers: WorkerLimits = WorkerLimits()
    held_out: HeldOut = HeldOut()
    steps: int = 200
    seed: int = 0
    threads: int = 0
    wing: Literal["value critics", "objectives", "supervision"] = "objectives"
    provenance: Mapping[str, Source] = field(
        default_factory=lambda: MappingProxyType({}), hash=False, metadata={"saved": False}
    )

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.critic.group_based and self.sampling.samples_per_prompt < 2:
            raise ValueError(
                f"the {self.name!r} baseline compares samples of one prompt, so samples_per_prompt must be at least 2;"
                " set sampling.samples_per_prompt=8, or use a recipe with a learned critic (ppo, vc_ppo, dvpo)"
            )
        self.budget.check(self.critic, self.sampling.samples_per_prompt)
        self.refuse_waves()
        self.refuse_mixed_units()
        self.refuse_echoes()
        self.refuse_turns()
        refuse_misfits(self)
        self.advantage.check(self.critic)
        self.target.check(self.critic)
        self.control.check(self.target)

    def refuse_waves(self) -> None:
        """Raise ValueError if siblings must be judged together and are written in waves."""
        compares = [name for name, part in (("reward", self.reward), ("correction", self.correction))
                    if part.scope != "sample"]  # fmt: skip
        if compares and not isinstance(self.budget, Uniform):
            raise ValueError(
                f"{compares[0]}={type(getattr(self, compares[0])).__name__} compares the siblings of a prompt, and this"
                " budget asks about some before others are written: set budget=uniform"
            )

    def refuse_mixed_units(self) -> None:
        """Raise ValueError if a budget holds outcomes against forecasts that are in other units."""
        if self.budget.compares_outcomes and not self.placement.as_said:
            raise ValueError(
                f"{type(self.budget).__name__} compares what is said of the first answers with what the critic expects"
                " to be told, and this placement tells something else: take placement.combination=sum without weights"
                " (or of 1), and no denoise, novelty or overlong; or budget=uniform"
            )

    def refuse_turns(self) -> None:
        """Raise ValueError if episodes of several turns meet a part that knows single answers only."""
        if self.protocol.single:
            return
        compares = any(part.scope != "sample" for part in (self.reward, self.correction))
        unlike = [
            (not isinstance(self.control, NoControl), "a decode control knows no second turn: set control=none"),
            (not isinstance(self.budget, Uniform), "budgets in waves count single answers: set budget=uniform"),
            (compares, "turns are judged while siblings still write: take a reward and a correction of scope 'sample'"),
            (isinstance(self.reward, Several), "one verdict decides how a turn is answered: take one reward of several"),
            (not isinstance(self.decoding, TokenByToken), "turns are written token by token: set"
             " decoding=token_by_token"),
        ]  # fmt: skip
        for wrong, way in unlike:
            if wrong:
                raise ValueError(f"protocol={type(self.protocol).__name__}: {way}; or set protocol=single_turn")

    def refuse_echoes(self) -> None:
        """Raise ValueError if outcomes are to be shrunk toward a critic that only knows the siblings' outcomes."""
        if self.placement.denoise.weight and self.critic.group_based:
            raise ValueError(
                f"placement.denoise shrinks what was told toward the critic's value, and {type(self.critic).__name__}"
                " compares samples of one prompt: they share their noise, or are the outcome itself. Take a critic"
                " that learns over prompts (critic=scalar, quantile, surprise), or set placement.denoise.weight=0"
            )

    def idle_corrections(self, objectives: int = 1) -> tuple[str, ...]:
        """A correction that provably changes nothing here, with the reason and what to take instead.

        `objectives` is how many the source has, if it is known; several sources are that many at least.
        """
        if self.correction.watches:
            return ()
        several = max(objectives, len(self.reward.sources) if isinstance(self.reward, Several) else 1) > 1
        alike = not isinstance(self.correction, EachObjective)  # every objective is stretched by the same factor
        sums = isinstance(self.admission, Informative) and several and not (alike and self.correction.affine)
        if (sums or not isinstance(self.admission, AcceptAll | Informative)
                or not isinstance(self.budget, Uniform) or not isinstance(self.control, NoControl)
                or not self.protocol.single):  # fmt: skip
            return ()  # something looks at the values before they are combined
        undone = self._undone_by_combination() or self._undone_by_comparison(several, alike)
        if not undone:
            return ()
        return (
            f"correction={type(self.correction).__name__} changes nothing here but the logged rewards: {undone}. Take"
            " correction=posterior with exchanged groups and an advantage that does not divide by the group's spread,"
            " rates that are not constant (correction.rates=audited), or a critic that learns values",
        )

    def _undone_by_combination(self) -> str:
        """Why what is told is the same, if it is."""
        rule, part = self.placement.combination, self.correction
        if not isinstance(rule, NormalizeThenSum):
            return ""
        by_group = rule.unit == "group" and not rule.levels and part.rising_in_groups
        return "each objective is standardized, whatever line it went through" if part.affine or by_group else ""

    def _undone_by_comparison(self, several: bool, alike: bool) -> str:
        """Why the credit is the same although what is told is not."""
        told, part = self.placement, self.correction
        learns_from_values = not isinstance(self.objective, PolicyLoss) or any(
            penalty.reads_outcomes for penalty in self.objective.penalties
        )
        charged = told.reference_kl or told.overlong.limit_tokens or told.denoise.weight or told.novelty.coefficient
        if learns_from_values or charged or not isinstance(told.combination, Sum):
            return ""
        if not isinstance(self.critic, GroupMean | LeaveOneOut):
            return ""
        if part.shifts and self.advantage.shift_free:
            return "it adds one number to every verdict, and siblings are compared"
        if part.affine and alike and self.advantage.scale_free:
            return "it maps every verdict by one straight line, and differences of siblings are divided by their spread"
        if part.rising_in_groups and not several and self.advantage.divides_by_group_spread:
            return "it stretches each group as a whole, and each group is divided by its spread"
        return ""

    def told_scales(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """What training may be told on each objective, for sources of these scales: after noise, correction and
        combination, and if answers are cut."""
        prompts, samples = self.sampling.prompts_per_step, self.sampling.samples_per_prompt
        siblings = self.budget.bounds(self.curriculum.most_samples(prompts, samples))[1]
        first, *rest = self.placement.combination.reach(
            self.protocol.reach(self.corrected_scales(scales)), siblings, siblings * self.sampling.prompts_per_step
        )
        return (replace(first, high=first.high + self.placement.novelty.coefficient), *rest)

    def said_scales(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """What may be said on each objective, noise included."""
        return tuple(Scale(scale.name, *self.noise.reach(scale.low, scale.high)) for scale in scales)

    def corrected_scales(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """What may come out of the correction, or of an answer that was cut: the failure, and 0 on other objectives."""
        told = []
        cuts = self.control.lowest(math.inf) < math.inf
        for j, scale in enumerate(self.said_scales(scales)):
            low, high = self.correction.of(j).reach(scale.low, scale.high)
            if j and cuts:
                low, high = min(low, 0.0), max(high, 0.0)
            told.append(Scale(scale.name, low if j else self.control.lowest(low), high))
        return tuple(told)

    def summed_range(self, scales: Sequence[Scale]) -> tuple[float, float]:
        """Of the sum over objectives before they are combined: what admission and budgets look at."""
        told = self.protocol.reach(self.corrected_scales(scales))
        return math.fsum(scale.low for scale in told), math.fsum(scale.high for scale in told)

    def told_range(self, scales: Sequence[Scale]) -> tuple[float, float]:
        """What training may be told in all: the sum over objectives."""
        told = self.told_scales(scales)
        return math.fsum(scale.low for scale in told), math.fsum(scale.high for scale in told)
