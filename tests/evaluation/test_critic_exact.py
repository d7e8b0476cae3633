"""The exact value of a prefix under a policy that may write anything: against every sequence, and against sampling."""

from itertools import product

import numpy as np
import pytest
import torch

from critica.environments.digit_sum import DigitSumGame
from critica.evaluation.critic_exact import Spelling, exact_laws, next_laws, padded, vocabulary_texts
from fakes import BigramPolicy

LETTERS = ("0", "1", " ", "", "x", "10")  # token 3 is end-of-text, token 5 spells two digits
END = 3
LIMIT = 4
GAME = DigitSumGame(offset=0, length=2, target=1, base=2)


class Speller(BigramPolicy):
    """Six tokens; the next depends on the last."""

    def decode_text(self, token_ids):
        return "".join(LETTERS[token] for token in token_ids)


@pytest.fixture
def policy() -> Speller:
    made = Speller(vocabulary=len(LETTERS), seed=3)
    with torch.no_grad():
        made.model["head"].weight.mul_(2)
    return made


def brute(policy, prefix, written, temperature=1.0) -> dict[float, float]:
    """P(return) over every sequence of tokens, by the definition."""
    step = (policy.model["head"](policy.model["embed"].weight) / temperature).softmax(-1).detach()
    found: dict[float, float] = {}
    own = prefix[len(prefix) - written :]
    room = LIMIT - written
    sequences = {
        row[: row.index(END) + 1] if END in row else row for row in product(range(len(LETTERS)), repeat=room)
    }
    for row in sequences:
        chain = (prefix[-1], *row)
        prob = float(np.prod([float(step[a, b]) for a, b in zip(chain, row, strict=False)]))
        text = policy.decode_text([*own, *(token for token in row if token != END)])
        outcome = GAME.score(text)
        found[outcome] = found.get(outcome, 0.0) + prob
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize(("prefix", "written"), [((4,), 0), ((4, 0), 1), ((4, 2, 1), 2), ((4, 5), 1), ((4, 0, 4), 2)])
def test_it_is_the_sum_over_every_sequence(prefix, written, temperature, policy):
    spelling = Spelling(policy, GAME, vocabulary_texts(policy), (END,))
    (law,) = exact_laws(policy, spelling, [(prefix, written)], LIMIT, temperature, least=0.0)
    wanted = brute(policy, prefix, written, temperature)
    assert law.slack == 0.0 and sum(law.probs) == pytest.approx(1.0)
    assert law.mean == pytest.approx(wanted.get(1.0, 0.0), abs=1e-9)
    if prefix != (4, 0, 4):
        assert law.mean > 0
    else:
        assert law.mean == 0  # what was written can spell no finished game


def test_what_is_not_followed_is_counted(policy):
    spelling = Spelling(policy, GAME, vocabulary_texts(policy), (END,))
    (rough,) = exact_laws(policy, spelling, [((4,), 0)], LIMIT, least=0.05)
    (whole,) = exact_laws(policy, spelling, [((4,), 0)], LIMIT, least=0.0)
    assert rough.slack > 0 and rough.mean <= whole.mean <= rough.mean + rough.slack
    assert sum(rough.probs) == pytest.approx(1.0)


def test_prefixes_together_or_alone_and_padding(policy):
    spelling = Spelling(policy, GAME, vocabulary_texts(policy), (END,))
    prefixes = [((4,), 0), ((4, 2, 1), 2)]
    both = exact_laws(policy, spelling, prefixes, LIMIT)
    alone = [exact_laws(policy, spelling, [prefix], LIMIT)[0] for prefix in prefixes]
    assert [law.mean for law in both] == pytest.approx([law.mean for law in alone])
    outcomes, probs = padded(both)
    assert (outcomes * probs).sum(1) == pytest.approx([law.mean for law in both])
    assert probs.sum(1) == pytest.approx([1.0, 1.0])
    laws = next_laws(policy, [(4, 0), (1,)], 1.0)
    step = policy.model["head"](policy.model["embed"].weight).softmax(-1).detach().numpy()
    assert laws[0] == pytest.approx(step[0]) and laws[1] == pytest.approx(step[1])
