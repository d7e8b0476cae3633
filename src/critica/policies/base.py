"""What a policy is to the rest: something that encodes, writes tokens with log-probs, and scores tokens."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from critica.policies.truncation import Truncation
from critica.records.arrays import TokenBatch
from critica.records.kept_tokens import NOTHING_CUT, KeptTokens
from critica.records.words import Message, StopReason


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One prompt to be continued `len(streams)` times; `streams` identify each sample's random numbers."""

    prompt_ids: tuple[int, ...]
    streams: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class SampleLimits:
    """How far, how hot, and among which tokens. `temperature` 0 is greedy, whatever is truncated.

    `min_new_tokens` bans end-of-text before it (for benchmarks). `stop`: texts that end an answer once written.
    """

    max_new_tokens: int
    temperature: float = 1.0
    min_new_tokens: int = 0
    truncation: Truncation = Truncation()
    stop: tuple[str, ...] = ()

    @property
    def truncates(self) -> bool:
        """Whether tokens may be left out of the law that is sampled from."""
        return self.truncation.cuts and self.temperature != 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the decoder returned: tokens (end-of-text included when written), their log-probs, and why it stopped.

    `kept`: which tokens each was drawn among, where truncated sampling left some out.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: StopReason
    kept: KeptTokens = NOTHING_CUT

    def within(self, room: int) -> "Sample":
        """What a limit of so many tokens leaves of it."""
        if len(self.token_ids) <= room:
            return self
        return Sample(self.token_ids[:room], self.logprobs[:room], StopReason.TOKEN_LIMIT, self.kept.first(room))


class PromptTooLong(ValueError):
    """A prompt and its continuation do not fit into the model's context."""

    def __init__(self, prompt_tokens: int, new_tokens: int, limit: int, task_id: str = "") -> None:
        self.prompt_tokens, self.new_tokens, self.limit, self.task_id = prompt_tokens, new_tokens, limit, task_id
        whose = f"the prompt of task {task_id!r}" if task_id else "a prompt"
        super().__init__(
            f"{whose} has {prompt_tokens} tokens; with max_new_tokens={new_tokens} that is "
            f"{prompt_tokens + new_tokens}, and the policy's context holds {limit}: "
            "lower max_new_tokens, choose shorter tasks, or take a policy with a longer context"
        )

    def of_task(self, task_id: str) -> "PromptTooLong":
        """The same error, naming the task."""
        return PromptTooLong(self.prompt_tokens, self.new_tokens, self.limit, task_id)


@runtime_checkable
class DecodeControl(Protocol):
    """A hand on the decoder, called twice a step: before a token is drawn and after.

    `rows` are the rows' numbers in the request order. `on_logits` returns the logits to sample from and who stops,
    `on_tokens` who stops now that the token is known. A stopped row keeps this step's token and ends as
    `early_stopped`.
    """

    def on_logits(
        self, hidden: Float[Tensor, "n D"], logits: Float[Tensor, "n V"], rows: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, "n V"], Bool[Tensor, "n"]]: ...

    def on_tokens(self, tokens: Int[Tensor, "n"], rows: Int[Tensor, "n"]) -> Bool[Tensor, "n"]: ...


@runtime_checkable
class DecodeWatch(Protocol):
    """A hand on the decoder that leaves the logits alone: told once a step, for all slots, which token was drawn.

    It costs less than a `DecodeControl`, because nothing is picked out or put back. A slot that is not `writing` is to
    be passed over; the number of its row may be any. Returns the slots that stop after this token, None for nobody.
    """

    def on_drawn(
        self,
        hidden: Float[Tensor, "n D"],
        logits: Float[Tensor, "n V"],
        tokens: Int[Tensor, "n"],
        rows: Int[Tensor, "n"],
        writing: Bool[Tensor, "n"],
    ) -> Bool[Tensor, "n"] | None: ...


DecodeHand = DecodeControl | DecodeWatch
Ended = Callable[[int, tuple[int, ...]], None]  # told a row's number and its tokens once they are all written


