"""Fast paths are taken only where they are exact, and put back what they changed."""

import torch

from critica.policies import numerics


def test_the_error_check_accepts_fp32_and_refuses_bfloat16() -> None:
    assert numerics.worst_error(torch.nn.functional.linear) < numerics.TOLERANCE

    def rounded(x, weight):
        return torch.nn.functional.linear(x.bfloat16().float(), weight.bfloat16().float())

    assert numerics.worst_error(rounded) > numerics.TOLERANCE

    def broken(x, weight):
        raise RuntimeError("not on this processor")

    assert numerics.worst_error(broken) == float("inf")


def test_the_report_is_a_constant_of_the_machine_and_never_allows_a_rounding_path() -> None:
    threads = torch.get_num_threads()
    first, second = numerics.fast_paths(), numerics.configure(threads).paths
    assert first == second or first.onednn_error != first.onednn_error
    assert not first.onednn_matmul or first.onednn_error < numerics.TOLERANCE
    assert not first.packed_linears or first.packed_error < numerics.TOLERANCE
    assert torch.get_num_threads() == threads


def test_the_contexts_put_the_setting_back_and_stay_exact() -> None:
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    with numerics.training_matmuls():
        assert numerics.worst_error(torch.nn.functional.linear) < numerics.TOLERANCE
        with numerics.decoding_matmuls():
            assert setting.fp32_precision == "none"
    assert setting.fp32_precision == before


def test_threads_below_one_are_refused() -> None:
    import pytest

    with pytest.raises(ValueError, match="at least 1"):
        numerics.configure(0)
