"""Words and rewards: collect samples, score them, admit groups, until the step's prompts are full."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from critica.curricula.base import Curriculum, Request
from critica.functional.random import stream_key
from critica.policies.base import Policy
from critica.records.arrays import Metric, merge_metrics
from critica.records.journal import Journal, NoJournal
from critica.records.run import LedgerEntry, LedgerState
from critica.records.supervision import Failed, Reward, Scale, Scored, by_trajectory, together
from critica.records.words import EMPTY, Group, StopReason, Task, Trajectory, label_of
from critica.rewards.base import FailurePolicy, RewardFailures, RewardSource, ScoreRequest, scales_of
from critica.rewards.correction_base import LiveCorrection, Said, Uncorrected, with_shares
from critica.rewards.noise_base import NoiseModel
from critica.rollout.admission import AdmissionRule
from critica.rollout.ask import ask
from critica.rollout.budget import Allocator
from critica.rollout.control import Control, Unhindered
from critica.rollout.hints import hints
from critica.rollout.protocol import Turns
from critica.rollout.samples import Want, made_group, sample, trajectory_name, until_stop
from critica.rollout.settle import Played, episode_reports, episodes
from critica.rollout.spans import token_spans


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

    `journal` keeps what the source said: a step done again after a crash is told the same. `correction` comes after
    the noise and before anything else looks.
    """

    source: RewardSource
    noise: NoiseModel
    seed: int
    failures: FailurePolicy = FailurePolicy()
    journal: Journal = field(default_factory=NoJournal)
    correction: LiveCorrection = field(default_factory=Uncorrected)


def gather(
    policy: Policy,
    curriculum: Curriculum,
    supervision: Supervision,
    admission: AdmissionRule,
    request: Request,
    control: Control | None = None,
    allocator: Allocator | None = None,
    turns: Turns | None = None,
) -> Gathered:
    """Repeat collect, score and admission until `request.prompts` groups pass or the rule's rounds are used up.

    Each round's samples, prompts x samples_per_prompt, are spread over its prompts by `allocator` (evenly, by default).
    `turns` plays episodes of several turns; a prompt's further groups are admitted or turned away with its first one.
    Raises `RewardFailures` if too many of all rounds' samples failed, `NothingGathered` if no group passed.
    """
    groups: list[Group] = []
    rewards: list[Reward] = []
    away: list[LedgerEntry] = []
    written: list[Trajectory] = []
    told_of_all: list[Reward] = []
    control, allocator = control or Unhindered(), allocator or Allocator()
    drawn: list[str] = []
    asked: list[str] = []
    spoken: list[Metric] = []
    slot = rounds = passed = 0
    while passed < request.prompts and rounds < admission.max_rounds:
        rounds += 1
        tasks = curriculum.draw(request.prompts - passed)
        drawn += [task.task_id for task in tasks]
        if turns is None:
            wrote = write(policy, tasks, request, supervision, control, allocator, slot, asked)
            prompts = [[pair] for pair in zip(*wrote, strict=True)]
        else:
            played = play_out(policy, turns, tasks, request, supervision, slot, asked)
            prompts = [[(one.group, one.told), *one.further] for one in played]
            spoken += episode_reports(turns, [seen for one in played for seen in one.seen])
        slot += len(tasks)
        for members in prompts:
            reason = admission.rejects([together(rows) for rows in members[0][1]])
            passed += not reason
            for group, told in members:
                whole = [together(rows) for rows in told]
                if reason:
                    away += [ledger_of(reward, group.task.task_id, "filtered", reason) for reward in whole]
                else:
                    groups.append(group)
                    rewards += [reward for rows in told for reward in rows]
                written += group.trajectories
                told_of_all += whole
    try:
        supervision.failures.check(supervision.source.name, [reward.outcome for reward in told_of_all])
    except RewardFailures:
        supervision.journal.forget_failures(request.step)  # nothing was learned from them: a resume asks again
        raise
    if not groups:
        raise NothingGathered(
            f"step {request.step}: none of {slot} groups passed {type(admission).__name__} in {admission.max_rounds}"
            " rounds; the tasks are all too easy, all too hard, or the reward never varies:"
            " look at the rewards (critica train … --set admission=accept_all), or raise admission.max_rounds"
        )
    first = [group for group in groups if not label_of(group.key)]
    reports = (
        *control.close(written, told_of_all), *spread_of(first, rewards), *supervision.correction.reports(),
        *merge_metrics(spoken),
    )  # fmt: skip
    return Gathered(tuple(groups), tuple(rewards), tuple(away), rounds, tuple(drawn), tuple(asked), reports)


