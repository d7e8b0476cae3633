"""The report of a fit: what was fitted on what, and how the held-out error fell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critica.training.critic_folder import CriticManifest

CARD = """# A fitted critic: {critic}

Fitted to the rollouts of `{source}` ({rows:,} answers to {prompts:,} prompts), judged on {held_out:,} prompts whose
answers it never learned from. Policy: `{policy}`. Rewards lie in [{low:g}, {high:g}]. Seed {seed}.

| | held-out error per token |
|---|---|
| before the fit | {first:.5f} |
| best constant | {constant:.5f} |
| **this critic**, after {best_update} of {updates} updates | **{best:.5f}** |

The error is the mean of (value - told outcome)², which is the Brier score where outcomes are 0 or 1. It cannot reach
0: {skill:.1%} of what a constant leaves is explained, the rest is in part the outcome's own chance. The fit ended
because {why}.

`critica train … --critic-from THIS_FOLDER` starts with it; `critica critic audit THIS_FOLDER` measures it on fresh
answers. `critic/` is a transformers folder (body) with the head beside it.

## The course of the fit

| update | held-out error |
|---|---|
{history}
"""


@dataclass(frozen=True, slots=True)
class Judgment:
    """The held-out error after so many updates."""

    update: int
    error: float


def card(manifest: "CriticManifest", history: Sequence[Judgment]) -> str:
    """The fit's README."""
    m = manifest
    return CARD.format(
        critic=m.critic, source=m.source, rows=m.rows, prompts=m.prompts, held_out=m.held_out_prompts, policy=m.policy,
        low=m.low, high=m.high, seed=m.seed, first=m.first_error, constant=m.constant_error, best=m.best_error,
        best_update=m.best_update, updates=m.updates, why=m.why_stopped,
        skill=1 - m.best_error / m.constant_error if m.constant_error else 0.0,
        history="\n".join(f"| {item.update} | {item.error:.5f} |" for item in history),
    )  # fmt: skip
