"""Words and rewards: collect samples, score them, admit groups, until the step's prompts are full."""

from dataclasses import dataclass, field

from critica.curricula.base import Curriculum, Request
from critica.policies.base import Policy, PromptTooLong, Sample, SampleRequest
from critica.records.arrays import Metric
from critica.records.journal import Journal, NoJournal
from critica.records.run import LedgerEntry, LedgerState
from critica.records.supervision import Failed, Outcome, Reward, Scored
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rewards.base import FailurePolicy, RewardFailures, RewardSource, ScoreRequest
from critica.rewards.noise_base import NoiseModel
from critica.rollout.admission import AdmissionRule
from critica.rollout.ask import ask
from critica.rollout.control import Control, Unhindered


@dataclass(frozen=True, slots=True)
class Gathered:
    """The admitted groups, their rewards in the order of their trajectories, and what was turned away.

    `drawn` are the tasks taken from the curriculum and `asked` the trajectories that were to be written, both noted
    before anything happened to them: what the books must account for. `reports` are the decode control's.
    """

    groups: tuple[Group, ...]
    rewards: tuple[Reward, ...]
    turned_away: tuple[LedgerEntry, ...]
    rounds: int
    drawn: tuple[str, ...]
    asked: tuple[str, ...]
    reports: tuple[Metric, ...] = ()


class NothingGathered(RuntimeError):
    """No group passed admission in any round."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """The reward source, the noise injected on purpose, the seed that identifies both, and how much may fail.

    `journal` keeps what the source said: a step done again after a crash is told the same.
    """

    source: RewardSource
    noise: NoiseModel
    seed: int
    failures: FailurePolicy = FailurePolicy()
    journal: Journal = field(default_factory=NoJournal)


def gather(
    policy: Policy,
    curriculum: Curriculum,
    supervision: Supervision,
    admission: AdmissionRule,
    request: Request,
    control: Control | None = None,
) -> Gathered:
    """Repeat collect, score and admission until `request.prompts` groups pass or the rule's rounds are used up.

    Raises `RewardFailures` if too many of all rounds' samples failed, `NothingGathered` if no group passed.
    """
    groups: list[Group] = []
    rewards: list[Reward] = []
    away: list[LedgerEntry] = []
    told: list[Outcome] = []
    written: list[Trajectory] = []
    verdicts_of_all: list[Reward] = []
    control = control or Unhindered()
    drawn: list[str] = []
    asked: list[str] = []
    slot = 0
    rounds = 0
    while len(groups) < request.prompts and rounds < admission.max_rounds:
        rounds += 1
        tasks = curriculum.draw(request.prompts - len(groups))
        drawn += [task.task_id for task in tasks]
        asked += [
            trajectory_name(request.step, slot + offset, i)
            for offset in range(len(tasks))
            for i in range(request.samples_per_prompt)
        ]
        collected = collect(policy, tasks, request, supervision.seed, slot, control)
        slot += len(tasks)
        scored = score(collected, supervision, request.step, control)
        for group, verdicts in zip(collected, scored, strict=True):
            reason = admission.rejects(verdicts)
            if reason:
                away += [ledger_of(verdict, group.task.task_id, "filtered", reason) for verdict in verdicts]
            else:
                groups.append(group)
                rewards += verdicts
            told += [verdict.outcome for verdict in verdicts]
            written += group.trajectories
            verdicts_of_all += verdicts
    try:
        supervision.failures.check(supervision.source.name, told)
    except RewardFailures:
        supervision.journal.forget_failures(request.step)  # nothing was learned from them: a resume asks again
        raise
    if not groups:
        raise NothingGathered(
            f"step {request.step}: none of {slot} groups passed {type(admission).__name__} in {admission.max_rounds}"
            " rounds; the tasks are all too easy, all too hard, or the reward never varies:"
            " look at the rewards (critica train … --set admission=accept_all), or raise admission.max_rounds"
        )
    reports = control.close(written, verdicts_of_all)
    return Gathered(tuple(groups), tuple(rewards), tuple(away), rounds, tuple(drawn), tuple(asked), reports)


def trajectory_name(step: int, slot: int, index: int) -> str:
    """A sample's identity: also the counter of its random numbers."""
    return f"{step}.{slot}.{index}"