def write(
    policy: Policy,
    tasks: tuple[Task, ...],
    request: Request,
    supervision: Supervision,
    control: Control,
    allocator: Allocator,
    first_slot: int,
    asked: list[str],
) -> tuple[list[Group], list[list[tuple[Reward, ...]]]]:
    """One round's groups and what was told of them: collected and scored in waves, until the budget wants no more.

    The names of the samples are added to `asked` before they are written. A source that waits for others begins with
    an answer while its siblings are still written, see `hints`.
    """
    trajectories: list[tuple[Trajectory, ...]] = [() for _ in tasks]
    waves: list[tuple[int, ...]] = [() for _ in tasks]
    told: list[list[tuple[Reward, ...]]] = [[] for _ in tasks]
    expected = allocator.forecast(tasks)

    def read(token_ids: Sequence[int]) -> str:
        return until_stop(policy.decode_text(token_ids), request.limits.stop)

    while any(more := allocator.more(expected, [[*map(together, row)] for row in told], request.samples_per_prompt)):
        wants = [
            Want(task, first_slot + i, range(len(told[i]), len(told[i]) + more[i]))
            for i, task in enumerate(tasks) if more[i]
        ]  # fmt: skip
        asked += [trajectory_name(request.step, want.slot, index) for want in wants for index in want.places]
        hinted = hints(supervision.source, supervision.journal, wants, request.step, read)
        answers = sample(policy, wants, request, supervision.seed, control, hinted)
        for want, fresh in zip(wants, answers, strict=True):
            i = want.slot - first_slot
            trajectories[i], waves[i] = trajectories[i] + fresh, (*waves[i], len(fresh))
        groups = [made_group(request.step, want, trajectories[want.slot - first_slot]) for want in wants]
        starts = [want.places.start for want in wants]
        verdicts = score(groups, supervision, request.step, control, starts, policy.decode_text)
        for want, news in zip(wants, verdicts, strict=True):
            told[want.slot - first_slot] += news
    whole = [Want(task, first_slot + i, range(0)) for i, task in enumerate(tasks)]
    return [
        made_group(request.step, want, members, written if len(written) > 1 else ())
        for want, members, written in zip(whole, trajectories, waves, strict=True)
    ], told


def play_out(
    policy: Policy,
    turns: Turns,
    tasks: tuple[Task, ...],
    request: Request,
    supervision: Supervision,
    first_slot: int,
    asked: list[str],
) -> list[Played]:
    """One round's episodes. Their turns are scored as answers are, see `score`."""
    objectives = (*(scale.name for scale in scales_of(supervision.source)), *turns.further_objectives)

    def judged(groups: list[Group]) -> list[list[tuple[Reward, ...]]]:
        return score(groups, supervision, request.step, decode=policy.decode_text)

    slots = [(first_slot + i, task) for i, task in enumerate(tasks)]
    return episodes(policy, turns, slots, request, supervision.seed, supervision.journal, objectives, judged, asked)


