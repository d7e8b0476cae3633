"""The compiled kernels: right where they exist, and done without where they do not."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from critica.policies import kernels, operators
from critica.policies.forward import HiddenForward
from critica.policies.kernel_check import TOLERANCE, worst_error
from policies.policies_fixtures import ragged_batch, tiny_model

possible = shutil.which("cc") is not None and os.environ.get(kernels.OFF, "1") != "0"
needs_kernels = pytest.mark.skipif(not possible, reason="no C compiler here, or switched off")


@pytest.fixture
def fresh():
    """The cached answer is forgotten before and after."""
    kernels.kernels.cache_clear()
    yield
    kernels.kernels.cache_clear()


@needs_kernels
def test_they_are_built_where_a_compiler_is_and_agree_with_fp64() -> None:
    report = kernels.kernels()
    assert report.kernels is not None, report.reason
    assert report.error < TOLERANCE


@needs_kernels
def test_the_check_catches_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    made = kernels.kernels().kernels
    assert made is not None
    right = made.swiglu_backward
    monkeypatch.setattr(made, "swiglu_backward", lambda gate_up, grad: -right(gate_up, grad))
    assert worst_error(made) > 0.1


def test_results_do_not_depend_on_threads() -> None:
    made = kernels.kernels().kernels
    if made is None:
        pytest.skip(kernels.kernels().reason)
    x, weight, grad = torch.randn(777, 48), torch.randn(48), torch.randn(777, 48)
    out, scale, results = torch.empty_like(x), x.new_empty(777), []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        made.rms_norm(x, weight, out, scale, 1e-6)
        results.append((out.clone(), *made.rms_norm_backward(x, weight, scale, grad)))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("family", ("llama", "qwen2", "qwen3"))
def test_training_agrees_with_and_without_them(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny_model(family), ragged_batch()
    forward = HiddenForward(model)
    found = []
    for _ in range(2):
        model.zero_grad()
        states, ends = forward.sampled_and_final_states(batch)
        weights = torch.linspace(-1, 1, states.numel()).view_as(states)
        ((states * weights).sum() + ends.square().sum()).backward()
        found.append([states.detach(), ends.detach(), *(p.grad.clone() for p in model.base_model.parameters())])
        monkeypatch.setattr(operators, "kernels_for", lambda x: None)
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-4)


def test_without_a_compiler_or_when_switched_off_the_reason_is_given(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(kernels.OFF, "0")
    assert kernels.kernels().kernels is None and kernels.OFF in kernels.kernels().reason
    kernels.kernels.cache_clear()
    monkeypatch.setenv(kernels.OFF, "1")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "compiler" in kernels.kernels().reason
    kernels.kernels.cache_clear()
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "could not be built" in kernels.kernels().reason
    assert not list(tmp_path.rglob("*.so"))


def attended(made: kernels.Kernels, rows: list[int], joined: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """One decode step of these rows of `joined`; row i continues prompt i % 2 and has 3 tokens of its own before."""
    heads, key_heads, size, room, at = 6, 2, 32, 20, 3
    noise = torch.Generator().manual_seed(1)
    prompts = [torch.randn(2, key_heads, max(lengths), size, generator=noise) for _ in range(2)]
    own = [torch.randn(len(joined), key_heads, room, size, generator=noise) for _ in range(2)]
    out = torch.empty(len(rows), heads * size)
    angles = torch.linspace(0, 1, len(joined) * size // 2).view(len(joined), -1)[rows]
    places = (torch.tensor(rows) % 2, torch.tensor(rows), torch.tensor(lengths))
    made.decode_attention(
        joined[rows], None, (angles.cos(), angles.sin()), places, (kernels.blocked(prompts[0]), prompts[1]),
        (kernels.blocked(own[0]), own[1]), out, at, 1e-6,
    )  # fmt: skip
    return out


@needs_kernels
def test_a_row_attends_to_the_same_bits_whoever_is_beside_it() -> None:
    made = kernels.kernels().kernels
    assert made is not None
    joined = torch.randn(11, 10, 32, generator=torch.Generator().manual_seed(0))
    together = attended(made, list(range(11)), joined, [37, 16])
    alone = torch.cat([attended(made, [row], joined, [37, 16]) for row in range(11)])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    parallel = attended(made, list(range(11)), joined, [37, 16])
    torch.set_num_threads(before)
    assert torch.equal(together, alone) and torch.equal(together, parallel)
    assert not torch.equal(attended(made, [0], joined, [36, 16])[0], together[0]), "every prompt token counts"


@needs_kernels
def test_what_is_no_number_stays_none() -> None:
    made = kernels.kernels().kernels
    assert made is not None
    joined = torch.ones(11, 10, 32)
    joined[4, :, 5] = float("nan")
    broken = attended(made, list(range(11)), joined, [37, 16]).isnan().any(1)
    assert broken.tolist() == [row == 4 for row in range(11)]
    gates = torch.ones(2, 40)
    gates[1, 3], gates[0, 7] = float("nan"), float("-inf")
    out = made.swiglu(gates, torch.empty(2, 20))
    assert out[1].isnan().nonzero().tolist() == [[3]] and out[0].isfinite().sum() == 19
