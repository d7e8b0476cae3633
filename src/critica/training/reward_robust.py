"""How the losses of a batch's pairs become one loss: their mean, or the worst mix of prompts or slices nearby."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.robust_losses import group_dro_step, kl_ball_weights, unit_losses
from critica.training.reward_pairs import BadPairs, Pair

FORMS = "none, kl_ball:RADIUS, kl_ball:RADIUS:COLUMN or group_dro:COLUMN (or group_dro:COLUMN:RATE)"


@dataclass(frozen=True, slots=True)
class Robust:
    """What the loss is robust to.

    none: the mean over pairs. kl_ball: the worst mix of units within KL `radius` (nats) of this batch's own mix, where
    a unit is a slice of `column`, or a prompt if it is empty; radius 0 is the mean. group_dro: weights on the slices of
    `column` that follow their losses over updates at `radius` (the paper's step size eta, 0.01), 1 / slices at first:
    at rate 0 all slices count alike, which is not the mean over pairs where slices differ in size.

    For slices that matter more in use than in the file. Not against wrong labels: high losses are what those have.
    Source: arXiv 2503.00539 (its ball and radius are not public), Sagawa et al. 2020 (arXiv 1911.08731).
    """

    kind: str = "none"
    column: str = ""
    radius: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("none", "kl_ball", "group_dro"):
            raise BadPairs(f"robust is {self.kind!r}: write {FORMS}")
        if not 0 <= self.radius < float("inf"):
            raise BadPairs(f"a radius or rate is 0 or above, and finite; got {self.radius}")
        if self.kind == "group_dro" and not self.column:
            raise BadPairs("group_dro weighs slices: name the column that cuts them, as in group_dro:topic")

    @classmethod
    def parse(cls, spec: str) -> "Robust":
        """One of `FORMS`. Raises `BadPairs`."""
        kind, *rest = spec.split(":")
        try:
            if kind == "none" and not rest:
                return cls()
            if kind == "kl_ball" and len(rest) in (1, 2):
                return cls(kind, rest[1] if len(rest) == 2 else "", float(rest[0]))
            if kind == "group_dro" and len(rest) in (1, 2):
                return cls(kind, rest[0], float(rest[1]) if len(rest) == 2 else 0.01)
        except ValueError as error:
            if isinstance(error, BadPairs):
                raise
        raise BadPairs(f"robust is {spec!r}: write {FORMS}")


class Weigher:
    """A live `Robust`: it knows each pair's unit, and remembers the weights of slices between updates."""

    def __init__(self, robust: Robust, pairs: Sequence[Pair]) -> None:
        self.robust = robust
        if robust.column:
            without = next((pair for pair in pairs if robust.column not in pair.columns), None)
            if without is not None:
                raise BadPairs(f"a pair has no column {robust.column!r}, which robust={robust.kind} weighs slices by")
        names = [pair.columns[robust.column] if robust.column else pair.prompt_text for pair in pairs]
        self.names = tuple(sorted(set(names)))
        place = {name: k for k, name in enumerate(self.names)}
        self.unit = torch.tensor([place[name] for name in names])
        self.weights = torch.full((len(self.names),), 1.0 / len(self.names), dtype=torch.float64)

    def loss(self, losses: Float[Tensor, "R"], rows: Sequence[int]) -> Float[Tensor, ""]:
        """The loss of these pairs, with gradient. `group_dro` moves its weights by it first."""
        unit = self.unit[list(rows)]
        if self.robust.kind == "none":
            return losses.mean()
        means, shares = unit_losses(losses, unit)
        if self.robust.kind == "kl_ball":
            return (kl_ball_weights(means, shares, self.robust.radius) * means).sum()
        present = torch.zeros_like(self.weights)
        units = unit.unique()
        present[units] = 1.0
        full = torch.zeros_like(self.weights)
        full[units] = means.detach().to(full)
        self.weights = group_dro_step(self.weights, full, present, self.robust.radius)
        return (self.weights[units].to(means) * means).sum()
