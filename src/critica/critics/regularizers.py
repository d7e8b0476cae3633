"""What may stand between a critic's body and its head, in order, and how wide its end is."""

from collections.abc import Sequence

from torch import nn

from critica.critics.base import CriticContext
from critica.critics.bodies import Body, SharedTrunk
from critica.critics.bottleneck import Bottleneck
from critica.critics.semantic import SemanticAnchor

Regularizer = Bottleneck | SemanticAnchor


def check_regularizers(parts: Sequence[Regularizer], body: Body) -> None:
    """Raise ValueError, with the way out, for an order or a body with which a regularizer could do nothing."""
    kinds = [type(part) for part in parts]
    if len(set(kinds)) < len(kinds):
        raise ValueError("a regularizer is named twice: name each once, with its weight")
    if SemanticAnchor in kinds[1:]:
        raise ValueError("the semantic anchor reads the body's own states: put it first among the regularizers")
    if SemanticAnchor in kinds and isinstance(body, SharedTrunk) and body.detached:
        raise ValueError(
            "the semantic anchor moves the critic's features, and on a shared, detached trunk it cannot: use"
            " critic.body=own, or take the anchor out"
        )


def build_regularizers(
    parts: Sequence[Regularizer], context: CriticContext, width: int
) -> tuple[tuple[nn.Module, ...], int]:
    """The live layers over states of this width, and the width that the head reads."""
    layers = []
    for part in parts:
        layers.append(part.build(context, width))
        width = part.reaches(width)
    return tuple(layers), width
