"""What a critic thinks of each token that might come next: the tilt of a candidate, read while the policy decodes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.critics.base import ValueCritic
from critica.critics.learned import LearnedCritic
from critica.critics.taught_ends import LiveTaughtEnds
from critica.critics.token_values import LiveTokenValues
from critica.functional.guidance import categorical_tilt, coin_tilt, gaussian_tilt, quantile_tilt
from critica.policies.base import Followed, Following, Policy, SampleLimits, SampleRequest
from critica.records.arrays import Categorical, Gaussian, Quantiles, ValuePrediction


class Candidates(ABC):
    """Tilts log E[exp(Z(s, a) / eta)] of candidate tokens, for the rows of one call of the decoder."""

    def begin(self, requests: Sequence[SampleRequest], limits: SampleLimits, end_ids: tuple[int, ...]) -> None:
        """What the rows, numbered in the order of the requests, continue."""
        return None

    @abstractmethod
    def tilts(
        self, hidden: Float[Tensor, "n D"], candidates: Int[Tensor, "n k"], rows: Int[Tensor, "n"], eta: float
    ) -> Float[Tensor, "n k"]:
        """One number per candidate, up to one constant a row."""

    def written(self, tokens: Int[Tensor, "n"], rows: Int[Tensor, "n"]) -> None:
        """These tokens were drawn."""
        return None


class TokenHead(Candidates):
    """A Q-type head on the policy's own states: nothing is read ahead."""

    def __init__(self, critic: LiveTokenValues) -> None:
        self.critic = critic

    @torch.no_grad()
    def tilts(
        self, hidden: Float[Tensor, "n D"], candidates: Int[Tensor, "n k"], rows: Int[Tensor, "n"], eta: float
    ) -> Float[Tensor, "n k"]:
        return categorical_tilt(self.critic.token_logits(hidden, candidates), self.critic.atoms, eta)


class NextStates(Candidates):
    """A V-type critic: a candidate is worth what the state after it is worth, so every candidate is read.

    The body (or the policy, for a critic that reads its states) follows the rows with a cache of its own: k + 1 decode
    steps a token. A critic that was never taught ends knows nothing of the state after an end-of-text token: such a
    candidate counts as much as the state that it is written in. The same goes for the last token that the limit allows.
    """

    def __init__(self, critic: LearnedCritic, body: Followed, ends_taught: bool) -> None:
        self.critic, self.body, self.ends_taught = critic, body, ends_taught
        self._following: Following | None = None
        self._prompts: tuple[tuple[int, ...], ...] = ()
        self._owners: tuple[int, ...] = ()
        self._rows = torch.empty(0, dtype=torch.long)
        self._steps, self._ends = 0, torch.empty(0, dtype=torch.long)

    def begin(self, requests: Sequence[SampleRequest], limits: SampleLimits, end_ids: tuple[int, ...]) -> None:
        self._prompts = tuple(request.prompt_ids for request in requests)
        self._owners = tuple(i for i, request in enumerate(requests) for _ in request.streams)
        self._steps, self._ends = limits.max_new_tokens, torch.tensor(end_ids, dtype=torch.long)
        self._rows, self._following = torch.empty(0, dtype=torch.long), None

    def tilts(
        self, hidden: Float[Tensor, "n D"], candidates: Int[Tensor, "n k"], rows: Int[Tensor, "n"], eta: float
    ) -> Float[Tensor, "n k"]:
        following = self._settle(rows)
        ahead = following.ahead(candidates)
        if not self.ends_taught:
            ending = torch.isin(candidates, self._ends.to(candidates.device))
            ahead = torch.where(ending[..., None], following.states[:, None], ahead)
        foreseen = self.critic.foresee(ahead.flatten(0, 1))
        tilt = law_tilt(foreseen, eta, self.critic.reward_low, self.critic.reward_high)
        return tilt.view(candidates.shape)

    def written(self, tokens: Int[Tensor, "n"], rows: Int[Tensor, "n"]) -> None:
        self._settle(rows).read(tokens)

    def _settle(self, rows: Int[Tensor, "n"]) -> Following:
        """The body at these rows: those of a new chunk are begun, those that ended are let go."""
        live = rows.cpu()
        if self._following is None or not bool(torch.isin(live, self._rows).all()):
            own = [self._owners[row] for row in live.tolist()]
            used = sorted(set(own))
            prompts, owners = [self._prompts[i] for i in used], [used.index(i) for i in own]
            self._following = self.body.follow(prompts, owners, self._steps)
        elif not torch.equal(live, self._rows):
            places = {row: place for place, row in enumerate(self._rows.tolist())}
            self._following.keep(torch.tensor([places[row] for row in live.tolist()], dtype=torch.long))
        self._rows = live
        return self._following


def law_tilt(foreseen: ValuePrediction, eta: float, low: float, high: float) -> Float[Tensor, "n"]:
    """The tilt of each row's law at place 1. A bare mean is read as a coin between the lowest and highest reward."""
    mean = foreseen.mean[:, 1]
    match foreseen.law:
        case Categorical(atoms=atoms, probs=probs):
            pooled = probs[:, 1].mean(1)
            return categorical_tilt(pooled.clamp(min=torch.finfo(pooled.dtype).tiny).log(), atoms, eta)
        case Quantiles(values=values):
            return quantile_tilt(values[:, 1].flatten(1), eta)
        case Gaussian(spread=spread):
            return gaussian_tilt(mean, spread[:, 1], eta)
        case _:
            return coin_tilt(((mean - low) / (high - low)).clamp(0.0, 1.0), low, high, eta)


def candidates_of(critic: ValueCritic, policy: Policy) -> Candidates:
    """How this critic judges candidates while this policy decodes. Raises ValueError, with the way out, if not."""
    if isinstance(critic, LiveTokenValues):
        return TokenHead(critic)
    inner, taught = (critic.inner, True) if isinstance(critic, LiveTaughtEnds) else (critic, False)
    if not isinstance(inner, LearnedCritic):
        raise ValueError(
            f"value guidance asks what a state is worth before anything more is written, and {type(critic).__name__}"
            " has no head to ask; set critic=taught_ends, critic=token_values or another single critic that learns"
        )
    body = policy if inner.body is None else inner.body
    if not isinstance(body, Followed):
        raise ValueError(
            f"value guidance reads candidates with {type(body).__name__}, which cannot follow the rows of a decoder:"
            " use a policy of the Llama or Qwen families, or critic=token_values"
        )
    return NextStates(inner, body, taught)
