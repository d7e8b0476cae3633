"""Token games small enough that the law of the return at every prefix comes from dynamic programming.

A game is a finite tree of prefixes over a small vocabulary with one number at each end. Under a policy pi,

    law(prefix) = sum_a pi(a | prefix) law(prefix + a),    law(end) = the point mass at its outcome,

and the value is the law's mean. This is the truth that critics are measured against. Games are also environments: a
prompt states the game, the characters of the text are its tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from critica.environments.base import Environment
from critica.records.words import Message, Task

Prefix = tuple[int, ...]
PolicyProbs = Callable[[Prefix], Float[np.ndarray, "V"]]
Look = Callable[[Prefix], Hashable]
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class ReturnLaw:
    """A discrete law: `values` ascending, their probabilities beside."""

    values: tuple[float, ...]
    probs: tuple[float, ...]

    @property
    def mean(self) -> float:
        """E[return], the true value."""
        return float(sum(value * prob for value, prob in zip(self.values, self.probs, strict=True)))

    @property
    def variance(self) -> float:
        """E[return^2] - E[return]^2."""
        mean = self.mean
        return float(sum(prob * (value - mean) ** 2 for value, prob in zip(self.values, self.probs, strict=True)))

    def quantile(self, level: float) -> float:
        """The smallest value whose cumulative probability reaches `level`."""
        total = 0.0
        for value, prob in zip(self.values, self.probs, strict=True):
            total += prob
            if total >= level - 1e-12:
                return value
        return self.values[-1]


class TokenGame(ABC):
    """A game's rules. Tokens are indices into `vocabulary`, whose entries are single characters."""

    vocabulary: tuple[str, ...]

    @abstractmethod
    def is_end(self, prefix: Prefix) -> bool:
        """Whether nothing follows this prefix."""

    @abstractmethod
    def outcome(self, end: Prefix) -> float:
        """The return of a finished sequence, in [0, 1]."""

    @abstractmethod
    def state(self, prefix: Prefix) -> Hashable:
        """All of the prefix that the rest of the game depends on."""

    @abstractmethod
    def prompt(self) -> str:
        """The game, stated in words."""

    def return_law(self, policy_probs: PolicyProbs, prefix: Prefix = (), look: Look | None = None) -> ReturnLaw:
        """The law of the return from `prefix` on, see `solve`."""
        return self.solve(policy_probs, prefix, look).law(prefix)

    def true_value(self, policy_probs: PolicyProbs, prefix: Prefix = (), look: Look | None = None) -> float:
        """The mean of the return from `prefix` on, see `solve`."""
        return self.return_law(policy_probs, prefix, look).mean

    def solve(self, policy_probs: PolicyProbs, start: Prefix = (), look: Look | None = None) -> "Solution":
        """The laws of all prefixes reachable from `start`.

        `look(prefix)` is all of the prefix that the policy's probabilities depend on; prefixes of one length with the
        same state and look are merged, which makes long games tractable. Without it the whole prefix counts: always
        right, exponential in the length. Raises ValueError if the policy's row is no probability vector.
        """
        return Solution(self, policy_probs, start, look)

    def ends(self, prefix: Prefix = ()) -> Iterator[Prefix]:
        """Every finished sequence that continues `prefix`, one by one."""
        if self.is_end(prefix):
            yield prefix
            return
        for token in range(len(self.vocabulary)):
            yield from self.ends((*prefix, token))

    def best(self) -> Prefix:
        """A finished sequence of the highest outcome; of several the one whose tokens come first in the vocabulary."""
        known: dict[Hashable, tuple[float, Prefix]] = {}

        def rest(prefix: Prefix) -> tuple[float, Prefix]:
            key = len(prefix), self.state(prefix)
            if key not in known and self.is_end(prefix):
                known[key] = self.outcome(prefix), ()
            elif key not in known:
                tails = [(token, rest((*prefix, token))) for token in range(len(self.vocabulary))]
                token, (value, tail) = max(tails, key=lambda one: one[1][0])
                known[key] = value, (token, *tail)
            return known[key]

        return rest(())[1]

    def beginning(self, text: str) -> Prefix | None:
        """The sequence that a text spells so far, blanks aside; None if no finished sequence can come of it."""
        tokens: list[int] = []
        for character in "".join(text.split()):
            if character not in self.vocabulary or self.is_end(tuple(tokens)):
                return None
            tokens.append(self.vocabulary.index(character))
        return tuple(tokens)

    def parse(self, text: str) -> Prefix | None:
        """The finished sequence that a text spells, blanks aside; None if it spells none."""
        tokens = self.beginning(text)
        return tokens if tokens is not None and self.is_end(tokens) else None

    def score(self, text: str) -> float:
        """The outcome of the spelled sequence; 0 for a text that spells none."""
        sequence = self.parse(text)
        return 0.0 if sequence is None else self.outcome(sequence)


