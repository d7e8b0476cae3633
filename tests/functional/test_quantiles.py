"""Quantile losses against loops and known minimizers; DVPO's terms against the reductions and signs they promise."""

from statistics import NormalDist

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critica.functional import quantiles as module
from critica.functional.quantiles import (
    empirical_quantiles,
    head_consistency,
    mean_shift,
    midpoint_levels,
    monotone_quantiles,
    quantile_at,
    quantile_huber,
    risk_weights,
    tail_curvature,
    tail_mean_gap,
    tail_shape,
    wasserstein1,
)

F64 = torch.float64


def plain_huber(quantiles, levels, targets, weights, delta):
    """Spelled out with loops over states, quantiles and samples; differentiable."""
    rows = []
    for q, y, w in zip(quantiles, targets, weights, strict=True):
        row = []
        for k in range(len(levels)):
            total = 0.0
            for s in range(len(y)):
                u = y[s] - q[k]
                size = u.abs()
                if delta is not None:
                    size = 0.5 * u**2 if size <= delta else delta * (size - 0.5 * delta)
                total = total + w[s] * (levels[k] if u >= 0 else 1 - levels[k]) * size
            row.append(total)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("delta", [None, 0.4, 100.0])
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("chunk", [1, 1 << 16])
def test_loss_and_gradient_equal_the_loops(monkeypatch, delta, samples, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    torch.manual_seed(0)
    q = torch.randn(5, 3, dtype=F64, requires_grad=True)
    levels, y = midpoint_levels(3, F64), torch.randn(5, samples, dtype=F64)
    w = torch.rand(5, samples, dtype=F64)
    mix = torch.randn(5, 3, dtype=F64)
    results = []
    for function in (quantile_huber, plain_huber):
        loss = function(q, levels, y, w, delta)
        results.append((loss.detach(), torch.autograd.grad((loss * mix).sum(), q)[0]))
    torch.testing.assert_close(results[0], results[1], atol=1e-13, rtol=0)


def test_heads_share_targets_by_broadcasting():
    q, levels = torch.randn(4, 2, 3, dtype=F64, requires_grad=True), midpoint_levels(3, F64)
    for samples in (1, 5):
        y, w = torch.randn(4, 1, samples, dtype=F64), torch.rand(4, 1, samples, dtype=F64)
        both = quantile_huber(q, levels, y, w, 0.3)
        for m in range(2):
            torch.testing.assert_close(both[:, m], quantile_huber(q[:, m], levels, y[:, 0], w[:, 0], 0.3))


def minimizers(levels, samples, weights, delta, low=-3.0, high=3.0, points=6001):
    """For each level, the grid point of least loss: the grid plays the states."""
    grid = torch.linspace(low, high, points, dtype=F64)
    loss = quantile_huber(
        grid[:, None].expand(-1, len(levels)), levels, samples.expand(points, -1), weights.expand(points, -1), delta
    )
    return grid[loss.argmin(0)]


def test_pinball_reads_a_bernoulli_law_as_its_step_function():
    levels = midpoint_levels(10, F64)
    samples, weights = torch.tensor([0.0, 1.0], dtype=F64), torch.tensor([0.7, 0.3], dtype=F64)
    best = minimizers(levels, samples, weights, None)
    torch.testing.assert_close(best, (levels > 0.7).to(F64), atol=1e-9, rtol=0)
    assert best.mean().item() == pytest.approx(0.3)


def test_pinball_reads_two_points_and_a_gaussian():
    levels = midpoint_levels(9, F64)
    samples, weights = torch.tensor([-1.5, 2.0], dtype=F64), torch.tensor([0.45, 0.55], dtype=F64)
    expected = torch.where(levels < 0.45, -1.5, 2.0)
    torch.testing.assert_close(minimizers(levels, samples, weights, None), expected.to(F64), atol=1e-3, rtol=0)
    count = 4000
    normal = torch.tensor([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)], dtype=F64)
    best = minimizers(levels, normal, torch.full_like(normal, 1 / count), None, points=601)
    exact = torch.tensor([NormalDist().inv_cdf(level) for level in levels.tolist()], dtype=F64)
    torch.testing.assert_close(best, exact, atol=0.011, rtol=0)


