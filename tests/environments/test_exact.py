"""Dynamic programming against enumeration of every sequence, and against values worked out by hand."""

import math

import numpy as np
import pytest

from critica.environments.binary_tree import BinaryTreeGame
from critica.environments.catalogue import parse_environment
from critica.environments.chain import ChainGame
from critica.environments.digit_sum import DigitSumGame
from critica.environments.exact import Prefix, TokenGame
from critica.environments.two_branch import TwoBranchGame

GAMES = (
    DigitSumGame(offset=3, length=3, target=9, base=4),
    BinaryTreeGame(tree=77, depth=5),
    BinaryTreeGame(tree=78, depth=4, graded=True),
    ChainGame("01101"),
    TwoBranchGame(length=4, decisive=2, winning="b", letters="abc"),
)


def random_policy(game: TokenGame, seed: int):
    """A policy that depends on the whole prefix."""

    def probs(prefix: Prefix) -> np.ndarray:
        return np.random.default_rng([seed, *prefix, len(prefix)]).dirichlet(np.ones(len(game.vocabulary)))

    return probs


def enumerated(game: TokenGame, probs, prefix: Prefix) -> dict[float, float]:
    """The law by adding up the probability of every finished sequence."""
    law: dict[float, float] = {}
    for end in game.ends(prefix):
        chance = math.prod(probs(end[:t])[end[t]] for t in range(len(prefix), len(end)))
        law[game.outcome(end)] = law.get(game.outcome(end), 0.0) + chance
    return law


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_laws_equal_enumeration_at_every_prefix(game: TokenGame) -> None:
    probs = random_policy(game, 4)
    solution = game.solve(probs)
    prefixes = [()] + [end[:t] for end in game.ends() for t in range(1, len(end) + 1)]
    for prefix in set(prefixes):
        law, brute = solution.law(prefix), enumerated(game, probs, prefix)
        assert dict(zip(law.values, law.probs, strict=True)) == pytest.approx({k: v for k, v in brute.items() if v > 0})
        assert game.true_value(probs, prefix) == pytest.approx(sum(v * p for v, p in brute.items()))
        assert sum(law.probs) == pytest.approx(1.0)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_states_hold_all_that_matters(game: TokenGame) -> None:
    """A policy that sees only (length, state) gives the same laws whether prefixes are merged or not."""
    import zlib

    def probs(prefix: Prefix) -> np.ndarray:
        seen = zlib.crc32(repr((len(prefix), game.state(prefix))).encode())
        return np.random.default_rng(seen).dirichlet(np.ones(len(game.vocabulary)))

    merged, whole = game.solve(probs, look=game.state), game.solve(probs)
    for end in game.ends():
        assert merged.values_along(end) == pytest.approx(whole.values_along(end))
        assert merged.value(end) == game.outcome(end)


def test_a_long_chain_is_a_product() -> None:
    game = ChainGame("01" * 100)
    right = 0.99
    probs = lambda prefix: np.array([right, 1 - right] if game.pattern[len(prefix)] == "0" else [1 - right, right])  # noqa: E731
    good = tuple(int(bit) for bit in game.pattern)
    solution = game.solve(probs, look=lambda prefix: ())
    assert solution.values_along(good) == pytest.approx([right ** (200 - t) for t in range(200)])
    slipped = (*good[:50], 1 - good[50], *good[51:])
    assert solution.values_along(slipped)[51:] == pytest.approx(np.zeros(149))


def test_two_branches_jump_exactly_at_the_decisive_token() -> None:
    game = TwoBranchGame(length=5, decisive=2, winning="b", letters="abcd")
    values = game.solve(lambda prefix: np.full(4, 0.25), look=lambda prefix: ()).values_along((0, 3, 1, 2, 2))
    assert values == pytest.approx([0.25, 0.25, 0.25, 1.0, 1.0])


def test_digit_sum_by_hand() -> None:
    game = DigitSumGame(offset=1, length=2, target=3, base=3)  # 0+2, 1+1, 2+0 of nine
    uniform = lambda prefix: np.full(3, 1 / 3)  # noqa: E731
    law = game.return_law(uniform)
    assert law.values == (0.0, 1.0) and law.probs == pytest.approx((2 / 3, 1 / 3))
    assert law.mean == pytest.approx(1 / 3) and law.variance == pytest.approx(2 / 9)
    assert law.quantile(0.66) == 0.0 and law.quantile(0.67) == 1.0 and law.quantile(2 / 3) == 0.0


def test_a_row_that_is_no_law_is_refused() -> None:
    with pytest.raises(ValueError, match="no law over 2 tokens"):
        ChainGame("01").return_law(lambda prefix: np.array([0.5, 0.6]))


def test_leaves_are_random_and_fixed() -> None:
    game = BinaryTreeGame(tree=5, depth=10)
    wins = sum(game.outcome(end) for end in game.ends()) / 2**10
    assert abs(wins - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2**10)
    assert [game.outcome(e) for e in game.ends()] == [BinaryTreeGame(5, 10).outcome(e) for e in game.ends()]


@pytest.mark.parametrize("spec", ["digit_sum", "binary_tree", "chain", "two_branch"])
def test_text_spells_the_game(spec: str) -> None:
    environment = parse_environment(spec).build(2)
    task = environment.candidate(0)
    game = environment.game(task)
    assert task.prompt == game.prompt()
    token = game.vocabulary[0]
    length = next(n for n in range(1, 99) if game.is_end((0,) * n))
    assert environment.score(task, f" {token * length}\n") == game.outcome((0,) * length)
    assert game.parse(" ".join(token * length)) == (0,) * length
    for wrong in (token * (length - 1), token * (length + 1), "?" + token * (length - 1), ""):
        assert game.parse(wrong) is None and environment.score(task, wrong) == 0.0


def test_won_games_score_one() -> None:
    chain = parse_environment("chain").build(2)
    task = chain.candidate(3)
    assert chain.score(task, task.info["pattern"]) == 1.0
    two = parse_environment("two_branch").build(2)
    game = two.game(two.candidate(3))
    assert two.score(two.candidate(3), game.winning * game.length) == 1.0