def collect(
    policy: Policy,
    tasks: tuple[Task, ...],
    request: Request,
    seed: int,
    first_slot: int,
    control: Control | None = None,
) -> list[Group]:
    """Sample every task `samples_per_prompt` times; a sample's random numbers depend on (step, slot, index) alone."""
    asked = []
    for offset, task in enumerate(tasks):
        streams = tuple((request.step, first_slot + offset, i) for i in range(request.samples_per_prompt))
        asked.append(SampleRequest(policy.encode(task.messages), streams))
    rows = [stream for want in asked for stream in want.streams]
    hand = control.begin(request.step, rows, request.limits.temperature) if control is not None else None
    try:
        answers = policy.sample(asked, request.limits, seed, hand)
    except PromptTooLong as error:
        longest = max(range(len(tasks)), key=lambda i: len(asked[i].prompt_ids))
        raise error.of_task(tasks[longest].task_id) from error
    return [
        group_of(policy, task, want, got, request, first_slot + i)
        for i, (task, want, got) in enumerate(zip(tasks, asked, answers, strict=True))
    ]


def group_of(
    policy: Policy, task: Task, want: SampleRequest, samples: list[Sample], request: Request, slot: int
) -> Group:
    """Samples of one prompt as sibling trajectories."""
    key = f"{request.step}.{slot}"
    context = ContextTurn(task.messages[-1], want.prompt_ids)
    trajectories = []
    for i, sample in enumerate(samples):
        text = policy.decode_text(sample.token_ids)
        turn = SampledTurn(
            Message("assistant", text), sample.token_ids, sample.logprobs, request.limits.temperature, policy.version
        )
        name = trajectory_name(request.step, slot, i)
        trajectories.append(Trajectory(name, name, task.task_id, key, "policy", (context, turn), sample.stop))
    return Group(key, task, tuple(trajectories))


def score(
    groups: list[Group], supervision: Supervision, step: int, control: Control | None = None
) -> list[list[Reward]]:
    """Ask the source about every trajectory, place its answers by index, then inject the declared noise.

    A trajectory that the control stopped ended in an absorbing failure: it is told so, and no source is asked.
    """
    pairs = [(group, trajectory) for group in groups for trajectory in group.trajectories]
    whole = [(g, t) for g, t in pairs if t.stop is not StopReason.EARLY_STOPPED]
    items = [ScoreRequest(group.task, t.trajectory_id, t.sampled_text) for group, t in whole]
    outcomes = ask(supervision.source, items, supervision.journal, step)
    rewards = [
        Reward(supervision.source.name, item.trajectory_id, outcome)
        for item, outcome in zip(items, outcomes, strict=True)
    ]
    source = supervision.source
    rewards = supervision.noise.tamper(rewards, groups, step, supervision.seed, source.low, source.high)
    told = {reward.trajectory_id: reward for reward in rewards}
    if len(whole) < len(pairs) and control is not None:
        for _, trajectory in pairs:
            if trajectory.trajectory_id not in told:
                failure = Reward(source.name, trajectory.trajectory_id, Scored(control.failure))
                told[trajectory.trajectory_id] = failure
    return [[told[trajectory.trajectory_id] for trajectory in group.trajectories] for group in groups]


def ledger_of(reward: Reward, task_id: str, state: LedgerState, reason: str) -> LedgerEntry:
    """Where a sample ended up: `failed` if it has no outcome, whatever else is said of it, else in `state`."""
    if not isinstance(reward.outcome, Scored):
        why = reward.outcome.error if isinstance(reward.outcome, Failed) else reward.outcome.reason
        return LedgerEntry(reward.trajectory_id, task_id, "failed", why)
    return LedgerEntry(reward.trajectory_id, task_id, state, reason)