def spread_of(groups: Sequence[Group], rewards: Sequence[Reward]) -> tuple[Metric, ...]:
    """How the samples lie over the prompts, and how many prompts have outcomes that differ."""
    sizes = [len(group.trajectories) for group in groups]
    summed = [together(rows) for rows in by_trajectory(rewards).values()]
    values = {r.trajectory_id: r.outcome.value for r in summed if isinstance(r.outcome, Scored)}
    told = [{values[t.trajectory_id] for t in g.trajectories if t.trajectory_id in values} for g in groups]
    return (
        Metric("prompts/mixed", float(sum(len(known) > 1 for known in told)), float(len(groups))),
        Metric("samples/fewest", float(min(sizes)), 1.0),
        Metric("samples/most", float(max(sizes)), 1.0),
    )


def score(
    groups: list[Group],
    supervision: Supervision,
    step: int,
    control: Control | None = None,
    starts: Sequence[int] = (),
    decode: Callable[[Sequence[int]], str] | None = None,
) -> list[list[tuple[Reward, ...]]]:
    """Ask the source about every trajectory, place its answers by index, inject the declared noise, then correct.

    Of each trajectory one reward per objective. `starts`: of each group, the place of the first trajectory that was
    not asked about before; by default all are new. `decode` finds the tokens of spans of text. A trajectory that the
    control stopped ended in an absorbing failure: it is told so, and no source is asked.
    """
    fresh = [g.trajectories[start:] for g, start in zip(groups, starts or [0] * len(groups), strict=True)]
    pairs = [(group, trajectory) for group, new in zip(groups, fresh, strict=True) for trajectory in new]
    whole = [(g, t) for g, t in pairs if t.stop is not StopReason.EARLY_STOPPED]
    items = [
        ScoreRequest(group.task, t.trajectory_id, t.sampled_text, group.key, step, t.sampled_count)
        for group, t in whole
    ]
    verdicts = ask(supervision.source, items, supervision.journal, step)
    told: dict[str, list[Reward]] = {trajectory.trajectory_id: [] for _, trajectory in pairs}

    for j, scale in enumerate(scales_of(supervision.source)):
        rewards = [
            Reward(
                scale.name, t.trajectory_id, verdict.outcomes[j], verdict.parts if not j else EMPTY,
                token_spans(t, [span for span in verdict.spans if span.objective == j], decode),
                cost=verdict.cost if not j else 0.0,
            )
            for (_, t), verdict in zip(whole, verdicts, strict=True)
        ]  # fmt: skip
        seed = supervision.seed if not j else stream_key(supervision.seed, "objective", scale.name) % 2**63
        clean = {reward.trajectory_id: reward.said_value for reward in rewards}
        rewards = [
            with_shares(reward, clean[reward.trajectory_id])
            for reward in supervision.noise.tamper(rewards, groups, step, seed, scale.low, scale.high)
        ]
        low, high = supervision.noise.reach(scale.low, scale.high)
        role = "gold" if not j else f"gold of {scale.name}"  # objectives may have golds of one name
        asker = partial(ask, journal=supervision.journal, step=step, role=role)
        said = Said(rewards, groups, Scale(scale.name, low, high), step, seed, asker)
        for reward in supervision.correction.correct(said):
            told[reward.trajectory_id].append(reward)
        if len(whole) < len(pairs) and control is not None:
            for rows, (_, t) in zip(told.values(), pairs, strict=True):
                if t.stop is StopReason.EARLY_STOPPED:
                    rows.append(Reward(scale.name, t.trajectory_id, Scored(control.failure if not j else 0.0)))
    return [[tuple(told[trajectory.trajectory_id]) for trajectory in new] for new in fresh]


def ledger_of(reward: Reward, task_id: str, state: LedgerState, reason: str) -> LedgerEntry:
    """Where a sample ended up: `failed` if it has no outcome, whatever else is said of it, else in `state`."""
    if not isinstance(reward.outcome, Scored):
        why = reward.outcome.error if isinstance(reward.outcome, Failed) else reward.outcome.reason
        return LedgerEntry(reward.trajectory_id, task_id, "failed", why)
    return LedgerEntry(reward.trajectory_id, task_id, state, reason)
