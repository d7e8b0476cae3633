"""Every compiled kernel against torch's own operations in fp64, on small inputs with odd sizes."""

import torch
from torch import Tensor

from critica.policies.kernels import Kernels, RegretState, blocked

TOLERANCE = 1e-5
EPSILON = 1e-6
SHAPES = ((37, 6, 2, 32), (5, 6, 2, 6), (130, 4, 4, 64), (5, 3, 1, 128))  # rows, heads, key heads, head width


def worst_error(kernels: Kernels) -> float:
    """The largest difference of any kernel from fp64, relative to the largest entry of its result."""
    made = torch.Generator().manual_seed(0)
    errors = []
    with torch.inference_mode(False), torch.enable_grad():  # whoever asks first may be sampling
        for rows, heads, key_heads, size in SHAPES:
            errors += _norms(kernels, made, rows, size * heads)
            errors += _gates(kernels, made, rows, 3 * size)
            errors += _pinballs(kernels, made, (rows, heads, size + 1, key_heads))
            errors += _regrets(kernels, made, rows, heads * size + 1)
            for normed in (True, False):
                errors += _rotations(kernels, made, (rows, heads, key_heads, size), normed)
                errors += _attention(kernels, made, (rows, heads, key_heads, size), normed)
    return max(errors)


def _random(made: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=made)


def _apart(got: Tensor, wanted: Tensor) -> float:
    return float((got.double() - wanted.double()).abs().max() / wanted.double().abs().max().clamp(min=1e-30))


