"""Q#: the policy's next token, reweighed by what a critic expects of each candidate; behavior is the guided law."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.critics.base import ValueCritic
from critica.critics.reference_tail import ReferenceTail
from critica.critics.targets import TargetRule
from critica.functional.guidance import check_eta, guidance_kl, guided_logits, switch_of
from critica.policies.base import DecodeControl, Policy, SampleLimits, SampleRequest
from critica.records.arrays import Metric
from critica.records.supervision import Reward
from critica.records.words import Trajectory
from critica.rollout.candidates import Candidates, candidates_of
from critica.rollout.control import Control, ControlContext, ControlPart, Stream


@dataclass(frozen=True, slots=True)
class ValueGuidance(ControlPart):
    """pi(a | s) ∝ pi_ref(a | s) E[exp(Z(s, a) / eta)] over the policy's `top_k` likeliest tokens (arXiv 2502.20548).

    Z is the critic's law of the reward-to-go, which must be that of the policy alone. `eta` is the price of a nat of
    KL, in units of reward: infinity leaves the policy bit for bit as it is. Other tokens keep their probability, or
    with `keeps_rest` false get none (less to go wrong where the critic is poor at unlikely tokens, and top-k sampling
    at any eta). Behavior log-probs are those of the guided law.

    `roll_in` 0 guides every token. Above, each answer is guided before a switch drawn uniformly from its tokens
    1..roll_in and the policy writes the rest, which is what a critic of the policy may be fitted to: then the target
    must be reference_tail with the same roll_in. In an evaluation every token is guided.

    Cost per token: critic=token_values one small product; a critic with a body of its own top_k + 1 of its steps;
    one that reads the policy's states top_k + 1 more of the policy's. Use it where the policy has right answers among
    its likely ones and may not be trained; not where it never does, for what it cannot sample it cannot be guided to.
    """

    eta: float = 0.1
    top_k: int = 8
    keeps_rest: bool = True
    roll_in: int = 0

    def __post_init__(self) -> None:
        check_eta(self.eta)
        if self.top_k < 2:
            raise ValueError(f"control.top_k counts candidates, got {self.top_k}: with fewer than 2 there is no choice")
        if self.roll_in < 0:
            raise ValueError(f"control.roll_in is the latest switch in tokens, or 0 for no switch; got {self.roll_in}")

    def check(self, target: TargetRule) -> None:
        """The rows that are begun by guidance are targets from the switch on, by one and the same switch."""
        asked = target.roll_in if isinstance(target, ReferenceTail) else 0
        if asked != self.roll_in:
            raise ValueError(
                f"control.roll_in={self.roll_in} and target={type(target).__name__}{f'({asked})' if asked else ''} do"
                " not speak of the same switch: set target=reference_tail and target.roll_in to control.roll_in, or"
                " control.roll_in=0 with another target"
            )

    def build(self, context: ControlContext) -> Control:
        return LiveGuidance(self, context.critic, context.policy)


@dataclass
class Tally:
    """What one step's (or one evaluation's) guidance did."""

    tokens: int = 0
    guided: int = 0
    divergence: float = 0.0  # summed over guided tokens, in nats
    rows: int = 0

    @property
    def divergence_per_answer(self) -> float:
        """KL(guided || policy) of whole answers, estimated by the sum of their tokens' (which are exact)."""
        return self.divergence / self.rows if self.rows else float("nan")


class LiveGuidance(Control):
    """Guidance by a live critic. Nothing but the critic's weights is carried from step to step."""

    def __init__(self, part: ValueGuidance, critic: ValueCritic, policy: Policy) -> None:
        self.part, self.critic, self.policy = part, critic, policy
        candidates_of(critic, policy)  # refused before anything is decoded
        self.tally = Tally()

    @property
    def failure(self) -> float:
        raise AssertionError("guidance stops no row")

    def begin(self, step: int, streams: Sequence[Stream], temperature: float) -> DecodeControl | None:
        """Guided up to each row's switch, or all along if there is none."""
        longest = self.part.roll_in
        switches = [switch_of(".".join(map(str, stream)), longest) if longest else 0 for stream in streams]
        return self._hand(switches, temperature)

    def evaluating(self, streams: Sequence[Stream], temperature: float) -> DecodeControl | None:
        """Guided all along."""
        return self._hand([0] * len(streams), temperature)

    def _hand(self, switches: Sequence[int], temperature: float) -> "Guide":
        self.tally.rows += len(switches)
        return Guide(self.part, candidates_of(self.critic, self.policy), self.tally, switches, temperature)

    def close(self, trajectories: Sequence[Trajectory], rewards: Sequence[Reward]) -> tuple[Metric, ...]:
        """How much was guided, and how far."""
        tally, self.tally = self.tally, Tally()
        return (
            Metric("control/guided_share", float(tally.guided), float(tally.tokens)),
            Metric("control/guidance_kl", tally.divergence, float(tally.guided)),
        )

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None


class Guide:
    """One call of the decoder. `switches[row]`: the first token, from 1, that the policy writes alone; 0: none."""

    def __init__(
        self, part: ValueGuidance, candidates: Candidates, tally: Tally, switches: Sequence[int], temperature: float
    ) -> None:
        self.part, self.candidates, self.tally, self.temperature = part, candidates, tally, temperature
        self.switches = torch.tensor(switches, dtype=torch.long)
        self.written = torch.zeros(len(switches), dtype=torch.long)

    def on_prompts(self, requests: Sequence[SampleRequest], limits: SampleLimits, end_ids: tuple[int, ...]) -> None:
        """What the rows continue."""
        self.candidates.begin(requests, limits, end_ids)

    def on_logits(
        self, hidden: Float[Tensor, "n D"], logits: Float[Tensor, "n V"], rows: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, "n V"], Bool[Tensor, "n"]]:
        """The guided logits of the rows before their switch; the others' are returned as they came."""
        part, tally = self.part, self.tally
        acts = self._acts(rows).to(logits.device)
        never = torch.zeros(len(rows), dtype=torch.bool, device=logits.device)
        tally.tokens += len(rows)
        if not bool(acts.any()):
            return logits, never
        wide = logits if logits.dtype == torch.float64 else logits.float()
        own = wide[acts]
        likely = own.topk(min(part.top_k, own.shape[-1]), -1).indices
        tilts = self.candidates.tilts(hidden[acts], likely, rows[acts], part.eta).to(own)
        guided = guided_logits(own, likely, tilts, self.temperature, part.keeps_rest)
        tally.guided += len(own)
        tally.divergence += float(guidance_kl(guided.double(), own.double(), self.temperature).sum())
        changed = wide.clone()
        changed[acts] = guided
        return changed, never

    def on_tokens(self, tokens: Int[Tensor, "n"], rows: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """The rows whose next token is guided have read this one by then; a row past its switch never comes back."""
        self.written[rows.cpu()] += 1
        still = self._acts(rows).to(tokens.device)
        if bool(still.any()):
            self.candidates.written(tokens[still], rows[still])
        return torch.zeros_like(tokens, dtype=torch.bool)

    def _acts(self, rows: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Whose next token is guided."""
        place = rows.cpu()
        switch = self.switches[place]
        return (switch == 0) | (self.written[place] + 1 < switch)
