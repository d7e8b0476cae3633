"""Wrong labels: a prompt's right answer is replaced for good, and answers are judged against the replacement.

Unlike a flip, which lies about an answer, a wrong label lies about the prompt: whoever writes the wrong label is told
right, everybody else is told wrong, and it is the same whenever the prompt comes back. The source itself judges again,
against the other label, in its own workers; what it says about the true one stays beside as the clean value.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from critica.environments.base import Environment
from critica.environments.numbers import parse_number
from critica.functional.random import generator, stream_key, uniforms
from critica.policies.base import Policy, SampleLimits, SampleRequest
from critica.records.supervision import Outcome, Reward, Scored, Tampering
from critica.records.words import Group, Task
from critica.rewards.base import RewardSource, ScoreRequest, scales_of, scope_of
from critica.rewards.noise_base import NoiseModel, NoiseProblem, check_share, refuse_stranger, shortest
from critica.rewards.noise_context import NoiseContext

WRONG, VOTE, TIE = "rewards.noise.wrong_labels", "rewards.noise.majority", "rewards.noise.majority.tie"
PROBES = 2  # tasks on which a source is seen to read the label


class Labels(Protocol):
    """What a prompt's answer is said to be: None leaves it as it is, the empty text is an answer that nobody gives."""

    def of(self, task: Task, seed: int) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Relabeled:
    """The live model: tells what the source says of the task with its label in place of the true answer."""

    name: str
    source: RewardSource
    labels: Labels

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The source's own range: it is the source that judges."""
        return low, high

    def tamper(
        self,
        rewards: Sequence[Reward],
        groups: Sequence[Group],
        step: int,
        seed: int,
        low: float = 0.0,
        high: float = 1.0,
    ) -> list[Reward]:
        """These rewards, in their order, each `Scored` one with its `Tampering`; the others stay as they are.

        Raises `NoiseProblem` if a reward belongs to none of the groups, or was tampered with before.
        """
        owners = {t.trajectory_id: (group.task, t) for group in groups for t in group.trajectories}
        heard = [i for i, reward in enumerate(rewards) if isinstance(reward.outcome, Scored)]
        for i in heard:
            refuse_stranger(rewards[i], owners)
        tasks = {task.task_id: task for task in (owners[rewards[i].trajectory_id][0] for i in heard)}
        labels = {name: self.labels.of(task, seed) for name, task in tasks.items()}
        asked: dict[int, ScoreRequest] = {}
        said: dict[int, Outcome] = {}
        for i in heard:
            task, trajectory = owners[rewards[i].trajectory_id]
            label = labels[task.task_id]
            if label is None:
                said[i] = rewards[i].outcome
            elif not label:
                said[i] = Scored(low)
            else:
                asked[i] = ScoreRequest(
                    replace(task, answer=label), trajectory.trajectory_id, trajectory.sampled_text, step=step
                )
        said |= dict(zip(asked, self.source.scores(list(asked.values())), strict=True)) if asked else {}
        told = list(rewards)
        for i in heard:
            clean, now = rewards[i].outcome, said[i]
            assert isinstance(clean, Scored)
            changed = not isinstance(now, Scored) or now.value != clean.value
            told[i] = replace(rewards[i], outcome=now, tampering=Tampering(self.name, clean.value, changed))
        return told


@dataclass(frozen=True, slots=True)
class WrongLabels:
    """A share `rate` of prompts has a wrong answer for good, drawn by (seed, task id); see `Environment.wrong_answer`.

    Errors of this kind are in every hand-made data set. A group baseline sees none of them: where nobody writes the
    wrong label the group is told all wrong and teaches nothing, and where somebody does it is taught.
    """

    rate: float = 0.2

    def __post_init__(self) -> None:
        check_share(self.rate, "the rate of wrong labels")

    @property
    def name(self) -> str:
        """As `parse_noise` reads it."""
        return f"wrong_labels:{shortest(self.rate)}"

    def bound(self, context: NoiseContext) -> NoiseModel:
        """The live model. Raises `NoiseProblem` for a source that does not look at the label."""
        refuse_blind(context, self.name)
        return Relabeled(self.name, context.source, Mistaken(context.environment, self.rate))

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The source's own."""
        return low, high

    def tamper(
        self, rewards: Sequence[Reward], groups: Sequence[Group], step: int, seed: int, low: float, high: float
    ) -> list[Reward]:
        """Nothing can be told yet: raises `NoiseProblem`."""
        raise unbound(self.name)