def test_a_wide_huber_reads_expectiles_whose_mean_is_not_the_mean():
    """With outcomes in {0, 1} and delta 1 the minimizer at level a is the expectile a p / (a p + (1 - a)(1 - p))."""
    levels, p = midpoint_levels(50, F64), 0.3
    samples, weights = torch.tensor([0.0, 1.0], dtype=F64), torch.tensor([1 - p, p], dtype=F64)
    expectiles = levels * p / (levels * p + (1 - levels) * (1 - p))
    torch.testing.assert_close(minimizers(levels, samples, weights, 1.0), expectiles, atol=1e-3, rtol=0)
    assert expectiles.mean().item() == pytest.approx(0.36, abs=0.005)
    assert minimizers(levels, samples, weights, 0.02).mean().item() == pytest.approx(p, abs=0.01)


def test_one_median_with_a_wide_huber_descends_the_squared_error():
    q = torch.randn(6, 1, dtype=F64, requires_grad=True)
    y = torch.randn(6, 1, dtype=F64)
    quantile_huber(q, torch.tensor([0.5], dtype=F64), y, torch.ones(6, 1, dtype=F64), 1e6).sum().backward()
    torch.testing.assert_close(q.grad, 0.5 * (q - y).detach())  # half of the gradient of (q - y)^2 / 2


def test_an_exact_prediction_is_left_alone():
    q = torch.zeros(1, 4, requires_grad=True)
    quantile_huber(q, midpoint_levels(4), torch.zeros(1, 1), torch.ones(1, 1), None).sum().backward()
    assert not q.grad.any()
    with pytest.raises(ValueError, match="pinball"):
        quantile_huber(q, midpoint_levels(4), torch.zeros(1, 1), torch.ones(1, 1), 0.0)


@given(st.integers(0, 10**6), st.floats(0.01, 5.0))
@settings(max_examples=30)
def test_monotone_quantiles_are_in_order_around_their_mean(seed, scale):
    source = torch.Generator().manual_seed(seed)
    mean = torch.randn(3, 2, generator=source, dtype=F64)
    raw = 5 * torch.randn(3, 2, 6, generator=source, dtype=F64)
    q = monotone_quantiles(mean, raw, scale)
    assert q.shape == (3, 2, 7)
    assert (q.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(q.mean(-1), mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(q.diff(dim=-1), scale * torch.nn.functional.softplus(raw), atol=1e-10, rtol=0)


def test_shape_parameters_cannot_move_the_mean():
    mean = torch.randn(2, dtype=F64, requires_grad=True)
    raw = torch.randn(2, 4, dtype=F64, requires_grad=True)
    for_mean, for_raw = torch.autograd.grad(monotone_quantiles(mean, raw, 0.5).mean(-1).sum(), (mean, raw))
    torch.testing.assert_close(for_mean, torch.ones(2, dtype=F64))
    torch.testing.assert_close(for_raw, torch.zeros(2, 4, dtype=F64), atol=1e-15, rtol=0)


def test_reading_a_quantile_function():
    levels, values = midpoint_levels(2, F64), torch.tensor([[0.0, 1.0], [2.0, 6.0]], dtype=F64)
    read = quantile_at(levels, values, torch.tensor([0.0, 0.25, 0.5, 0.7, 1.0], dtype=F64))
    expected = torch.tensor([[0, 0, 0.5, 0.9, 1], [2, 2, 4, 5.6, 6]], dtype=F64)
    torch.testing.assert_close(read, expected)
    one = quantile_at(midpoint_levels(1), torch.tensor([[3.0]]), torch.tensor([0.1, 0.9]))
    assert one.tolist() == [[3.0, 3.0]]


def test_empirical_quantiles_by_hand():
    samples, weights = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[0.5, 0.2, 0.3]])
    levels = torch.tensor([0.1, 0.2, 0.3, 0.5, 0.51, 1.0])
    assert empirical_quantiles(samples, weights, levels).tolist() == [[1, 1, 2, 2, 3, 3]]
    ten = torch.arange(10.0)[None]
    deciles = empirical_quantiles(ten, torch.full((1, 10), 0.1), (torch.arange(10) + 1) / 10)
    assert deciles.tolist() == ten.tolist()
    torch.testing.assert_close(empirical_quantiles(ten, torch.full((1, 10), 0.1), midpoint_levels(10)), ten)
    for count in range(2, 40):  # in binary, five times 1/6 is less than 5/6: a level met up to rounding is met
        ordered, levels = torch.arange(float(count), dtype=F64)[None], (torch.arange(count, dtype=F64) + 1) / count
        assert torch.equal(empirical_quantiles(ordered, torch.full_like(ordered, 1 / count), levels), ordered)


