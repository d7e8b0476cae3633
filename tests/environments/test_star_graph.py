"""The star graph: a guess at the first step, and what exact guidance makes of it."""

import math

import numpy as np
import pytest
import torch

from critica.environments.base import EnvironmentProblem
from critica.environments.catalogue import parse_environment
from critica.environments.star_graph import StarGraph, StarGraphGame
from critica.functional.guidance import coin_tilt, guided_logprobs

GAME = StarGraphGame("a", ("bd", "ce"), "e", (3, 0, 2, 1))


def test_a_game_by_hand():
    assert GAME.prompt() == "ce ab ac bd from a to e: ".replace("ac bd", "ac bd")
    assert [GAME.score(text) for text in ("ce", "c e", "bd", "be", "c", "cee")] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert GAME.shortcut(()) == (0.0, 0.5, 0.5, 0.0, 0.0)
    assert GAME.shortcut((1,)) == (0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(("degree", "length"), [(2, 4), (5, 3)])
def test_the_shortcut_wins_one_in_degree_and_guidance_by_its_own_value_nearly_always(degree, length):
    """All of the value is in the first step: before it 1 / degree, after it 0 or 1. Guidance needs no more."""
    environment = StarGraph(degree, length).build(0)
    for index in range(5):
        game = environment.game(environment.candidate(index))
        alone = game.solve(lambda prefix, game=game: np.array(game.shortcut(prefix)), look=lambda prefix: prefix)
        assert alone.value(()) == pytest.approx(1 / degree)

        def guided(prefix, game=game, alone=alone):
            after = [alone.value((*prefix, token)) if p else 0.0 for token, p in enumerate(game.shortcut(prefix))]
            law = torch.tensor(game.shortcut(prefix), dtype=torch.float64).log()
            return (
                guided_logprobs(law, coin_tilt(torch.tensor(after, dtype=torch.float64), 0.0, 1.0, 0.1)).exp().numpy()
            )

        wanted = 1 / (1 + (degree - 1) * math.exp(-10))
        assert game.true_value(guided) == pytest.approx(wanted, abs=1e-9)


def test_tasks_are_stars_whose_edges_are_told_in_any_order():
    environment = parse_environment("star_graph").build(3)
    prompts = set()
    for index in range(20):
        task = environment.candidate(index)
        game = environment.game(task)
        edges, goal = task.prompt.rpartition(" from ")[0], task.prompt.split()[-1][0]
        assert sorted(edges.split()) == sorted(
            {a + b for arm in game.arms for a, b in zip(game.center + arm, arm, strict=False)}
        )
        assert game.answer.endswith(goal) and environment.score(task, game.answer) == 1.0
        assert sum(environment.score(task, arm) for arm in game.arms) == 1.0
        prompts.add(task.prompt)
    assert len(prompts) == 20


def test_a_star_with_too_many_nodes_is_refused():
    with pytest.raises(EnvironmentProblem, match="at most 26"):
        StarGraph(5, 6)
