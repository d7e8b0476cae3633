"""Power sampling: reversible by enumeration, its law against p^alpha, and what is refused."""

import itertools
import math

import pytest
import torch

from critica.functional.power import cut_at, cut_law, log_acceptance
from critica.functional.random import uniforms
from critica.policies.base import Sample, SampleLimits, SampleRequest
from critica.policies.power_sampling import PowerSampler, PowerSampling, Recorder
from critica.records.words import StopReason

LIMIT = 3
LOGITS = torch.tensor([[-0.8, 0.6, 0.2], [0.6, -0.9, -0.6], [-0.9, 1.4, 0.4]])  # of the token after 0 (the start), 1, 2
ENTROPIES = torch.distributions.Categorical(logits=LOGITS).entropy().double()


def law_at(temperature):
    return (LOGITS.double() / temperature).log_softmax(-1)


def answers(limit=LIMIT):
    """Every answer: it ends with token 0, or at the limit."""
    found = []
    for length in range(1, limit + 1):
        for middle in itertools.product((1, 2), repeat=length - 1):
            found += [(*middle, last) for last in ((0,) if length < limit else (0, 1, 2))]
    return found


def before(answer):
    return (0, *answer[:-1])


def logprob(answer, table):
    return sum(float(table[a, b]) for a, b in zip(before(answer), answer, strict=True))


def cuts(answer, even):
    return cut_law([float(ENTROPIES[token]) for token in before(answer)], even)


def power_law(power, temperature=1.0):
    logs = torch.tensor([power * logprob(x, law_at(temperature)) for x in answers()], dtype=torch.float64)
    return logs.softmax(-1)


def kernel(power, even):
    """The whole transition matrix of one move."""
    space, base, proposal = answers(), law_at(1.0), law_at(1.0 / power)
    place = {answer: n for n, answer in enumerate(space)}
    matrix = torch.zeros(len(space), len(space), dtype=torch.float64)
    for old in space:
        for cut in range(len(old)):
            chance = cuts(old, even)[cut]
            for new in (x for x in space if len(x) > cut and x[:cut] == old[:cut]):
                steps = list(zip(before(new), new, strict=True))[cut:]
                written = math.exp(sum(float(proposal[a, b]) for a, b in steps))
                sides = []
                for one in (old, new):
                    pairs = list(zip(before(one), one, strict=True))[cut:]
                    sides.append((
                        sum(float(base[a, b]) for a, b in pairs), sum(float(proposal[a, b]) for a, b in pairs),
                        math.log(cuts(one, even)[cut]),
                    ))  # fmt: skip
                kept = math.exp(min(0.0, log_acceptance(power, sides[0], sides[1])))
                matrix[place[old], place[new]] += chance * written * kept
                matrix[place[old], place[old]] += chance * written * (1 - kept)
    return matrix


@pytest.mark.parametrize(("power", "even"), [(1.0, 1.0), (4.0, 1.0), (4.0, 0.2), (2.5, 0.7)])
def test_every_move_is_reversible_and_leaves_the_power_law_as_it_is(power, even):
    matrix, law = kernel(power, even), power_law(power)
    torch.testing.assert_close(matrix.sum(-1), torch.ones(len(law), dtype=torch.float64), rtol=0, atol=1e-12)
    flow = law[:, None] * matrix
    torch.testing.assert_close(flow, flow.T, rtol=0, atol=1e-12)
    many = torch.linalg.matrix_power(matrix, 400)
    torch.testing.assert_close(many, law.expand_as(many), rtol=0, atol=1e-9)  # from wherever it starts


def test_the_cuts_belong_in_the_ratio_when_answers_differ_in_length():
    """Without the chances of the cuts the same moves settle elsewhere."""
    assert log_acceptance(2.0, (-3.0, -1.0, math.log(0.5)), (-2.0, -1.5, math.log(0.25))) == pytest.approx(
        2.0 * 1.0 + 0.5 + math.log(0.5)
    )


def test_cuts_fall_where_the_policy_was_undecided():
    assert cut_law([0.5, 0.0, 1.5], 0.4) == pytest.approx([0.4 / 3 + 0.15, 0.4 / 3, 0.4 / 3 + 0.45])
    assert cut_law([0.0, 0.0], 0.1) == [0.5, 0.5] == cut_law([0.5, 1.5], 1.0)
    assert [cut_at([0.25, 0.5, 0.25], point) for point in (0.0, 0.24, 0.25, 0.74, 0.75, 1.0)] == [0, 0, 1, 1, 2, 2]


