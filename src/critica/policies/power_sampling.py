"""Power sampling: answers from p^alpha by cutting an answer, writing its end anew, and keeping what is likelier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.logprobs import logprobs_and_entropies
from critica.functional.power import cut_at, cut_law, log_acceptance
from critica.functional.random import stream_key, uniforms
from critica.policies.base import DecodeHand, Ended, Policy, Sample, SampleLimits, SampleRequest
from critica.policies.decoding import DecodingPart
from critica.records.words import Message, StopReason

PURPOSE = "policies.power_sampling"


@dataclass(frozen=True, slots=True)
class PowerSampling(DecodingPart):
    """Whole answers x with probability proportional to p(x)^`power`, by Metropolis-Hastings; nothing is trained.

    Answers grow in `blocks` equal stretches of the token limit. After each stretch, `moves` times: a place is chosen,
    all from there on is written anew at temperature 1 / power (up to the end of the stretch), and the new answer
    replaces the old one with probability min(1, p(x')^power q(x) c(x') / (p(x)^power q(x') c(x))), q the proposal and c
    the chance of the cut. p^power is not sampling at temperature 1 / power: that sharpens each token by itself, this
    whole answers, so that a likely token after which nothing is likely loses to one that leads somewhere.

    `even` is the share of cuts that fall anywhere; the rest falls in proportion to the entropy of the policy's
    next-token law, on decision points (1: all anywhere, as published). At power 1 the law is p itself. As `moves` grow
    the law of the last stretch tends to p^power; with few of them it lies between that and temperature 1 / power. Of
    answers that end early p^power makes more than p does: each further token costs `power` times its surprise.

    Use it to see what a policy knows before any training (it is the ceiling of mere sharpening), or where answers are
    few and time is cheap. Costs about moves * blocks / 4 times the tokens of plain sampling beyond the first writing
    (a cut is at half the length on average, a stretch ends at half the limit on average), so 40 times at the published
    numbers; answers that end early cost less. The policy's context must hold the prompt and twice the limit.

    Source: Reasoning with sampling (arXiv 2510.14901, algorithm 1; code: power 4, 10 moves, 16 blocks). There all
    answers of a stretch have one length; where they end early, the released code leaves the number of possible cuts out
    of the ratio, compares a shorter proposal with as much of the old end alone, and stops at the first stretch that
    holds an end. Ours counts both ends whole and goes on, so that the chain is exact for answers of any length.
    """

    trainable = False
    power: float = 4.0
    moves: int = 10
    blocks: int = 16
    even: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.power < math.inf:
            raise ValueError(f"power is {self.power}: 1 is the policy itself, and above it answers are sharpened")
        if self.moves < 0 or self.blocks < 1:
            raise ValueError("power sampling needs moves of at least 0, and at least one block")
        if not 0 < self.even <= 1:
            raise ValueError(f"even is {self.even}: a share in (0, 1], else some answers could never be reached")

    def build(self, policy: Policy) -> "PowerSampler":
        return PowerSampler(policy, self)


class Recorder:
    """A hand on the decoder: log p and entropy of the policy at each token; it stops each row at its own limit."""

    def __init__(self, limits: Sequence[int], temperature: float) -> None:
        self.logprobs: list[list[float]] = [[] for _ in limits]
        self.entropies: list[list[float]] = [[] for _ in limits]
        self._limits, self._temperature = list(limits), temperature

    def on_drawn(
        self,
        hidden: Float[Tensor, "n D"],
        logits: Float[Tensor, "n V"],
        tokens: Int[Tensor, "n"],
        rows: Int[Tensor, "n"],
        writing: Bool[Tensor, "n"],
    ) -> Bool[Tensor, "n"] | None:
        """Note what the policy itself thought of these tokens."""
        slots = writing.nonzero().squeeze(-1)
        heat = torch.full((len(slots),), self._temperature)
        found = logprobs_and_entropies(logits[slots].float(), tokens[slots], heat)
        full = torch.zeros_like(writing)
        for slot, row, logprob, entropy in zip(
            slots.tolist(), rows[slots].tolist(), found[0].tolist(), found[1].tolist(), strict=True
        ):
            self.logprobs[row].append(logprob)
            self.entropies[row].append(entropy)
            full[slot] = len(self.logprobs[row]) >= self._limits[row]
        return full if bool(full.any()) else None


@dataclass(slots=True)
class Answer:
    """One chain's answer so far: tokens, and for each log p, log q, and the entropy it was drawn from."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    proposed: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    ended: bool = False

    def spliced(self, cut: int, end: "Answer") -> "Answer":
        """The first `cut` tokens of this one with that end."""
        return Answer(
            self.token_ids[:cut] + end.token_ids, self.logprobs[:cut] + end.logprobs,
            self.proposed[:cut] + end.proposed, self.entropies[:cut] + end.entropies, end.ended,
        )  # fmt: skip

    def from_cut(self, cut: int, even: float) -> tuple[float, float, float]:
        """log p and log q of the tokens from the cut on, and the log-probability of cutting there."""
        chance = cut_law(self.entropies, even)[cut]
        return math.fsum(self.logprobs[cut:]), math.fsum(self.proposed[cut:]), math.log(chance)


@dataclass(slots=True)
class Tally:
    """What the chains did so far: moves made and kept, tokens written, and answers handed out."""

    moves: int = 0
    kept: int = 0
    tokens: int = 0
    answers: int = 0


class PowerSampler:
    """A policy that hands out answers of its inner policy's power law. Log-probs are log p, not those of that law."""

    def __init__(self, policy: Policy, part: PowerSampling) -> None:
        self.policy, self.part = policy, part
        self.version = policy.version  # of the weights that wrote last
        self.tally = Tally()

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
        """One chain for each stream; p is the policy at `limits.temperature`. Raises ValueError for a greedy one."""
        if control is not None or limits.min_new_tokens:
            raise ValueError("power sampling writes ends anew: it takes no decode control and no least length")
        if limits.truncates or limits.stop:
            raise ValueError("power sampling goes by the whole law: it takes no top_p, top_k, min_p or stop strings")
        if not limits.temperature:
            raise ValueError("power sampling at temperature 0 has nothing to sharpen: set a temperature of 1")
        self.version = self.policy.version
        prompts = [one.prompt_ids for one in requests for _ in one.streams]
        streams = [stream for one in requests for stream in one.streams]
        answers = [Answer() for _ in streams]
        for block in range(1, self.part.blocks + 1):
            limit = -(-limits.max_new_tokens * block // self.part.blocks)
            open_ = [n for n, one in enumerate(answers) if not one.ended and len(one.token_ids) < limit]
            cuts = {n: len(answers[n].token_ids) for n in open_}
            for n, made in self._written(prompts, streams, answers, cuts, limit, limits, (block, 0), seed).items():
                answers[n] = made
            for move in range(1, self.part.moves + 1):
                self._move(prompts, streams, answers, limit, limits, (block, move), seed)
        self.tally.answers += len(answers)
        samples = [
            Sample(tuple(a.token_ids), tuple(a.logprobs), StopReason.END_OF_TEXT if a.ended else StopReason.TOKEN_LIMIT)
            for a in answers
        ]
        for row, one in enumerate(samples if ended is not None else ()):
            assert ended is not None
            ended(row, one.token_ids)
        parts = iter(samples)
        return [[next(parts) for _ in one.streams] for one in requests]

    def _move(
        self,
        prompts: Sequence[tuple[int, ...]],
        streams: Sequence[tuple[int, ...]],
        answers: list[Answer],
        limit: int,
        limits: SampleLimits,
        at: tuple[int, int],
        seed: int,
    ) -> None:
        """Every chain cuts its answer, writes an end, and keeps one of the two."""
        dice = [uniforms(seed, PURPOSE, *stream, *at, count=2).tolist() for stream in streams]
        cuts = {n: cut_at(cut_law(one.entropies, self.part.even), dice[n][0]) for n, one in enumerate(answers)}
        for n, new in self._written(prompts, streams, answers, cuts, limit, limits, at, seed).items():
            old, cut = answers[n].from_cut(cuts[n], self.part.even), new.from_cut(cuts[n], self.part.even)
            self.tally.moves += 1
            if dice[n][1] < math.exp(min(0.0, log_acceptance(self.part.power, old, cut))):
                answers[n] = new
                self.tally.kept += 1

    def _written(
        self,
        prompts: Sequence[tuple[int, ...]],
        streams: Sequence[tuple[int, ...]],
        answers: Sequence[Answer],
        cuts: dict[int, int],
        limit: int,
        limits: SampleLimits,
        at: tuple[int, int],
        seed: int,
    ) -> dict[int, Answer]:
        """These answers with new ends after their cuts, none longer than `limit`, from one call of the decoder."""
        if not cuts:
            return {}
        asked = [
            SampleRequest((*prompts[n], *answers[n].token_ids[:cut]), ((*streams[n], *at),)) for n, cut in cuts.items()
        ]
        rooms = [limit - cut for cut in cuts.values()]
        recorder = Recorder(rooms, limits.temperature)
        proposal = SampleLimits(max(rooms), limits.temperature / self.part.power)
        rows = self.policy.sample(asked, proposal, stream_key(seed, PURPOSE) % 2**63, recorder)
        made = {}
        for place, (n, (sample,)) in enumerate(zip(cuts, rows, strict=True)):
            self.tally.tokens += len(sample.token_ids)
            end = Answer(
                list(sample.token_ids), recorder.logprobs[place], list(sample.logprobs), recorder.entropies[place],
                sample.stop is StopReason.END_OF_TEXT,
            )  # fmt: skip
            made[n] = answers[n].spliced(cuts[n], end)
        return made