def _normed(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * weight


def _norms(kernels: Kernels, made: torch.Generator, rows: int, width: int) -> list[float]:
    x, weight, grad = _random(made, rows, width) * 3, _random(made, width), _random(made, rows, width)
    out, scale = torch.empty_like(x), x.new_empty(rows)
    kernels.rms_norm(x, weight, out, scale, EPSILON)
    wide, wide_weight = (t.double().requires_grad_() for t in (x, weight))
    wanted = _normed(wide, wide_weight)
    due = torch.autograd.grad(wanted, (wide, wide_weight), grad.double())
    plain = torch.empty_like(x)
    kernels.rms_norm(x, None, plain, None, EPSILON)
    got = kernels.rms_norm_backward(x, weight, scale, grad)
    pairs = [(out, wanted), (plain * weight, wanted), *zip(got, due, strict=True)]
    return [_apart(a, b.detach()) for a, b in pairs]


def _gates(kernels: Kernels, made: torch.Generator, rows: int, width: int) -> list[float]:
    x, grad = _random(made, rows, 2 * width) * 4, _random(made, rows, width)
    wide = x.double().requires_grad_()
    gate, up = wide.chunk(2, -1)
    wanted = torch.nn.functional.silu(gate) * up
    (due,) = torch.autograd.grad(wanted, wide, grad.double())
    out = kernels.swiglu(x, torch.empty_like(grad))
    return [_apart(out, wanted.detach()), _apart(kernels.swiglu_backward(x, grad), due)]


def _pinballs(kernels: Kernels, made: torch.Generator, shape: tuple[int, int, int, int]) -> list[float]:
    rows, heads, count, samples = shape
    x, y = _random(made, rows, heads, count), _random(made, rows, samples)
    levels, weights = torch.rand(count, generator=made), torch.rand(rows, samples, generator=made)
    errors = []
    for delta in (None, 0.25):
        wide = x.double().requires_grad_()
        u = y.double()[:, None, :, None] - wide[:, :, None]
        huber = u.abs() if delta is None else torch.nn.functional.huber_loss(u, u * 0, reduction="none", delta=delta)
        tilt = torch.where(u < 0, 1 - levels.double(), levels.double())
        wanted = (weights.double()[:, None, :, None] * tilt * huber).sum(2)
        (due,) = torch.autograd.grad(wanted.sum(), wide)
        got = kernels.quantile_huber(x, levels, y, weights, delta)
        errors += [_apart(got[0], wanted.detach()), _apart(got[1], due)]
    return errors


def _regrets(kernels: Kernels, made: torch.Generator, slots: int, vocabulary: int) -> list[float]:
    logits, tokens = _random(made, slots, vocabulary) * 3, torch.randint(vocabulary, (slots,), generator=made)
    rows, writing, values = torch.randperm(slots, generator=made), torch.arange(slots) % 3 > 0, _random(made, slots)
    state = RegretState(slots, (0.7, 2.0, 3.0, 1.5, 0.9, 0.1, 0.2, 0.1), logits.device)
    before = state.signal.copy_(_random(made, slots)).double()
    stops = kernels.regret_step((logits, tokens, rows, writing), values, state)
    wide = logits.double()
    regret = (wide.amax(-1) - wide.gather(-1, tokens[:, None]).squeeze(-1)) / 0.7
    wanted = torch.where(writing, 0.9 * before[rows] + 0.1 * ((regret - 2) / 3).clamp(-1.5, 1.5), before[rows])
    due = writing & (wanted > 0.2 * values.double().clamp(min=0.1))
    told = torch.stack([regret * 0 + 1, regret, regret.square()], -1) * writing[:, None]
    missed = 0.0 if torch.equal(due, torch.zeros_like(due) if stops is None else stops) else 1.0
    return [_apart(state.signal[rows], wanted), _apart(state.sums[rows], told), missed]


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _heads(joined: Tensor, weight: Tensor | None, angles: Tensor, heads: int, factor: float) -> tuple[Tensor, ...]:
    key_heads = (joined.shape[1] - heads) // 2
    both, value = joined[:, : heads + key_heads], joined[:, heads + key_heads :]
    if weight is not None:
        both = _normed(both, weight)
    both = _rotated(both, angles.cos().unsqueeze(1), angles.sin().unsqueeze(1))
    return both[:, :heads] * factor, both[:, heads:], value


def _rotations(kernels: Kernels, made: torch.Generator, shape: tuple[int, int, int, int], normed: bool) -> list[float]:
    rows, heads, key_heads, size = shape
    joined = _random(made, rows, heads + 2 * key_heads, size)
    weight = _random(made, heads + key_heads, size) if normed else None
    angles = _random(made, rows, size // 2) * 9
    turns = (angles.cos(), angles.sin())
    *got, scale = kernels.norm_rotate(joined, weight, turns, heads, key_heads, EPSILON, 0.3)
    grads = tuple(_random(made, *part.shape) for part in got)
    back, back_weight = kernels.norm_rotate_backward((joined, weight, scale), turns, grads, 0.3)  # type: ignore[arg-type]
    wide = joined.double().requires_grad_()
    wide_weight = None if weight is None else weight.double().requires_grad_()
    wanted = _heads(wide, wide_weight, angles.double(), heads, 0.3)
    inputs = (wide,) if wide_weight is None else (wide, wide_weight)
    due = torch.autograd.grad(wanted, inputs, [grad.double() for grad in grads])
    backs = (back,) if back_weight is None else (back, back_weight)
    return [_apart(a, b.detach()) for a, b in (*zip(got, wanted, strict=True), *zip(backs, due, strict=True))]


def _attention(kernels: Kernels, made: torch.Generator, shape: tuple[int, int, int, int], normed: bool) -> list[float]:
    rows, heads, key_heads, size = shape
    prompts, width, room, at = 3, 21, 19, 17
    weight = _random(made, heads + key_heads, size) if normed else None
    joined, angles = _random(made, rows, heads + 2 * key_heads, size), _random(made, rows, size // 2) * 9
    prompt_keys, prompt_values = (_random(made, prompts, key_heads, width, size) for _ in range(2))
    keys, values = (_random(made, rows, key_heads, room, size) for _ in range(2))
    parent, slot = torch.arange(rows) % prompts, torch.randperm(rows, generator=made)
    lengths = torch.tensor([21, 16, 1])
    query, key, value = _heads(
        joined.double(), None if weight is None else weight.double(), angles.double(), heads, size**-0.5
    )
    outs = []
    for i in range(rows):
        count = int(lengths[parent[i]])
        parts = (
            (prompt_keys[parent[i], :, :count], keys[slot[i], :, :at], key[i].unsqueeze(1)),
            (prompt_values[parent[i], :, :count], values[slot[i], :, :at], value[i].unsqueeze(1)),
        )
        k, v = (torch.cat([part.double() for part in kind], 1) for kind in parts)
        grouped = query[i].view(key_heads, -1, size)
        outs.append(((grouped @ k.transpose(1, 2)).softmax(-1) @ v).reshape(-1))
    own = (blocked(keys), values.clone())
    out = joined.new_empty((rows, heads * size))
    kernels.decode_attention(
        joined, weight, (angles.cos(), angles.sin()), (parent, slot, lengths), (blocked(prompt_keys), prompt_values),
        own, out, at, EPSILON,
    )  # fmt: skip
    stored = own[0].transpose(-1, -2).flatten(2, 3)[:, :, at]
    return [_apart(out, torch.stack(outs)), _apart(stored[slot], key), _apart(own[1][slot][:, :, at], value)]
