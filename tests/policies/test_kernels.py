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