def test_wasserstein_by_hand_and_by_definition():
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    assert wasserstein1(zero, one).tolist() == [1.0]
    law = torch.tensor([[0.0, 1.0]])
    told, true = torch.tensor([[0.6, 0.4]]), torch.tensor([[0.7, 0.3]])
    assert wasserstein1(law, law, told, true).item() == pytest.approx(0.1)
    assert wasserstein1(law, torch.tensor([[0.5]]), true).item() == pytest.approx(0.5)
    first, second = torch.randn(2, 4, 9, dtype=F64)
    in_order = (first.sort(-1).values - second.sort(-1).values).abs().mean(-1)
    torch.testing.assert_close(wasserstein1(first, second), in_order)
    torch.testing.assert_close(wasserstein1(second, first), in_order)
    torch.testing.assert_close(wasserstein1(first, first + 0.3), torch.full((4,), 0.3, dtype=F64))
    twice = torch.cat((second, second), -1)
    torch.testing.assert_close(wasserstein1(first, twice), in_order)


# DVPO's terms.

Y = torch.linspace(-1, 1, 20, dtype=F64)[None] ** 3  # in order, concave below its middle and convex above
WIDER_LOW = torch.cat((Y[:, :2] + torch.tensor([[-0.5, 0.5]], dtype=F64), Y[:, 2:]), -1)
WIDER_HIGH = torch.cat((Y[:, :-2], Y[:, -2:] + torch.tensor([[-0.5, 0.5]], dtype=F64)), -1)


def test_every_term_is_zero_at_the_target():
    assert not tail_mean_gap(Y, Y, 0.1, "lower").any()
    assert not tail_mean_gap(Y, Y, 0.1, "upper").any()
    assert not mean_shift(Y, Y).any()
    assert not tail_shape(Y, Y, 0.1, 0.1).any()
    assert not tail_curvature(Y, 0.3, 0.3).any()


def test_tail_terms_have_the_signs_they_promise():
    assert tail_shape(WIDER_LOW, Y, 0.1, 0.1).item() > 0.2  # a wider lower tail is contracted
    assert tail_shape(WIDER_HIGH, Y, 0.1, 0.1).item() == 0  # a wider upper tail is welcome
    assert tail_shape(Y, WIDER_LOW, 0.1, 0.1).item() == 0
    assert tail_shape(Y, WIDER_HIGH, 0.1, 0.1).item() > 0.2
    assert mean_shift(Y - 0.3, Y).item() == pytest.approx(0.3)
    assert mean_shift(Y + 0.3, Y).item() == 0
    assert tail_curvature(-Y.flip(-1), 0.3, 0.3).item() == 0  # the cube is odd
    hill = -((torch.arange(20, dtype=F64)[None] / 10 - 1) ** 2)
    assert tail_curvature(hill, 0.3, 0.3).item() == pytest.approx(0.02)  # a concave upper tail pays -c = 2 / 100
    assert tail_curvature(-hill, 0.3, 0.3).item() == pytest.approx(0.02)  # a convex lower tail pays


def test_tail_mean_gap_looks_at_its_tail_only():
    for side, inside in (("lower", slice(0, 2)), ("upper", slice(-2, None))):
        moved = Y.clone()
        moved[:, inside] += 0.4
        assert tail_mean_gap(moved, Y, 0.1, side).item() == pytest.approx(0.16)
        elsewhere = Y + 0.4
        elsewhere[:, inside] -= 0.4
        assert tail_mean_gap(elsewhere, Y, 0.1, side).item() == pytest.approx(0)


