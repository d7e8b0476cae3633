"""From finished episodes to groups and rewards: one trajectory per scene, siblings by the label of their scene."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from critica.curricula.base import Request
from critica.policies.base import Policy
from critica.records.arrays import Metric
from critica.records.journal import Journal
from critica.records.supervision import Correction, Outcome, Reward, Scored, SpanScore, Tampering
from critica.records.words import EMPTY, Group, SampledTurn, StopReason, Task, Trajectory, label_of
from critica.rollout.episode import Row, conversing, play
from critica.rollout.protocol import Relabeled, Scene, Seen, Table, Turns, Worth
from critica.rollout.relabel import reread

Told = tuple[Reward, ...]  # of one trajectory, one for each objective
Judged = Callable[[list[Group]], list[list[Told]]]  # what is told about every trajectory of these groups


@dataclass(frozen=True, slots=True)
class Played:
    """One prompt's episodes: the group of their first scenes and what was told of it, and those of further rows."""

    group: Group
    told: list[Told]
    further: tuple[tuple[Group, list[Told]], ...]
    seen: tuple[Seen, ...]


def episodes(
    policy: Policy,
    turns: Turns,
    tasks: Sequence[tuple[int, Task]],
    request: Request,
    seed: int,
    journal: Journal,
    objectives: Sequence[str],
    judged: Judged,
    asked: list[str],
) -> list[Played]:
    """Every episode of these (slot, task), and what training is told about its scenes. `objectives` are
    named in the order of a scene's values.

    Verdicts about turns pass through `judged`: journal, noise and correction are those of any answer. The names of all
    rows are added to `asked`, those of first scenes before anything is written.
    """
    talking = conversing(policy)
    asked += [f"{request.step}.{slot}.{i}" for slot, _ in tasks for i in range(request.samples_per_prompt)]

    def judge(rows: Sequence[Row]) -> list[Reward]:
        slots: dict[str, list[Row]] = {}
        for row in rows:
            number = row.written - 1
            slots.setdefault(f"{row.stream[0]}.{row.stream[1]}" + (f"/{number}" if number else ""), []).append(row)
        groups = [
            Group(key, members[0].task, tuple(row.last_turn(key) for row in members)) for key, members in slots.items()
        ]
        said = [one for told in (judged(groups) if groups else ()) for one in told]
        found = dict(zip([id(row) for members in slots.values() for row in members], said, strict=True))
        return [only(found[id(row)]) for row in rows]

    table = Table(talking, request, seed, journal)
    rows = play(policy, turns, tasks, request, table, judge, asked)
    made = [told_of(turns, row.seen, objectives) for row in rows]
    extra = reread(talking, [one for _, more in made for one in more], request.limits.temperature)
    asked += [trajectory.trajectory_id for trajectory, _ in extra]
    by_name: dict[str, list[tuple[Trajectory, Told]]] = {}
    for trajectory, told in extra:
        by_name.setdefault(trajectory.episode_id, []).append((trajectory, told))
    count = request.samples_per_prompt
    return [
        played(task, [(row.seen, made[k][0] + by_name.get(row.seen.name, [])) for k, row in members])
        for i, (_, task) in enumerate(tasks)
        for members in [list(enumerate(rows))[i * count : (i + 1) * count]]
    ]


def only(told: Told) -> Reward:
    """The verdict about a turn. Raises ValueError for several objectives: one number decides whether to go on."""
    if len(told) != 1:
        raise ValueError(
            f"a protocol of several turns asks a source with one objective, and this one has {len(told)}"
            f" ({', '.join(reward.source for reward in told)}): take one of them, or protocol=single_turn"
        )
    return told[0]


def played(task: Task, members: Sequence[tuple[Seen, list[tuple[Trajectory, Told]]]]) -> Played:
    """One prompt's episodes as groups by label, in the order in which the labels first appear."""
    by_label: dict[str, list[tuple[Trajectory, Told]]] = {}
    for _, rows in members:
        for trajectory, told in rows:
            by_label.setdefault(label_of(trajectory.trajectory_id), []).append((trajectory, told))
    groups = [
        (Group(rows[0][0].group_id, task, tuple(t for t, _ in rows)), [told for _, told in rows])
        for rows in by_label.values()
    ]
    return Played(*groups[0], tuple(groups[1:]), tuple(seen for seen, _ in members))


