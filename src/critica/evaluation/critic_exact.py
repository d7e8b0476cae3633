"""The true value of a prefix in a token game, by walking every continuation that the policy could write.

The policy may write any token of its vocabulary. A text that spells no beginning of a finished sequence is worth 0
whatever follows, so only tokens that keep the spelling alive are followed:

    V(prefix) = sum over end-of-text and living tokens a of pi(a | prefix) V(prefix + a),   V(anything else) = 0.

At the token limit the text is scored as it stands. What is too improbable to follow is counted: the value lies within
`slack` above what was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critica.environments.exact import TokenGame
from critica.policies.base import TrainablePolicy
from critica.policies.batching import microbatches
from critica.records.arrays import TokenBatch
from critica.records.words import StopReason

LEAST = 1e-4  # continuations less probable than this, given the prefix, are not followed
CELLS = 16_384  # grid cells of one forward pass


@dataclass(frozen=True, slots=True)
class ExactLaw:
    """Returns and their probabilities; `slack` is the probability that was not followed, counted as return 0."""

    outcomes: tuple[float, ...]
    probs: tuple[float, ...]
    slack: float

    @property
    def mean(self) -> float:
        """The value, at most `slack` times the highest return too low."""
        return float(np.dot(self.outcomes, self.probs))


@dataclass(slots=True)
class _Walk:
    """What one prefix's continuations brought so far."""

    found: dict[float, float] = field(default_factory=dict)
    slack: float = 0.0

    def add(self, outcome: float, prob: float) -> None:
        self.found[outcome] = self.found.get(outcome, 0.0) + prob


@dataclass(frozen=True, slots=True)
class _Node:
    owner: int
    ids: tuple[int, ...]
    written: int  # how many of the ids the policy wrote
    prob: float


class Spelling:
    """Which tokens of a policy keep a game's text alive."""

    def __init__(self, policy: TrainablePolicy, game: TokenGame, texts: Sequence[str], end_ids: Sequence[int]) -> None:
        self.policy, self.game = policy, game
        self.end_ids = frozenset(end_ids)
        self.candidates = [
            token for token, text in enumerate(texts) if token not in self.end_ids and self._plausible(text)
        ]

    def _plausible(self, text: str) -> bool:
        return all(character in self.game.vocabulary for character in "".join(text.split()))

    def alive(self, written: Sequence[int]) -> bool:
        """Whether a finished sequence may still come of these tokens."""
        spelled: tuple[int, ...] = ()
        for character in "".join(self.policy.decode_text(list(written)).split()):
            if character not in self.game.vocabulary or self.game.is_end(spelled):
                return False
            spelled = (*spelled, self.game.vocabulary.index(character))
        return True

    def score(self, written: Sequence[int]) -> float:
        """The outcome of these tokens as they stand."""
        return self.game.score(self.policy.decode_text(list(written)))


def vocabulary_texts(policy: TrainablePolicy) -> tuple[str, ...]:
    """The text of every token by itself."""
    weight = next(policy.model.parameters())
    size = policy.logits(weight.new_zeros(1, policy.width)).shape[-1]
    return tuple(policy.decode_text([token]) for token in range(size))


@torch.inference_mode()
def exact_laws(
    policy: TrainablePolicy,
    spelling: Spelling,
    prefixes: Sequence[tuple[tuple[int, ...], int]],
    limit: int,
    temperature: float = 1.0,
    least: float = LEAST,
) -> tuple[ExactLaw, ...]:
    """The law of the return after each prefix, for prefixes of one game.

    A prefix is (token ids, how many of them the policy wrote); `limit` bounds the written tokens. At most 1 / `least`
    continuations of a prefix are alive at any length.
    """
    walks = [_Walk() for _ in prefixes]
    layer = []
    for owner, (ids, written) in enumerate(prefixes):
        if not spelling.alive(ids[len(ids) - written :]):
            walks[owner].add(0.0, 1.0)
        else:
            layer.append(_Node(owner, ids, written, 1.0))
    while layer:
        following: list[_Node] = []
        laws = next_laws(policy, [node.ids for node in layer], temperature)
        for node, law in zip(layer, laws, strict=True):
            following += _follow(node, law, walks[node.owner], spelling, limit, least)
        layer = following
    return tuple(_law(walk) for walk in walks)


