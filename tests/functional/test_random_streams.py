"""Identity decides a draw: nothing else may."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critica.functional.random import generator, stream_key, torch_generator, uniforms

parts = st.lists(st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=4)), max_size=4)


def test_streams_are_pinned():
    # A run is reproducible only as long as these stay what they are.
    assert stream_key(0, "flip", 3, "a") == 274363875082986246959545230656706483058
    assert uniforms(0, "flip", 3, "a", count=2).tolist() == [0.7433295464391907, 0.9558401901244953]


@given(parts, parts)
def test_different_identities_have_different_keys(first, second):
    assert (stream_key(1, "p", *first) == stream_key(1, "p", *second)) == (
        [(type(part), part) for part in first] == [(type(part), part) for part in second]
    )


def test_parts_do_not_run_together():
    keys = {
        stream_key(1, "a", 1, 23), stream_key(1, "a", 12, 3), stream_key(1, "a", 123), stream_key(1, "a", "1", 23),
        stream_key(1, "a", "1;i23"), stream_key(11, "a", 23), stream_key(1, "ab"), stream_key(1, "a", "b"),
    }  # fmt: skip
    assert len(keys) == 8
    assert all(0 <= key < 2**128 for key in keys)


@given(st.integers(0, 40), st.integers(0, 40))
def test_draws_are_prefix_stable(small, large):
    small, large = sorted((small, large))
    few, many = (uniforms(3, "tokens", 5, count=count) for count in (small, large))
    assert np.array_equal(few, many[:small])
    assert ((many >= 0) & (many < 1)).all()


def test_draws_look_uniform_within_and_across_streams():
    within = uniforms(1, "a", count=20000)
    across = np.array([uniforms(1, "a", index, count=1)[0] for index in range(2000)])
    for sample in (within, across):
        error = np.abs(np.sort(sample) - (np.arange(sample.size) + 0.5) / sample.size).max()
        assert error < 1.95 / sample.size**0.5  # Kolmogorov-Smirnov, one in a thousand
    assert abs(np.corrcoef(across[:-1], across[1:])[0, 1]) < 0.08


def test_other_names_are_refused():
    with pytest.raises(TypeError, match=r"float|0\.5"):
        stream_key(1, "a", 0.5)
    with pytest.raises(TypeError, match="truth value"):
        stream_key(1, "a", True)


def test_torch_streams_repeat_and_differ():
    first, again, other = (torch.rand(4, generator=torch_generator(1, "w", index)) for index in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert generator(1, "w").random() == generator(1, "w").random()


def test_workers_draw_without_torch():
    code = (
        "import sys; from critica.functional import noise, random; random.uniforms(1, 'a', count=2); "
        "sys.exit('torch' in sys.modules)"
    )
    path = str(__import__("pathlib").Path(__file__).parents[2] / "src")
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}).returncode == 0
