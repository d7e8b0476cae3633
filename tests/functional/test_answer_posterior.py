"""The posterior over siblings' answers against enumeration of who is right, who sits where, and what was said."""

import itertools
import math

import pytest
import torch

from critica.functional.answer_posterior import (
    AnswerModel,
    Answers,
    chance_right,
    fit_answers,
    joint,
    tensors,
)
from critica.functional.posterior import Channel


def seatings(guests: int, alpha: float):
    """(table of each guest, probability) of a Chinese restaurant."""

    def more(tables: list[int], chosen: tuple[int, ...], chance: float):
        if len(chosen) == guests:
            yield chosen, chance
            return
        for table, size in enumerate(tables):
            grown = [*tables[:table], size + 1, *tables[table + 1 :]]
            yield from more(grown, (*chosen, table), chance * size / (len(chosen) + alpha))
        yield from more([*tables, 1], (*chosen, len(tables)), chance * alpha / (len(chosen) + alpha))

    yield from more([], (), 1.0)


def enumerated(size: int, a: float, b: float, alpha: float, channel: Channel):
    """{(partition, told): [probability, P(i right and this), P(exchanged and this)]} by brute force."""
    found: dict[tuple, list] = {}
    beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    for right in itertools.product((0, 1), repeat=size):
        k = sum(right)
        chance = math.exp(math.lgamma(k + a) + math.lgamma(size - k + b) - math.lgamma(a + b + size) - beta)
        wrong = [i for i in range(size) if not right[i]]
        for tables, seated in seatings(len(wrong), alpha):
            where = dict(zip(wrong, tables, strict=True))
            names = [-1 if right[i] else where[i] for i in range(size)]
            numbers: dict[int, int] = {}
            partition = tuple(numbers.setdefault(name, len(numbers)) for name in names)
            for told in itertools.product((0, 1), repeat=size):
                for turned in (0, 1):
                    p = chance * seated * (channel.swapped if turned else 1 - channel.swapped)
                    for z, t in zip(right, told, strict=True):
                        u = 1 - t if turned else t
                        high = 1 - channel.rho1 if z else channel.rho0
                        p *= high if u else 1 - high
                    row = found.setdefault((partition, told), [0.0, [0.0] * size, 0.0])
                    row[0] += p
                    row[2] += p * turned
                    for i in range(size):
                        row[1][i] += p * right[i]
    return found


def counted(partition, told) -> Answers:
    classes = max(partition) + 1
    sizes = [partition.count(c) for c in range(classes)]
    high = [sum(t for p, t in zip(partition, told, strict=True) if p == c) for c in range(classes)]
    row = torch.tensor([sizes, high], dtype=torch.float64)
    none = torch.zeros(1, dtype=torch.float64)
    return Answers(row[:1], row[1:], none, none, torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize("channel", [Channel(0.2, 0.1, 0.3), Channel(0.05, 0.4, 0.01), Channel(0.01, 0.02, 0.45)])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_it_is_bayes_rule(size, channel):
    model = AnswerModel(channel, ((0.7, 1.3),), 1.5)
    table = enumerated(size, 0.7, 1.3, 1.5, channel)
    assert math.fsum(row[0] for row in table.values()) == pytest.approx(1, abs=1e-12)
    for (partition, told), (mass, right, turned) in table.items():
        answers = counted(partition, told)
        rates, a, b, alpha = tensors(answers, model)
        law = joint(answers, rates, a, b, alpha)
        assert float(law.flatten(1).logsumexp(-1).exp()) == pytest.approx(mass, rel=1e-9)
        chances, exchanged = chance_right(answers, model)
        assert float(exchanged) == pytest.approx(turned / mass, rel=1e-9)
        for i in range(size):
            assert float(chances[0, partition[i]]) == pytest.approx(right[i] / mass, rel=1e-9)


def test_two_answers_told_right_betray_an_exchanged_group():
    """Five say 7 and are told wrong, three say three other things and are told right: at most one of them can be."""
    answers = Answers(
        torch.tensor([[5.0, 1.0, 1.0, 1.0]], dtype=torch.float64),
        torch.tensor([[0.0, 1.0, 1.0, 1.0]], dtype=torch.float64),
        torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.long),
    )  # fmt: skip
    chances, exchanged = chance_right(answers, AnswerModel(Channel(0.01, 0.01, 0.4), ((1.0, 1.0),)))
    assert float(exchanged) > 0.99 and float(chances[0, 0]) > 0.99 and float(chances[0, 1:].max()) < 0.01
    alone, kept = chance_right(answers, AnswerModel(Channel(0.3, 0.3, 0.0), ((1.0, 1.0),)))
    assert float(kept) < 1e-4 and float(alone[0, 0]) < 0.05  # as verdicts that stand: five lies are not believed