def _follow(
    node: _Node, law: Float[np.ndarray, "V"], walk: _Walk, spelling: Spelling, limit: int, least: float
) -> list[_Node]:
    """Book what ends here; return what goes on."""
    own = node.ids[len(node.ids) - node.written :]
    ended = float(sum(law[token] for token in spelling.end_ids))
    walk.add(spelling.score(own), node.prob * ended)
    left = 1.0 - ended
    going = []
    for token in spelling.candidates:
        prob = node.prob * float(law[token])
        written = (*own, token)
        if prob <= 0.0 or not spelling.alive(written):
            continue
        left -= float(law[token])
        if node.written + 1 >= limit:
            walk.add(spelling.score(written), prob)
        elif prob < least:
            walk.slack += prob
            walk.add(0.0, prob)
        else:
            going.append(_Node(node.owner, (*node.ids, token), node.written + 1, prob))
    walk.add(0.0, node.prob * max(0.0, left))
    return going


def _law(walk: _Walk) -> ExactLaw:
    outcomes = tuple(sorted(walk.found))
    total = sum(walk.found.values())
    return ExactLaw(outcomes, tuple(walk.found[outcome] / total for outcome in outcomes), walk.slack)


@torch.inference_mode()
def next_laws(
    policy: TrainablePolicy, prefixes: Sequence[tuple[int, ...]], temperature: float
) -> list[Float[np.ndarray, "V"]]:
    """The policy's law of the next token after each prefix."""
    laws: list[np.ndarray] = [np.empty(0)] * len(prefixes)
    batch = _as_batch(prefixes)
    for rows in microbatches(batch, torch.arange(len(prefixes)), CELLS):
        states = policy.sampled_states(batch.select(rows))
        for row, law in zip(rows.tolist(), _softmax(policy.logits(states), temperature), strict=True):
            laws[row] = law
    return laws


def _softmax(logits: Float[Tensor, "n V"], temperature: float) -> Float[np.ndarray, "n V"]:
    return (logits.double() / temperature).softmax(-1).cpu().numpy()


def _as_batch(prefixes: Sequence[tuple[int, ...]]) -> TokenBatch:
    """Prefixes as rows with one more token, any, that counts as sampled: the state before it is the prefix's."""
    count, width = len(prefixes), max(map(len, prefixes)) + 1
    ids = torch.zeros(count, width, dtype=torch.long)
    valid = torch.zeros(count, width, dtype=torch.bool)
    for row, prefix in enumerate(prefixes):
        ids[row, : len(prefix)], valid[row, : len(prefix) + 1] = torch.tensor(prefix), True
    lengths = valid.sum(-1)
    sampled = torch.zeros_like(valid).scatter(1, (lengths - 1)[:, None], True)
    index, zeros = torch.arange(count), torch.zeros(count, width)
    nowhere = torch.full_like(index, -1)
    return TokenBatch(
        ids, valid, sampled, torch.where(valid, 0, -1), torch.where(sampled, 0, -1), zeros + 1, zeros,
        prefix_length=lengths - 1, group_index=index, task_index=index, role_index=torch.zeros_like(index),
        parent_index=nowhere, episode_index=index, policy_version=torch.zeros_like(index),
        stop=(StopReason.TOKEN_LIMIT,) * count, trajectory_ids=tuple(str(i) for i in range(count)),
    )  # fmt: skip


def padded(laws: Sequence[ExactLaw]) -> tuple[Float[np.ndarray, "n S"], Float[np.ndarray, "n S"]]:
    """Outcomes and probabilities side by side, short laws filled with weight 0."""
    width = max(len(law.outcomes) for law in laws)
    outcomes, probs = np.zeros((len(laws), width)), np.zeros((len(laws), width))
    for row, law in enumerate(laws):
        outcomes[row, : len(law.outcomes)], probs[row, : len(law.probs)] = law.outcomes, law.probs
    return outcomes, probs
