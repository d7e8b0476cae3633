"""A policy that can play: pico, shown how token games and worked arithmetic are written by a player who often slips."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import torch

from critica.environments.arithmetic import ArithmeticEnvironment
from critica.environments.base import Environment, EnvironmentConfig
from critica.environments.exact import GameEnvironment, Prefix, Solution, TokenGame
from critica.policies.language_model import LanguagePolicy
from critica.policies.numerics import training_matmuls
from critica.training.warm_start import PicoRecipe, Row, build_optimizers, microbatches, summed_loss

FLOOR = 0.1  # the share of the best token's weight that every token gets
TEXTS_OF_A_TASK = 6
POOL = 500  # tasks of each environment; taken from the warm-start split, which nothing else here reads


@dataclass(frozen=True, slots=True)
class Lessons:
    """How long and how fast the player is taught."""

    updates: int = 450
    rows: int = 60
    learning_rate: float = 3e-3
    seed: int = 0


def uniform(game: TokenGame) -> list[float]:
    """The law of a player who knows nothing."""
    return [1 / len(game.vocabulary)] * len(game.vocabulary)


def played(game: TokenGame, solved: Solution, dice: Random) -> str:
    """One sequence: each token drawn in proportion to the uniform player's value after it, plus a tenth of the best."""
    prefix: Prefix = ()
    while not game.is_end(prefix):
        values = [solved.value((*prefix, token)) for token in range(len(game.vocabulary))]
        best = max(values)
        weights = [value + FLOOR * best for value in values] if best > 0 else uniform(game)
        prefix = (*prefix, dice.choices(range(len(values)), weights)[0])
    return "".join(game.vocabulary[token] for token in prefix)


def demonstrations(environment: Environment, seed: int) -> Iterator[tuple[str, str]]:
    """Prompts of the warm-start split and what a player wrote."""
    for task in islice(environment.tasks("warm_start"), POOL):
        if isinstance(environment, ArithmeticEnvironment):
            yield task.prompt, environment.demonstration(task)
        elif isinstance(environment, GameEnvironment):
            game = environment.game(task)
            law = np.array(uniform(game))
            solved = game.solve(lambda prefix, law=law: law, look=lambda prefix: 0)  # it looks at nothing
            for number in range(TEXTS_OF_A_TASK):
                yield task.prompt, played(game, solved, Random(f"{seed}/{task.task_id}/{number}"))


def rows_of(policy: LanguagePolicy, environment: Environment, seed: int) -> list[Row]:
    """Demonstrations as tokens, the end of the text included, in an order of their own."""
    rows = []
    for prompt, text in demonstrations(environment, seed):
        asked = tuple(policy.tokenizer(prompt)["input_ids"])
        answer = tuple(policy.tokenizer(text, add_special_tokens=False)["input_ids"])
        rows.append(Row((*asked, *answer, policy.end_ids[0]), len(asked)))
    Random(f"{seed}/{environment.name}").shuffle(rows)
    return rows


def teach(policy: LanguagePolicy, taught: Mapping[str, EnvironmentConfig], lessons: Lessons) -> float:
    """Imitate; returns the loss of the last fifty updates in nats per token."""
    pools = [rows_of(policy, config.build(lessons.seed), lessons.seed) for config in taught.values()]
    share = -(-lessons.rows // len(pools))
    optimizers = build_optimizers(policy.model, PicoRecipe(learning_rate=lessons.learning_rate))  # type: ignore[arg-type]
    fading = [torch.optim.lr_scheduler.LinearLR(one, 1.0, 0.02, lessons.updates) for one in optimizers]
    losses = []
    for update in range(lessons.updates):
        rows = [pool[(update * share + i) % len(pool)] for pool in pools for i in range(share)]
        labeled = sum(len(row.tokens) - row.prompt_tokens for row in rows)
        total = 0.0
        for ids, labels in microbatches(rows, 2):
            loss = summed_loss(policy.model, ids, labels) / labeled  # type: ignore[arg-type]
            loss.backward()
            total += loss.item()
        for one in (*optimizers, *fading):
            one.step()
        for one in optimizers:
            one.zero_grad(set_to_none=True)
        losses.append(total)
    return sum(losses[-50:]) / len(losses[-50:])


def player(folder: Path, taught: Mapping[str, EnvironmentConfig], lessons: Lessons) -> LanguagePolicy:
    """The player of this folder; made if it is not there, or if it was taught otherwise."""
    mark, told = folder / "lessons.json", json.dumps({"lessons": asdict(lessons), "taught": str(dict(taught))})
    if not (mark.is_file() and mark.read_text() == told):
        shutil.rmtree(folder, ignore_errors=True)
        policy = LanguagePolicy.load("pico", None, "cpu")
        torch.manual_seed(lessons.seed)
        with training_matmuls():
            teach(policy, taught, lessons)
        policy.save(folder)
        mark.write_text(told)
    return LanguagePolicy.load(str(folder), None, "cpu")
