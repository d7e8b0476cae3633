"""Hand-written backwards against autograd's own, in fp64."""

import torch

from critica.policies.operators import collect, rms_norm, rotate, spread, swiglu


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=made, dtype=torch.float64).requires_grad_()


def test_rms_norm_with_one_weight_and_with_one_per_head() -> None:
    x, weight, heads = random(5, 6), random(6, seed=1), random(3, 6, seed=2)
    assert torch.autograd.gradcheck(lambda a, b: rms_norm(a, b, 1e-3), (x, weight))
    assert torch.autograd.gradcheck(lambda a, b: rms_norm(a, b, 1e-3), (random(4, 3, 6), heads))
    assert torch.allclose(rms_norm(x, weight, 1e-3), torch.nn.functional.rms_norm(x, (6,), weight, 1e-3), atol=1e-14)


def test_rms_norm_of_zeros_is_zero_and_of_its_own_multiple_is_the_same() -> None:
    x, weight = random(5, 6), torch.ones(6, dtype=torch.float64)
    assert torch.equal(rms_norm(x * 0, weight, 1e-6), x * 0)
    assert torch.allclose(rms_norm(x * 7, weight, 0.0), rms_norm(x, weight, 0.0), atol=1e-14)


def test_swiglu() -> None:
    x = random(5, 8)
    assert torch.autograd.gradcheck(swiglu, (x,))
    gate, up = x.chunk(2, -1)
    assert torch.allclose(swiglu(x), gate * torch.sigmoid(gate) * up, atol=1e-14)


def test_a_rotation_keeps_lengths_and_turns_by_the_angle() -> None:
    x, angle = random(4, 3, 6), random(4, 1, 3, seed=1).detach()
    cos, sin = angle.cos(), angle.sin()
    assert torch.autograd.gradcheck(lambda a: rotate(a, cos, sin), (x,))
    turned = rotate(x, cos, sin)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))
    first, second = (torch.complex(part[..., :3], part[..., 3:]) for part in (x, turned))
    assert torch.allclose(second, first * torch.polar(torch.ones_like(angle), angle))


def test_spread_and_collect_undo_each_other() -> None:
    x, slots = random(4, 3), torch.tensor([5, 0, 2, 6])
    assert torch.autograd.gradcheck(lambda a: spread(a, slots, 8), (x,))
    assert torch.autograd.gradcheck(lambda a: collect(a, slots), (random(8, 3),))
    assert torch.equal(collect(spread(x, slots, 8), slots), x)
    assert spread(x, slots, 8)[[1, 3, 4, 7]].abs().sum() == 0
