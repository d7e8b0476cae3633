"""Held-out accuracy on the way: it changes no bit, keeps the best policy, and forgets what a resume does again."""

import json
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from critica.recipes.base import HeldOut
from critica.records.run import Progress
from critica.store.files import publish_folder, recover_folder
from critica.training.examiner import Examiner
from critica.training.held_out import evaluate
from critica.training.run import resume, train


class Folder:
    """A policy whose weights are one number."""

    def __init__(self):
        self.number = 0

    def save(self, folder):
        (folder / "weights").write_text(str(self.number))


def examined(run, accuracies, every=2, start=0):
    """What is kept after steps `start` + 1, …: one accuracy for each step."""
    policy, names = Folder(), []

    def measure(name):
        names.append(name)
        step = int(name.removeprefix("step_"))
        return (SimpleNamespace(accuracy=SimpleNamespace(estimate=accuracies[step])),)

    examiner = Examiner(run, policy, every, True, measure)
    examiner.begin(start)
    for step in range(start + 1, max(accuracies) + 1):
        policy.number = step
        examiner.after(Progress(step=step))
    return names


def test_the_best_is_kept_and_of_two_equals_the_earlier(tmp_path):
    assert examined(tmp_path, {2: 0.1, 4: 0.4, 6: 0.4, 8: 0.3}) == ["step_2", "step_4", "step_6", "step_8"]
    assert (tmp_path / "best" / "weights").read_text() == "4"
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {"step": 4, "accuracy": 0.4}


def test_a_policy_that_is_never_right_is_still_kept(tmp_path):
    examined(tmp_path, {2: 0.0})
    assert (tmp_path / "best" / "weights").read_text() == "2"


def test_going_on_from_before_the_best_forgets_it_and_what_was_measured_since(tmp_path):
    examined(tmp_path, {2: 0.1, 4: 0.4})
    (tmp_path / "evaluations").mkdir()
    for name in ("step_2-greedy", "step_4-greedy", "before-greedy", "step_x"):
        (tmp_path / "evaluations" / f"{name}.json").write_text("{}")
    Examiner(tmp_path, Folder(), 2, True, lambda name: ()).begin(3)
    assert not (tmp_path / "best").exists()
    left = {file.name for file in (tmp_path / "evaluations").iterdir()}
    assert left == {"step_2-greedy.json", "before-greedy.json", "step_x.json"}
    assert examined(tmp_path, {4: 0.4, 6: 0.2}, start=3) == ["step_4", "step_6"]
    assert (tmp_path / "best" / "weights").read_text() == "4"


def test_a_crash_while_the_best_is_replaced_leaves_one_of_the_two(tmp_path, monkeypatch):
    place = tmp_path / "best"
    publish_folder(place, lambda folder: (folder / "w").write_text("old"))
    import critica.store.files as files

    real, calls = files.os.rename, []

    def crash(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(files.os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        publish_folder(place, lambda folder: (folder / "w").write_text("new"))
    monkeypatch.undo()
    assert not place.exists()
    recover_folder(place)
    assert (place / "w").read_text() == "old" and not (tmp_path / ".old-best").exists()


def test_measuring_changes_no_bit_and_the_best_is_a_model_that_opens(small, tmp_path):
    plain, looked = tmp_path / "plain", tmp_path / "looked"
    train(small("grpo"), plain)
    asked = HeldOut(prompts=4, every=2, keep_best=True)
    train(small("grpo", held_out=asked), looked)
    for step in (2, 4):
        one, other = (load_file(run / "checkpoints" / f"step_{step}" / "policy" / "model.safetensors")
                      for run in (plain, looked))  # fmt: skip
        assert all(one[name].equal(other[name]) for name in one)
    names = {file.stem for file in (looked / "evaluations").glob("*.json")}
    ways = ("temperature_1", "greedy")
    assert names == {f"{when}-{way}" for when in ("before", "step_2", "step_4", "after") for way in ways}
    report = evaluate(looked / "best", environment="digit_sum", prompts=2)
    assert len(report.prompts) == 2
    resume(looked, steps=6)
    assert (looked / "evaluations" / "step_6-greedy.json").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"every": 5}, "held_out.prompts"),
        ({"prompts": 9, "keep_best": True}, "held_out.every"),
        ({"prompts": -1}, "negative"),
    ],
)
def test_settings_that_measure_nothing_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        HeldOut(**settings)
