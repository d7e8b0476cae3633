"""What a person is shown: answers in a table that fits, a log that becomes quieter, one display in a notebook."""

import io
import itertools
import math
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from critica.records.arrays import Metric
from critica.store.run_folder import RunFolder
from critica.training import progress
from critica.training.answers import answers
from critica.training.notebook import Page, automatic, in_notebook, notebook
from critica.training.progress import Lines, Silent
from critica.training.run import train
from critica.training.sample_table import cut, one_line, pick, sample_table
from store.synthetic_run import synthetic_step


@pytest.fixture
def step():
    return synthetic_step(20, steps=40, prompts=3, samples=4)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Time as the test says."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def lines_at(clock, stream, times, **settings):
    """What is said when step i ends `times[i]` seconds after the start."""
    lines = Lines(10_000, 0, stream, **settings)
    start = clock.now
    for number, seconds in enumerate(times, 1):
        clock.now = start + seconds
        metrics = (Metric("reward/told", 0.5, 1.0), Metric("reward/told_std", 0.5, 1.0))
        lines.step(replace(synthetic_step(number, steps=40, prompts=1, samples=2), metrics=metrics))
    return stream.getvalue()


def test_answers_say_what_the_rollout_file_says(small, tmp_path):
    seen = []
    train(small("ppo", steps=2), tmp_path / "run", listeners=[lambda record: seen.append(answers(record))])
    for number, found in enumerate(seen, 1):
        rows = RunFolder.open(tmp_path / "run").rollouts(number).to_pylist()
        assert len(found) == len(rows) == 12
        for answer, row in zip(found, rows, strict=True):
            first = row["sampled_mask"].index(True)
            assert (answer.trajectory_id, answer.text, answer.stop) == (row["trajectory_id"], row["text"], row["stop"])
            assert answer.task.prompt == row["prompt"] and answer.state == row["ledger_state"]
            assert (answer.told, answer.clean) == (row["reward_told"], row["reward_clean"])
            assert answer.expected == pytest.approx(row["value_mean"][first], abs=1e-6)
            credit = [a for a, wrote in zip(row["advantage"], row["sampled_mask"], strict=True) if wrote]
            assert answer.advantages == pytest.approx(credit, abs=1e-6)


def test_the_table_fits_and_shows_the_best_and_the_worst(step):
    found = answers(step)
    for width in (60, 80, 200):
        head, names, *rows = sample_table(step, width).splitlines()
        assert head == f"step 20, 3 of {len(found)} answers" and len(rows) == 3
        assert all(len(line) <= min(width, 160) for line in (names, *rows))
    told = [answer.told for answer in found if not math.isnan(answer.told)]
    shown = [row.split()[-3] for row in rows]
    assert names.split()[-3:] == ["told", "clean", "expected"]
    assert shown[0] == f"{max(told):.3g}" and shown[-1] == f"{min(told):.3g}"


def test_three_answers_of_different_prompts_if_there_are_three(step):
    found = answers(step)
    picked = pick(found)
    assert len({answer.task.task_id for answer in picked}) == 3
    one = [answer for answer in found if answer.task.task_id == found[0].task.task_id]
    assert len(pick(one)) == 3 and len(pick(one[:2])) == 2
    blank = [replace(answer, told=math.nan) for answer in found]
    assert len(pick(blank)) == 3


def test_nothing_that_a_terminal_would_obey_is_shown():
    assert one_line("a\x1b[31mb\r\n  c\td") == "a�[31mb ⏎ c d"
    assert cut("0123456789", 10) == "0123456789" and cut("0123456789", 7) == "0123…89"
    assert [len(cut("x" * 50, width)) for width in (1, 2, 3, 9)] == [1, 2, 3, 9]


def test_tables_are_for_terminals_unless_they_are_asked_for(monkeypatch):
    clock = Clock(monkeypatch)
    times = [float(i) for i in range(40)]
    assert lines_at(clock, Terminal(), times).count(" answers\n") == 2  # steps 20 and 40
    assert " answers\n" not in lines_at(clock, io.StringIO(), times)
    assert " answers\n" not in lines_at(clock, Terminal(), times, samples_every=0)
    assert lines_at(clock, io.StringIO(), times, samples_every=10).count(" answers\n") == 4
    monkeypatch.setenv("TERM", "dumb")
    plain = lines_at(clock, Terminal(), times)
    assert "\r" not in plain and "\033" not in plain and " answers\n" not in plain


def test_a_log_becomes_quieter_and_a_terminal_does_not(monkeypatch):
    clock = Clock(monkeypatch)
    hours = [10.0 * i for i in range(720)]  # two hours, a step every ten seconds
    said = [int(line.split()[1].partition("/")[0]) for line in lines_at(clock, io.StringIO(), hours).splitlines()]
    assert said[:20] == list(range(1, 21)), "the first minutes say every step"
    gaps = [10 * (b - a) for a, b in itertools.pairwise(said)]
    assert gaps[-3:] == [60, 60, 60] and gaps == sorted(gaps)
    assert lines_at(clock, Terminal(), hours[:100]).count("\r\033[K") == 100 + 5


class FakeIPython(ModuleType):
    """A kernel whose displays are remembered."""

    def __init__(self, kernel=True):
        super().__init__("IPython")
        self.shown = []
        shell = SimpleNamespace(config={"IPKernelApp": {}} if kernel else {"TerminalIPythonApp": {}})
        self.get_ipython = lambda: shell

    def display(self, shown, raw, display_id):
        assert raw and display_id
        self.shown.append([shown["text/plain"]])
        place = self.shown[-1]
        return SimpleNamespace(update=lambda again, raw: place.append(again["text/plain"]))


@pytest.fixture
def kernel(monkeypatch):
    fake = FakeIPython()
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    return fake


def test_a_notebook_has_one_display_that_is_rewritten(kernel, small, tmp_path, capsys):
    assert in_notebook()
    train(small("grpo", steps=3), tmp_path / "run")
    ((*_, last),) = kernel.shown
    assert last.startswith("step 3/3") and capsys.readouterr() == ("", "")


def test_a_page_keeps_warnings_the_newest_line_and_the_newest_table(kernel):
    page = Page()
    for text in ("step 1/9  told 0.1\n", "warning: alike\n", "step 2, 1 of 4 answers\na  b\n", "step 3/9  told 0.3\n"):
        page.write(text)
    ((*_, last),) = kernel.shown
    assert last == "warning: alike\nstep 3/9  told 0.3\nstep 2, 1 of 4 answers\na  b"
    assert isinstance(notebook(5, 0), Lines) and not notebook(5, 0).live


def test_outside_of_a_notebook_the_python_api_is_silent(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", FakeIPython(kernel=False))
    assert not in_notebook() and isinstance(automatic(5, 0), Silent)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
