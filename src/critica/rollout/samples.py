"""Answers as words: what is wanted of a policy, one call of its decoder, and siblings made of what came back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from critica.curricula.base import Request
from critica.policies.base import Ended, Policy, PromptTooLong, Sample, SampleLimits, SampleRequest
from critica.records.words import ContextTurn, Group, Message, SampledTurn, Task, Trajectory
from critica.rollout.control import Control


@dataclass(frozen=True, slots=True)
class Want:
    """Samples to be written: their task, its slot in the step, and their places in the group."""

    task: Task
    slot: int
    places: range


def made_group(step: int, want: Want, members: tuple[Trajectory, ...], waves: tuple[int, ...] = ()) -> Group:
    """Sibling trajectories as the group of their slot."""
    return Group(f"{step}.{want.slot}", want.task, members, waves)


def trajectory_name(step: int, slot: int, index: int) -> str:
    """A sample's identity: also the counter of its random numbers."""
    return f"{step}.{slot}.{index}"


def place_of(name: str) -> int:
    """A sample's place among its siblings, from its name."""
    return int(name.rsplit(".", 1)[1])


def collect(
    policy: Policy,
    tasks: tuple[Task, ...],
    request: Request,
    seed: int,
    first_slot: int,
    control: Control | None = None,
) -> list[Group]:
    """Sample every task `samples_per_prompt` times; a sample's random numbers depend on (step, slot, index) alone."""
    wants = [Want(task, first_slot + i, range(request.samples_per_prompt)) for i, task in enumerate(tasks)]
    written = sample(policy, wants, request, seed, control)
    return [made_group(request.step, want, members) for want, members in zip(wants, written, strict=True)]


def sample(
    policy: Policy,
    wants: Sequence[Want],
    request: Request,
    seed: int,
    control: Control | None = None,
    ended: Ended | None = None,
) -> list[tuple[Trajectory, ...]]:
    """What is wanted, from one call of the decoder; a sample's random numbers depend on (step, slot, index) alone.

    `ended` is told of each row, in the order of the wants and their places, as soon as it is whole.
    """
    asked = [
        SampleRequest(policy.encode(want.task.messages), tuple((request.step, want.slot, i) for i in want.places))
        for want in wants
    ]
    rows = list(chain.from_iterable(one.streams for one in asked))
    hand = control.begin(request.step, rows, request.limits.temperature) if control is not None else None
    try:
        answers = policy.sample(asked, request.limits, seed, hand, ended)
    except PromptTooLong as error:
        longest = max(range(len(wants)), key=lambda i: len(asked[i].prompt_ids))
        raise error.of_task(wants[longest].task.task_id) from error
    return [
        trajectories_of(policy, want.task, one, got, request)
        for want, one, got in zip(wants, asked, answers, strict=True)
    ]


def trajectories_of(
    policy: Policy, task: Task, asked: SampleRequest, samples: list[Sample], request: Request
) -> tuple[Trajectory, ...]:
    """Samples of one prompt as sibling trajectories, each named by its stream (step, slot, place)."""
    context = ContextTurn(task.messages[-1], asked.prompt_ids)
    made = []
    for (step, slot, place), one in zip(asked.streams, samples, strict=True):
        text = answer_text(policy, one, request.limits)
        turn = SampledTurn(
            Message("assistant", text), one.token_ids, one.logprobs, request.limits.temperature, policy.version,
            one.kept,
        )  # fmt: skip
        name = trajectory_name(step, slot, place)
        made.append(Trajectory(name, name, task.task_id, f"{step}.{slot}", "policy", (context, turn), one.stop))
    return tuple(made)


def answer_text(policy: Policy, sample: Sample, limits: SampleLimits) -> str:
    """The text of an answer, up to the end of its stop string if it has one.

    The token that completes a stop string may reach beyond it: that stays a sampled token, to be learned from, and is
    no part of the answer.
    """
    return until_stop(policy.decode_text(sample.token_ids), limits.stop)


def until_stop(text: str, stops: Sequence[str]) -> str:
    """The text up to the end of the stop string that ends first."""
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text


def group_of(
    policy: Policy, task: Task, asked: SampleRequest, samples: list[Sample], request: Request, slot: int
) -> Group:
    """All samples of one prompt as the group of its slot."""
    return Group(f"{request.step}.{slot}", task, trajectories_of(policy, task, asked, samples, request))