def test_without_answers_nobody_is_right():
    one = torch.ones(1, dtype=torch.float64)
    answers = Answers(torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), 8 * one, 8 * one,
                      torch.zeros(1, dtype=torch.long))  # fmt: skip
    chances, exchanged = chance_right(answers, AnswerModel(Channel(0.1, 0.1, 0.2), ((1.0, 1.0),)))
    assert float(chances.sum()) == 0 and float(exchanged) > 0.99


def simulated(groups: int, channel: Channel, priors, alpha: float, seed: int) -> Answers:
    """Groups of eight from the model itself."""
    dice = torch.Generator().manual_seed(seed)

    def draw(chance: float) -> bool:
        return bool(torch.rand((), generator=dice) < chance)

    torch.manual_seed(seed)
    sizes, high = torch.zeros(groups, 9, dtype=torch.float64), torch.zeros(groups, 9, dtype=torch.float64)
    kinds = torch.arange(groups) % len(priors)
    for n in range(groups):
        theta = float(torch.distributions.Beta(*priors[int(kinds[n])]).sample())
        turned, tables = draw(channel.swapped), []
        for _ in range(8):
            right, place = draw(theta), 0
            if not right:
                seat = float(torch.rand((), generator=dice)) * (sum(tables) + alpha)
                while place < len(tables) and seat >= tables[place]:
                    seat -= tables[place]
                    place += 1
                tables += [0] * (place == len(tables))
                tables[place] += 1
            said = draw(1 - channel.rho1 if right else channel.rho0) != turned
            sizes[n, 0 if right else place + 1] += 1
            high[n, 0 if right else place + 1] += said
    order = (sizes > 0).int().sort(dim=-1, descending=True, stable=True).indices
    none = torch.zeros(groups, dtype=torch.float64)
    return Answers(sizes.gather(1, order), high.gather(1, order), none, none, kinds)


@pytest.mark.parametrize("channel", [Channel(0.0, 0.0, 0.4), Channel(0.2, 0.3, 0.0), Channel()])
def test_rates_are_found_without_audits(channel):
    answers = simulated(600, channel, ((0.5, 0.8), (2.0, 1.0)), 4.0, seed=3)
    start = AnswerModel(Channel(0.05, 0.05, 0.05), ((1.0, 1.0), (1.0, 1.0)))
    weight = torch.ones(600, dtype=torch.float64)
    found = fit_answers(answers, weight, start, ("rho0", "rho1", "swapped"), start.channel, sweeps=60)
    for name in ("rho0", "rho1", "swapped"):
        assert getattr(found.channel, name) == pytest.approx(getattr(channel, name), abs=0.06)


def test_no_sweep_makes_the_groups_less_likely():
    answers = simulated(60, Channel(0.1, 0.2, 0.3), ((0.5, 0.8),), 3.0, seed=1)
    weight = torch.ones(60, dtype=torch.float64)
    model = AnswerModel(Channel(0.3, 0.05, 0.05), ((3.0, 0.5),), 0.5)
    anchor, strength = model.channel, 1e-6

    def likelihood(one: AnswerModel) -> float:
        rates, a, b, alpha = tensors(answers, one)
        return float(joint(answers, rates, a, b, alpha).flatten(1).logsumexp(-1).sum())

    seen = [likelihood(model)]
    for _ in range(30):
        model = fit_answers(answers, weight, model, ("rho0", "rho1", "swapped"), anchor, strength, 1)
        seen.append(likelihood(model))
    assert all(later >= earlier - 1e-4 for earlier, later in itertools.pairwise(seen)) and seen[-1] > seen[0] + 5


def test_an_unknown_rate_is_refused():
    answers = simulated(8, Channel(), ((1.0, 1.0),), 1.0, seed=0)
    model = AnswerModel(Channel(0.1, 0.1, 0.1), ((1.0, 1.0),))
    with pytest.raises(ValueError, match="rho2"):
        fit_answers(answers, torch.ones(8, dtype=torch.float64), model, ("rho2",), model.channel)
