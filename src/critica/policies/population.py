"""A population in place of one policy: sample number n of every prompt is written by member n."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from typing import Protocol

from critica.policies.base import DecodeHand, Ended, Policy, Sample, SampleLimits, SampleRequest
from critica.records.words import Message


class Perturbs(Protocol):
    """What throws the weights aside for one member and brings them back to the bit."""

    def perturbed(self, step: int, member: int) -> AbstractContextManager[None]: ...


class Population:
    """Writes as its members: the last number of a sample's stream (step, slot, place) is the member's.

    One call of the decoder for each member that has something to write. The policy itself is left as it was.
    """

    def __init__(self, policy: Policy, noise: Perturbs) -> None:
        self.policy, self.noise = policy, noise
        self.version = policy.version  # of the weights that wrote last

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The prompt's tokens."""
        return self.policy.encode(messages)

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """The text of these tokens."""
        return self.policy.decode_text(token_ids)

    def sample(
        self,
        requests: Sequence[SampleRequest],
        limits: SampleLimits,
        seed: int,
        control: DecodeHand | None = None,
        ended: Ended | None = None,
    ) -> list[list[Sample]]:
        """Every sample where it was asked for. Raises ValueError for a control: its rows would be other rows."""
        if control is not None:
            raise ValueError("a population is decoded member by member, and a decode control counts rows of one call")
        self.version = self.policy.version
        rows = [(i, stream) for i, one in enumerate(requests) for stream in one.streams]
        written: dict[int, Sample] = {}
        for step, member in dict.fromkeys((stream[0], stream[-1]) for _, stream in rows):
            own = [n for n, (_, stream) in enumerate(rows) if (stream[0], stream[-1]) == (step, member)]
            asked = [SampleRequest(requests[rows[n][0]].prompt_ids, (rows[n][1],)) for n in own]
            hear = None if ended is None else partial(_tell, ended, own)
            with self.noise.perturbed(step, member):
                made = self.policy.sample(asked, limits, seed, None, hear)
            written |= {n: row[0] for n, row in zip(own, made, strict=True)}
        numbers = count()
        return [[written[next(numbers)] for _ in one.streams] for one in requests]


def _tell(ended: Ended, own: Sequence[int], row: int, tokens: tuple[int, ...]) -> None:
    """Row `row` of a member's call is whole: it is number own[row] of all."""
    ended(own[row], tokens)