@dataclass(frozen=True, slots=True)
class MajorityLabels:
    """Pseudo-labels: a prompt's answer is said to be what most of `votes` samples of the initial policy answer.

    DVPO's setting for mathematics (arXiv 2512.03847; the number of votes is not stated there, 8 is our choice). Ties
    are broken by (seed, task id); samples without an answer do not vote, and if none has one, every answer is told
    wrong. Wrong labels of this kind are the policy's own likeliest mistakes. Each prompt costs `votes` samples more.
    """

    votes: int = 8

    def __post_init__(self) -> None:
        if self.votes < 1:
            raise NoiseProblem(f"a majority of {self.votes} votes: at least one sample votes")

    @property
    def name(self) -> str:
        """As `parse_noise` reads it."""
        return f"majority:{self.votes}"

    def bound(self, context: NoiseContext) -> NoiseModel:
        """The live model. Raises `NoiseProblem` for a source that does not look at the label."""
        refuse_blind(context, self.name)
        election = Elected(context.environment, context.initial(), context.limits, self.votes)
        return Relabeled(self.name, context.source, election)

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """The source's own."""
        return low, high

    def tamper(
        self, rewards: Sequence[Reward], groups: Sequence[Group], step: int, seed: int, low: float, high: float
    ) -> list[Reward]:
        """Nothing can be told yet: raises `NoiseProblem`."""
        raise unbound(self.name)


@dataclass(frozen=True, slots=True)
class Mistaken:
    """A wrong answer with probability `rate`."""

    environment: Environment
    rate: float

    def of(self, task: Task, seed: int) -> str | None:
        """By (seed, task id) alone. One draw decides, so that a lower rate's wrong labels are among a higher one's."""
        if uniforms(seed, WRONG, task.task_id, count=1)[0] >= self.rate:
            return None
        return self.environment.wrong_answer(task, generator(seed, WRONG, task.task_id, "which"))


@dataclass(frozen=True, slots=True)
class Elected:
    """The answer that most samples of `policy` give; asked once a prompt.

    Each prompt is sampled alone, so that its label does not depend on which prompts it arrived with.
    """

    environment: Environment
    policy: Policy
    limits: SampleLimits
    votes: int
    found: dict[tuple[int, str], str] = field(default_factory=dict)

    def of(self, task: Task, seed: int) -> str | None:
        """By (seed, task id) alone; None where the majority is right."""
        key = seed, task.task_id
        if key not in self.found:
            self.found[key] = elect(self.ballots(task, seed), seed, task.task_id)
        label = self.found[key]
        return None if label and meaning(label) == meaning(task.answer) else label

    def ballots(self, task: Task, seed: int) -> list[str]:
        """What the samples answer."""
        name = stream_key(seed, VOTE, task.task_id) % 2**63
        streams = tuple((name, place) for place in range(self.votes))
        request = SampleRequest(self.policy.encode(task.messages), streams)
        (written,) = self.policy.sample([request], self.limits, seed)
        return [self.environment.answer_in(task, self.policy.decode_text(one.token_ids)) for one in written]


def elect(ballots: Sequence[str], seed: int, task_id: str) -> str:
    """The commonest answer, empty ones aside; ties by a draw of (seed, task id). Numbers written apart are one."""
    given = [text.strip() for text in ballots if text.strip()]
    if not given:
        return ""
    counts = Counter(meaning(text) for text in given)
    most = max(counts.values())
    best = [one for one, count in counts.items() if count == most]
    chosen = best[int(generator(seed, TIE, task_id).integers(len(best)))]
    return next(text for text in given if meaning(text) == chosen)


def meaning(text: str) -> object:
    """What two answers have in common if they are one: the number, or the text."""
    number = parse_number(text.strip())
    return text.strip() if number is None else number


def refuse_blind(context: NoiseContext, name: str) -> None:
    """Raise `NoiseProblem` if the source is seen to judge by something else than the task's answer."""
    source, environment = context.source, context.environment
    if scope_of(source) != "sample" or len(scales_of(source)) > 1:
        raise NoiseProblem(f"noise {name!r} asks about one answer and one objective at a time: {source.name!r} cannot")
    for task in islice(environment.tasks("train"), PROBES):
        if not task.answer.strip():
            raise NoiseProblem(
                f"noise {name!r} replaces a task's answer, and task {task.task_id!r} of {environment.name!r} has none:"
                " take flips, or tasks with answers"
            )
        other = replace(task, answer=environment.wrong_answer(task, generator(0, WRONG, task.task_id, "probe")))
        for text in (task.answer, f"<answer>{task.answer}</answer>"):
            asked = [ScoreRequest(one, f"probe of {task.task_id}", text) for one in (task, other)]
            before, after = source.scores(asked)
            if before == after == Scored(source.high):
                raise NoiseProblem(
                    f"noise {name!r} replaces a task's answer, and {source.name!r} says the same of task"
                    f" {task.task_id!r} whatever its answer is: take flips, or a reward that compares with the answer"
                )


def unbound(name: str) -> NoiseProblem:
    """What a model says that nobody has shown the tasks."""
    return NoiseProblem(f"noise {name!r} judges answers again: bind it to the run's tasks and source first (`bind`)")