class Table:
    """The policy of the table above, row by row with the decoder's own random numbers; tells a watch what it draws."""

    version = 0

    def encode(self, messages):
        return (0,)

    def decode_text(self, token_ids):
        return str(token_ids)

    def sample(self, requests, limits, seed, control=None, ended=None):
        rows = [(r.prompt_ids[-1], s) for r in requests for s in r.streams]
        dice = [uniforms(seed, "decode", *stream, count=limits.max_new_tokens) for _, stream in rows]
        law = law_at(limits.temperature).exp()
        last = torch.tensor([token for token, _ in rows])
        writing, made = torch.ones(len(rows), dtype=torch.bool), [([], []) for _ in rows]
        stops = [StopReason.TOKEN_LIMIT] * len(rows)
        for t in range(limits.max_new_tokens):
            point = torch.tensor([float(die[t]) for die in dice], dtype=torch.float64)
            token = (law[last].cumsum(-1) < point[:, None]).sum(-1).clamp(max=2)
            for row in writing.nonzero().flatten().tolist():
                made[row][0].append(int(token[row]))
                made[row][1].append(float(law[last[row], token[row]].log()))
            numbers = torch.arange(len(rows))
            stop = control.on_drawn(torch.zeros(len(rows), 1), LOGITS[last], token, numbers, writing)
            done = writing & (token == 0)
            halted = writing & ~done & (torch.zeros_like(done) if stop is None else stop)
            for row in done.nonzero().flatten().tolist():
                stops[row] = StopReason.END_OF_TEXT
            for row in halted.nonzero().flatten().tolist():
                stops[row] = StopReason.EARLY_STOPPED
            writing, last = writing & ~done & ~halted, token
        flat = iter(Sample(tuple(ids), tuple(logs), stop) for (ids, logs), stop in zip(made, stops, strict=True))
        return [[next(flat) for _ in r.streams] for r in requests]


def distance(part, count=1000, temperature=1.0, limit=LIMIT):
    """Total variation between what the chains hand out and p^alpha."""
    sampler = PowerSampler(Table(), part)
    asked = [SampleRequest((0,), tuple((n,) for n in range(count)))]
    (rows,) = sampler.sample(asked, SampleLimits(limit, temperature), 11)
    space, base = answers(), law_at(temperature)
    counts = torch.zeros(len(space), dtype=torch.float64)
    for row in rows:
        counts[space.index(row.token_ids)] += 1
    assert all(sum(row.logprobs) == pytest.approx(logprob(row.token_ids, base), abs=1e-5) for row in rows[:50])
    assert all((row.stop is StopReason.END_OF_TEXT) == (row.token_ids[-1] == 0) for row in rows)
    return float((counts / count - power_law(part.power, temperature)).abs().sum()) / 2, sampler.tally


def test_the_chains_law_tends_to_the_power_law():
    """As far as the transition matrix says; 1,000 draws of the law itself are about .02 away from it."""
    start = torch.tensor([math.exp(logprob(x, law_at(1 / 3))) for x in answers()], dtype=torch.float64)
    apart = []
    for moves in (0, 2, 8):
        wanted = float((start @ torch.linalg.matrix_power(kernel(3.0, 1.0), moves) - power_law(3.0)).abs().sum()) / 2
        seen, tally = distance(PowerSampling(power=3.0, moves=moves, blocks=1))
        assert seen == pytest.approx(wanted, abs=0.045)
        assert tally.moves == 1000 * moves and (not moves or 0 < tally.kept < tally.moves)
        apart.append(seen)
    assert apart[0] > 0.11 and apart[-1] < 0.05  # temperature 1/3 is another law


def test_growing_in_stretches_and_cutting_at_decisions_end_in_the_same_law():
    assert distance(PowerSampling(power=3.0, moves=4, blocks=3, even=0.3))[0] < 0.055


def test_at_power_1_it_is_the_policy():
    assert distance(PowerSampling(power=1.0, moves=2, blocks=2, even=0.5), temperature=1.5)[0] < 0.07


def test_wrong_use_is_refused():
    sampler = PowerSampler(Table(), PowerSampling())
    with pytest.raises(ValueError, match="nothing to sharpen"):
        sampler.sample([SampleRequest((0,), ((0,),))], SampleLimits(3, 0.0), 0)
    with pytest.raises(ValueError, match="no decode control"):
        sampler.sample([SampleRequest((0,), ((0,),))], SampleLimits(3), 0, Recorder([1], 1.0))
    for wrong in ({"power": 0.5}, {"moves": -1}, {"blocks": 0}, {"even": 0.0}):
        with pytest.raises(ValueError):
            PowerSampling(**wrong)
