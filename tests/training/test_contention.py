"""The start-up check for busy neighbors, on readings made by hand."""

from critica.training.contention import busy_ticks, contention_warning, others_busy_cores

STAT = "cpu  100 20 30 900 50 1 2 3 77 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


def test_idle_waiting_and_guests_are_not_work():
    assert busy_ticks(STAT) == 100 + 20 + 30 + 1 + 2 + 3


def test_the_warning_names_the_way_out():
    assert contention_warning(2, 0.1, 2) == ""
    assert contention_warning(1, 0.9, 2) == ""
    assert "--set threads=1" in contention_warning(2, 1.0, 2)
    assert "--set threads=5" in contention_warning(8, 2.5, 8)
    alone = contention_warning(1, 2.1, 2)
    assert "wants a thread:" in alone and alone.endswith("stop them, or wait") and "--set" not in alone


def test_a_kernel_that_tells_nothing_is_no_reason_to_warn(tmp_path):
    assert others_busy_cores(0.0, tmp_path / "missing") == 0.0
    (tmp_path / "odd").write_text("memory 1 2 3 4 5 6 7 8\n")
    assert others_busy_cores(0.0, tmp_path / "odd") == 0.0