class Solution:
    """Laws of all prefixes reachable from a start, under one policy."""

    def __init__(self, game: TokenGame, policy_probs: PolicyProbs, start: Prefix, look: Look | None) -> None:
        self._game = game
        self._look: Look = look or (lambda prefix: prefix)
        self._laws: dict[Hashable, ReturnLaw] = {}
        layers = self._layers(start)
        for layer in reversed(layers):
            for key, prefix in layer.items():
                self._laws[key] = self._law_of(prefix, policy_probs)

    def law(self, prefix: Prefix) -> ReturnLaw:
        """The law of the return after `prefix`. Raises KeyError for a prefix not reachable from the start."""
        return self._laws[self._key(prefix)]

    def value(self, prefix: Prefix) -> float:
        """The mean of that law."""
        return self.law(prefix).mean

    def values_along(self, sequence: Prefix) -> Float[np.ndarray, "T"]:
        """V(tokens_<t) for each t of a sequence: what was expected before each of its tokens."""
        return np.array([self.value(sequence[:t]) for t in range(len(sequence))])

    def _key(self, prefix: Prefix) -> Hashable:
        return len(prefix), self._game.state(prefix), self._look(prefix)

    def _layers(self, start: Prefix) -> list[dict[Hashable, Prefix]]:
        layers = [{self._key(start): start}]
        while layers[-1]:
            following: dict[Hashable, Prefix] = {}
            for prefix in layers[-1].values():
                if not self._game.is_end(prefix):
                    for token in range(len(self._game.vocabulary)):
                        child = (*prefix, token)
                        following.setdefault(self._key(child), child)
            layers.append(following)
        return layers

    def _law_of(self, prefix: Prefix, policy_probs: PolicyProbs) -> ReturnLaw:
        if self._game.is_end(prefix):
            return ReturnLaw((self._game.outcome(prefix),), (1.0,))
        probs = np.asarray(policy_probs(prefix), dtype=np.float64)
        if probs.shape != (len(self._game.vocabulary),) or (probs < 0).any() or abs(probs.sum() - 1) > SUM_TOLERANCE:
            raise ValueError(
                f"the policy's row after {prefix} is no law over {len(self._game.vocabulary)} tokens: {probs}"
            )
        mixed: dict[float, float] = {}
        for token, prob in enumerate(probs.tolist()):
            law = self.law((*prefix, token))
            for value, share in zip(law.values, law.probs, strict=True):
                mixed[value] = mixed.get(value, 0.0) + prob * share
        values = tuple(sorted(value for value, prob in mixed.items() if prob > 0.0))
        return ReturnLaw(values, tuple(mixed[value] for value in values))


@dataclass(frozen=True, slots=True)
class GameState:
    """Where a game stands: what was written, as far as it matters. States of equal length and meaning are equal."""

    length: int
    meaning: Hashable
    prefix: Prefix = field(default=(), compare=False, repr=False)


OVER = GameState(-1, "over")  # the text was ended, or spells nothing any more: nothing more is earned
END = ""  # the action that ends a text; every other action is one character


class GameEnvironment(Environment):
    """A family of games as an environment: `draw(index)` gives the rules, the task carries them in `info`.

    It can be put back to the state after any text (`records.Restorable`). The outcome is paid when the finished text
    is ended; whatever else is written there or before leads nowhere and pays 0, as the score of such a text does.
    """

    def __init__(
        self, name: str, seed: int, draw: Callable[[int], TokenGame], rules: Callable[..., TokenGame], max_length: int
    ) -> None:
        self.name = name
        self.seed = seed
        self.reward_range = (0.0, 1.0)
        self.max_new_tokens = max_length + 2  # a blank in front and the end-of-text token
        self._draw = draw
        self._rules = rules

    def candidate(self, index: int) -> Task:
        """Game `index`."""
        game = self._draw(index)
        return Task(
            task_id=f"{self.name}/{self.seed}/{index}",
            environment=self.name,
            messages=(Message("user", game.prompt()),),
            answer="",
            info=rules_of(game),
            seed=self.seed,
        )

    def game(self, task: Task) -> TokenGame:
        """The rules of a task, for exact values."""
        return self._rules(**task.info)

    def score(self, task: Task, text: str) -> float:
        """The outcome of the sequence that the text spells; 0 for a text that spells none."""
        return self.game(task).score(text)

    def demonstration(self, task: Task) -> str:
        """A play of the highest outcome."""
        game = self.game(task)
        return "".join(game.vocabulary[token] for token in game.best())

    def snapshot(self, task: Task, text: str) -> GameState:
        """The state after this text."""
        game = self.game(task)
        prefix = game.beginning(text)
        return OVER if prefix is None else _state(game, prefix)

    def legal_actions(self, task: Task, state: Hashable) -> tuple[str, ...]:
        """The characters that may follow; ending the text, once it is finished."""
        assert isinstance(state, GameState)
        if state == OVER:
            return ()
        game = self.game(task)
        return (END,) if game.is_end(state.prefix) else game.vocabulary

    def act(self, task: Task, state: Hashable, action: str) -> tuple[GameState, float]:
        """(the next state, what it pays)."""
        assert isinstance(state, GameState)
        if action not in self.legal_actions(task, state):
            return OVER, 0.0
        game = self.game(task)
        if action == END:
            return OVER, game.outcome(state.prefix)
        return _state(game, (*state.prefix, game.vocabulary.index(action))), 0.0


def _state(game: TokenGame, prefix: Prefix) -> GameState:
    return GameState(len(prefix), game.state(prefix), prefix)


def rules_of(game: TokenGame) -> Mapping[str, Any]:
    """The fields of a game, which are its rules."""
    return asdict(game)  # type: ignore[call-overload]