def told_of(
    turns: Turns, seen: Seen, objectives: Sequence[str]
) -> tuple[list[tuple[Trajectory, Told]], list[tuple[Trajectory, Relabeled, Told]]]:
    """An episode's scenes with their rewards, and the further rows that come of it.

    An episode with a verdict that is no number has no outcome, in any of its scenes.
    """
    heard = [reward for scene in seen.scenes for reward in scene.told if reward is not None]
    unknown = next((reward.outcome for reward in heard if not isinstance(reward.outcome, Scored)), None)
    trajectories = [trajectory_of(seen, i) for i in range(len(seen.scenes))]
    if unknown is not None:
        return [(t, silent(t, objectives, unknown)) for t in trajectories], []
    told, said, clean = (turns.worth(seen, read) for read in READINGS)
    rows = [
        (mine, rewards_of(mine, scene, heard, objectives, worth, (before.values, true.values)))
        for mine, scene, worth, before, true in zip(trajectories, seen.scenes, told, said, clean, strict=True)
    ]
    more = []
    for one in turns.relabeled(seen):
        name = f"{seen.name}@{one.label}"
        parent = trajectories[0]
        key = f"{parent.group_id}@{one.label}"
        stop = StopReason.END_OF_TEXT
        shell = Trajectory(name, seen.name, seen.task.task_id, key, one.role, parent.turns, stop, parent.trajectory_id)
        values = [one.values(read) for read in READINGS]
        empty = Scene(one.label, one.role, (), (), stop)
        more.append((shell, one, rewards_of(shell, empty, heard, objectives, Worth(values[0]), (values[1], values[2]))))
    return rows, more


def told_value(reward: Reward) -> float:
    """What training is told of a turn."""
    assert isinstance(reward.outcome, Scored)
    return reward.outcome.value


READINGS = (told_value, lambda reward: reward.said_value, lambda reward: reward.clean_value)


def trajectory_of(seen: Seen, index: int) -> Trajectory:
    """A scene as a trajectory; its parent is the scene before it."""
    scene, slot = seen.scenes[index], f"{seen.stream[0]}.{seen.stream[1]}"
    names = [seen.name + (f"@{one.label}" if one.label else "") for one in seen.scenes]
    return Trajectory(
        names[index], seen.name, seen.task.task_id, slot + (f"@{scene.label}" if scene.label else ""), scene.role,
        scene.turns, scene.stop, names[index - 1] if index else "",
    )  # fmt: skip


def silent(trajectory: Trajectory, objectives: Sequence[str], outcome: Outcome) -> Told:
    """No number, on any objective."""
    return tuple(Reward(name, trajectory.trajectory_id, outcome) for name in objectives)


def rewards_of(
    trajectory: Trajectory,
    scene: Scene,
    heard: Sequence[Reward],
    objectives: Sequence[str],
    told: Worth,
    others: tuple[tuple[float, ...], tuple[float, ...]],
) -> Told:
    """One reward for each objective, with what it would be without correction, and without noise either.

    What was told of the turns is kept in the first one's parts; so are the scene's notes.
    """
    said, clean = others
    certain = min((one.outcome.confidence for one in heard if isinstance(one.outcome, Scored)), default=1.0)
    noises = list(dict.fromkeys(one.tampering.model for one in heard if one.tampering is not None))
    rules = list(dict.fromkeys(one.correction.rule for one in heard if one.correction is not None))
    verdicts = {f"turn_{k + 1}": told_value(one) for k, one in enumerate(scene.told) if one is not None}
    made = []
    for j, name in enumerate(objectives):
        made.append(
            Reward(
                name,
                trajectory.trajectory_id,
                Scored(told.values[j], certain),
                EMPTY if j else {**verdicts, **scene.notes},
                () if j else spans_of(scene, told.shares),
                Tampering("+".join(noises), clean[j], clean[j] != said[j]) if noises else None,
                0.0 if j else math.fsum(one.cost for one in scene.told if one is not None),
                Correction("+".join(rules), said[j]) if rules else None,
            )
        )
    return tuple(made)


def spans_of(scene: Scene, shares: Sequence[float]) -> tuple[SpanScore, ...]:
    """The turns' shares as spans of the scene's tokens."""
    spans, at = [], 0
    left = iter(shares)
    for turn in scene.turns:
        end = at + len(turn.token_ids)
        if isinstance(turn, SampledTurn):
            share = next(left, 0.0)
            spans += [SpanScore(at, end, share)] if share else []
        at = end
    return tuple(spans)


def episode_reports(turns: Turns, seen: Sequence[Seen]) -> tuple[Metric, ...]:
    """How long episodes were, how many a limit ended, and what the protocol itself says."""
    cut = sum(one.now.stop in (StopReason.TOKEN_LIMIT, StopReason.TURN_LIMIT) for one in seen)
    return (
        Metric("episode/turns", float(sum(one.turns for one in seen)), float(len(seen))),
        Metric("episode/limited_share", float(cut), float(len(seen))),
        *turns.reports(seen),
    )