@runtime_checkable
class ReadsPrompts(Protocol):
    """A control that must know what its rows continue: told once a call, before anything is decoded."""

    def on_prompts(self, requests: Sequence[SampleRequest], limits: SampleLimits, end_ids: tuple[int, ...]) -> None: ...


class Following(Protocol):
    """States along rows that grow together, and after tokens that nobody has written yet; see `follower.Follower`."""

    states: Float[Tensor, "n D"]

    def ahead(self, tokens: Int[Tensor, "n k"]) -> Float[Tensor, "n k D"]: ...

    def read(self, tokens: Int[Tensor, "n"]) -> None: ...

    def keep(self, rows: Int[Tensor, "kept"]) -> None: ...


@runtime_checkable
class Followed(Protocol):
    """A model that can read along while rows grow: `prompts[owners[i]]` is the prompt of row i."""

    def follow(self, prompts: Sequence[tuple[int, ...]], owners: Sequence[int], steps: int) -> Following: ...


@runtime_checkable
class Policy(Protocol):
    """A causal language model that writes tokens. Weights need not be in this process."""

    version: int

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]: ...

    def decode_text(self, token_ids: Sequence[int]) -> str: ...

    def sample(
        self,
        requests: Sequence[SampleRequest],
        limits: SampleLimits,
        seed: int,
        control: DecodeHand | None = None,
        ended: Ended | None = None,
    ) -> list[list[Sample]]: ...


@runtime_checkable
class Conversing(Policy, Protocol):
    """A policy that can be spoken to again: it knows the tokens of a message that follows what it wrote."""

    @property
    def context_length(self) -> int: ...

    def encode_followup(self, message: Message, written: tuple[int, ...]) -> tuple[int, ...]: ...


@runtime_checkable
class TrainablePolicy(Policy, Protocol):
    """A policy whose weights are here."""

    model: nn.Module
    width: int

    def sampled_states(self, batch: TokenBatch) -> Float[Tensor, "S D"]: ...

    def sampled_and_final_states(self, batch: TokenBatch) -> tuple[Float[Tensor, "S D"], Float[Tensor, "N D"]]: ...

    def layer_states(self, batch: TokenBatch, depth: float) -> Float[Tensor, "S D"]: ...

    def sampled_and_inner_states(
        self, batch: TokenBatch, depths: Sequence[float]
    ) -> tuple[Float[Tensor, "S D"], tuple[Float[Tensor, "S D"], ...]]: ...

    def logits(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S V"]: ...

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]: ...

    def frozen_copy(self) -> "TrainablePolicy": ...

    def token_texts(self, batch: TokenBatch) -> tuple[tuple[str, ...], ...]: ...

    def save(self, folder: Path) -> None: ...

    def restore(self, folder: Path) -> None: ...


@runtime_checkable
class TextCodec(Protocol):
    """Bare text to tokens and back, without special ones."""

    def encode_text(self, text: str) -> tuple[int, ...]: ...

    def decode_text(self, token_ids: Sequence[int]) -> str: ...


@runtime_checkable
class WritingPolicy(TrainablePolicy, TextCodec, Protocol):
    """A policy that may be shown texts to imitate: it encodes bare text and knows what ends one."""

    @property
    def end_ids(self) -> tuple[int, ...]: ...


@runtime_checkable
class Backbone(Protocol):
    """Tokens to hidden states, for policies and for critics with a body of their own."""

    width: int

    def sampled_states(self, batch: TokenBatch) -> Float[Tensor, "S D"]: ...

    def sampled_and_final_states(self, batch: TokenBatch) -> tuple[Float[Tensor, "S D"], Float[Tensor, "N D"]]: ...

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]: ...

    def save(self, folder: Path) -> None: ...

    def restore(self, folder: Path) -> None: ...


def sampled_positions(sampled_mask: Bool[Tensor, "N T"]) -> Tensor:
    """Flat row-major indices of the sampled tokens."""
    return sampled_mask.flatten().nonzero().squeeze(-1)