def test_gradients_move_the_tails_the_promised_way():
    q = WIDER_LOW.clone().requires_grad_()
    tail_shape(q, Y, 0.1, 0.1).sum().backward()
    assert q.grad[0, 0] < 0 < q.grad[0, 1]  # descending raises the lowest and lowers the next: contraction
    assert not q.grad[0, 2:].any()
    q = Y.clone().requires_grad_()
    tail_shape(q, WIDER_HIGH, 0.1, 0.1).sum().backward()
    assert q.grad[0, -2] > 0 > q.grad[0, -1]  # descending spreads the upper two
    q = (Y - 0.1).requires_grad_()
    tail_mean_gap(q, Y, 0.1, "lower").sum().backward()
    assert (q.grad[0, :2] < 0).all() and not q.grad[0, 2:].any()


def test_short_tails_have_no_shape_and_no_nan():
    q = torch.tensor([[0.0, 1.0, 5.0]], requires_grad=True)
    total = tail_shape(q, torch.zeros(1, 3), 0.1, 0.1) + tail_curvature(q, 0.5, 0.5)
    total.sum().backward()
    assert total.item() == 0 and not q.grad.any()
    assert tail_mean_gap(q.detach(), torch.zeros(1, 3), 0.1, "upper").item() == 25
    with pytest.raises(ValueError, match="fraction"):
        tail_mean_gap(q, q, 0.7, "lower")
    many = torch.arange(100.0)[None]
    for fraction, count in ((0.1, 10), (0.29, 29), (0.295, 29)):  # 0.29 x 100 is 28.999… in binary
        assert tail_mean_gap(many, 0 * many, fraction, "lower").item() == pytest.approx(((count - 1) / 2) ** 2)


def test_risk_weights_point_where_they_say():
    levels = midpoint_levels(8, F64)
    lower, upper = (risk_weights(levels, 1.0, side) for side in ("lower", "upper"))
    assert lower.mean().item() == pytest.approx(1) and upper.mean().item() == pytest.approx(1)
    assert (lower.diff() < 0).all() and (upper.diff() > 0).all()
    torch.testing.assert_close(lower, upper.flip(0))
    torch.testing.assert_close(risk_weights(levels, 0.0, "lower"), torch.ones(8, dtype=F64))
    assert (lower[0] / lower[-1]).log().item() == pytest.approx(7 / 8)


def test_head_consistency_is_the_mean_over_pairs():
    heads = torch.randn(2, 4, 5, dtype=F64)
    pairs = [(heads[:, n] - heads[:, m]).square().mean(-1) for n in range(4) for m in range(n)]
    torch.testing.assert_close(head_consistency(heads), torch.stack(pairs).mean(0))
    torch.testing.assert_close(head_consistency(heads[:, [2, 0, 3, 1]]), head_consistency(heads))
    assert not head_consistency(heads[:, :1].expand(-1, 3, -1)).any()
    assert not head_consistency(heads[:, :1]).any()


def test_scalar_targets_corrupt_the_tails():
    """Why tail terms need laws (value-critics note, 1.6.3): a point target pulls both Bernoulli tails to the mean."""
    levels, p = midpoint_levels(10, F64), 0.3
    samples, weights = torch.tensor([[0.0], [1.0]], dtype=F64), torch.tensor([1 - p, p], dtype=F64)

    def fit(tail_weight):
        q = torch.full((10,), 0.5, dtype=F64, requires_grad=True)
        total = torch.zeros(10, dtype=F64)
        for step in range(500):
            each = quantile_huber(q.expand(2, -1), levels, samples, torch.ones(2, 1, dtype=F64), None).mean(-1)
            for side in ("lower", "upper"):
                each = each + tail_weight * tail_mean_gap(q.expand(2, -1), samples.expand(-1, 10), 0.2, side)
            (gradient,) = torch.autograd.grad((weights * each).sum(), q)
            with torch.no_grad():
                q -= 0.5 * gradient
                total += q.detach() if step >= 300 else 0
        return total / 200

    torch.testing.assert_close(fit(0.0), (levels > 0.7).to(F64), atol=0.03, rtol=0)
    spoiled = fit(1.0)
    assert spoiled[:2].mean() > 0.2 and spoiled[-2:].mean() < 0.5
