"""What every critic with weights shares: features, prediction without gradient, parameters, and its folder."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from critica.critics.base import CriticContext, ValueCritic
from critica.critics.bodies import Body, SharedTrunk
from critica.policies.base import Backbone
from critica.policies.batching import microbatches
from critica.policies.body_mode import device_of
from critica.policies.kept import KeptStates
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction, ValueTargets
from critica.records.devices import HOST, moved
from critica.records.evidence import Evidence, HiddenStates
from critica.records.losses import LossTerm
from critica.records.words import StopReason

HEAD_FILE = "value_head.safetensors"


class CriticStartError(ValueError):
    """The critic's first predictions are outside of what rewards can be."""


def read_width(reader: Backbone | None, context: CriticContext) -> int:
    """D of the states that a head reads: its body's, or the policy's."""
    return context.policy.width if reader is None else reader.width


@runtime_checkable
class Shaper(Protocol):
    """A module between a body and a head: it changes the states and may add loss terms of its own."""

    def shape(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, mask: Bool[Tensor, "N T"]
    ) -> tuple[Float[Tensor, "S E"], tuple[LossTerm, ...]]: ...

    def settle(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S E"]: ...


class LearnedCritic(ValueCritic):
    """A body (or the policy's trunk) and a head in fp32 whose output layer starts at zero.

    `shapers` stand between body and head, each a module with `shape(states, batch, mask) -> (states, loss terms)` for
    training and `settle(states) -> states`, deterministic, for prediction. `tokens` bounds the grid cells of one
    forward pass; whoever assembles the run sets it, and `kept.tokens`.
    """

    def __init__(
        self,
        body: Body,
        reader: Backbone | None,
        head: nn.Module,
        context: CriticContext,
        shapers: Sequence[nn.Module] = (),
    ) -> None:
        device = device_of(context.policy.model)
        self.head = head.float().to(device)
        self.shapers = nn.ModuleList(shapers).float().to(device)
        self.body = reader
        self.has_body = self.body is not None
        self.shapes_trunk = isinstance(body, SharedTrunk) and not body.detached
        self.trunk_weight = body.weight if isinstance(body, SharedTrunk) else 1.0
        self.needs = frozenset() if self.has_body else frozenset({HiddenStates})
        self.reward_low, self.reward_high = context.reward_low, context.reward_high
        self.kept = KeptStates()
        self.tokens = 2**62
        self._checked = False

    @abstractmethod
    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        """Predictions from the states before each sampled token and after each row's last token."""

    @abstractmethod
    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        """Loss terms of the head, with gradient to it and, through `states`, to what lies before."""

    def loss(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        """Loss terms of these rows: the head's own and those of the shapers before it."""
        self._set_mode(training=True)
        states, terms = self.full(states), []
        for shaper in self.shapers:
            assert isinstance(shaper, Shaper)
            states, more = shaper.shape(states, batch, targets.mask)
            terms += more
        return (*self.fit(states, batch, targets, values), *terms)

    def _set_mode(self, training: bool) -> None:
        self.head.train(training)
        self.shapers.train(training)

    def shaped(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S E"]:
        """States as the head reads them when it predicts: without noise."""
        states = self.full(states)
        for shaper in self.shapers:
            assert isinstance(shaper, Shaper)
            states = shaper.settle(states)
        return states

    @torch.no_grad()
    def expect(self, states: Float[Tensor, "n D"]) -> Float[Tensor, "n"]:
        """The mean value of bare states, such as those that the policy's decoder holds."""
        self._set_mode(training=False)
        return self.means(self.shaped(states))

    def reader(self) -> Callable[[Float[Tensor, "n D"]], Float[Tensor, "n"]]:
        """`expect` for many small calls, set up once: nothing may train between them, nor may gradients be on."""
        self._set_mode(training=False)
        return lambda states: self.means(self.shaped(states))

    def means(self, shaped: Float[Tensor, "n E"]) -> Float[Tensor, "n"]:
        """The mean value of shaped states; a head that says it directly saves the grid that `read` makes."""
        return self.read(single_tokens(len(shaped), shaped.device), shaped, shaped).mean[:, 1]

    @torch.no_grad()
    def foresee(self, states: Float[Tensor, "n D"]) -> ValuePrediction:
        """The prediction for bare states, each at place 1 of a row of its own."""
        self._set_mode(training=False)
        shaped = self.shaped(states)
        return self.read(single_tokens(len(states), shaped.device), shaped, shaped)

    @torch.no_grad()
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        """What is expected before each sampled token. The first call refuses values that no reward could justify."""
        if self.body is None:
            states, ends = evidence[HiddenStates].states, evidence[HiddenStates].bootstrap
        else:
            states, ends = self._read_body(self.body, batch)
        self._set_mode(training=False)
        prediction = self.read(batch, self.shaped(states), self.shaped(ends))
        if not self._checked:
            self._refuse_wild_start(prediction)
        return prediction

    def _read_body(self, body: Backbone, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """The body's states without gradient, in pieces that fit; a batch of one piece is kept for the update."""
        pieces = microbatches(batch, torch.arange(batch.rows, device=batch.device), self.tokens)
        if len(pieces) == 1 and self.kept.tokens:
            with torch.enable_grad():
                states, ends = body.sampled_and_final_states(batch)
            self.kept.keep(batch, states)
            return states.detach(), ends.detach()
        row_of = batch.sampled_mask.nonzero()[:, 0]
        states = batch.behavior_logprobs.new_empty(len(row_of), body.width)
        ends = states.new_empty(batch.rows, body.width)
        for rows in pieces:
            before, after = body.sampled_and_final_states(batch.select(rows))
            states[torch.isin(row_of, rows)] = before.to(states.dtype)
            ends[rows] = after.to(ends.dtype)
        return states, ends

    def full(self, states: Tensor) -> Tensor:
        """States at the head's precision: fp32, whatever the body computes in."""
        return states.to(next(self.head.parameters()).dtype)

    def states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The body's states before each sampled token, with gradient."""
        if self.body is None:
            raise RuntimeError("this critic reads the policy's trunk: the learner must hand it the policy's states")
        kept = self.kept.take(batch)
        return self.body.sampled_states(batch) if kept is None else kept

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Every parameter, the head's first."""
        yield from ((f"head.{name}", weight) for name, weight in self.head.named_parameters())
        yield from ((f"head.shapers.{name}", weight) for name, weight in self.shapers.named_parameters())
        if self.body is not None:
            yield from ((f"body.{name}", weight) for name, weight in self.body.trainable())

    def save(self, folder: Path) -> None:
        """The body as a transformers folder, the head beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.body is not None:
            self.body.save(folder)
        kept = {f"{owner}{name}": value for owner, part in self._parts() for name, value in part.state_dict().items()}
        save_file({name: value.detach().contiguous() for name, value in kept.items()}, folder / HEAD_FILE)

    def _parts(self) -> tuple[tuple[str, nn.Module], ...]:
        """The head and the shapers, each with the prefix of its tensors in the head's file."""
        return (("", self.head), ("shapers.", self.shapers))

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote. Raises if a tensor is missing or misshapen."""
        kept = load_file(folder / HEAD_FILE)
        shaping = {name: value for name, value in kept.items() if name.startswith("shapers.")}
        self.shapers.load_state_dict({name.removeprefix("shapers."): value for name, value in shaping.items()})
        self.head.load_state_dict({name: value for name, value in kept.items() if name not in shaping})
        if self.body is not None:
            self.body.restore(folder)
        self._checked = True

    def _refuse_wild_start(self, prediction: ValuePrediction) -> None:
        span = self.reward_high - self.reward_low
        largest = float(prediction.mean.abs().max()) if prediction.mean.numel() else 0.0
        bound = max(abs(self.reward_low), abs(self.reward_high), span)
        if largest > bound:
            raise CriticStartError(
                f"the critic starts with |V| up to {largest:.3g} while rewards lie in [{self.reward_low:g},"
                f" {self.reward_high:g}]: it would teach the policy its own noise; use a head that starts at zero,"
                " or pretrain it (learner.critic_warmup_steps) at the reward's scale"
            )
        self._checked = True


@lru_cache(maxsize=256)
def single_tokens(rows: int, device: torch.device = HOST) -> TokenBatch:
    """A batch of `rows` rows with one sampled token each, to read a head outside of any batch."""
    grid = torch.zeros(rows, 2, dtype=torch.long)
    sampled = torch.tensor([[False, True]]).expand(rows, 2)
    line, flat = torch.zeros(rows, dtype=torch.long), torch.zeros(rows, 2)
    made = TokenBatch(
        grid, torch.ones_like(sampled), sampled, grid, grid, flat + 1, flat,
        prefix_length=line + 1, group_index=line, task_index=line, role_index=line, parent_index=line - 1,
        episode_index=line, policy_version=line, stop=(StopReason.TOKEN_LIMIT,) * rows,
        trajectory_ids=tuple(map(str, range(rows))),
    )  # fmt: skip
    return moved(made, device)
