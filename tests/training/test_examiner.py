"""Held-out accuracy on the way: it changes no bit, keeps the best policy, and forgets what a resume does again."""

import json

import pytest
from safetensors.torch import load_file

from critica.recipes.base import HeldOut
from critica.records.outcome import Interval, OutcomeReport
from critica.records.run import Progress
from critica.rewards.noise import NoNoise
from critica.rewards.verifiers import Function
from critica.store.evaluations import load_evaluations
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


def report_of(accuracy, reward=None):
    """An evaluation that says this."""
    own = None if reward is None else Interval(reward, reward, reward, "by hand")
    accuracy = Interval(accuracy, accuracy, accuracy, "by hand")
    return OutcomeReport("game", 1.0, 1, 8, 0, 0, accuracy, (), (), 1.0, 0.0, 0, (), own, "own" if own else "")


def examined(run, accuracies, every=2, start=0):
    """What is kept after steps `start` + 1, …: one accuracy for each step."""
    policy, names = Folder(), []

    def measure(name):
        names.append(name)
        step = int(name.removeprefix("step_"))
        return (report_of(accuracies[step]),)

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


def test_the_best_may_be_chosen_by_the_runs_own_reward(tmp_path):
    """Accuracy never moves, as for a user's data whose reward is the user's own function."""
    rewards, policy = {2: -3.0, 4: -1.0, 6: -2.0}, Folder()

    def measure(name):
        return (report_of(0.0, rewards[int(name.removeprefix("step_"))]),)

    examiner = Examiner(tmp_path, policy, 2, True, measure, "reward")
    for step in range(1, 7):
        policy.number = step
        examiner.after(Progress(step=step))
    assert (tmp_path / "best" / "weights").read_text() == "4"
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {"step": 4, "reward": -1.0}


def test_held_out_answers_are_also_judged_by_the_runs_own_reward(small, tmp_path):
    """A reward that counts letters says something where the game's own word is 0; the environment's own asks nobody."""
    asked = HeldOut(prompts=6, samples=2, every=2, keep_best=True, best_by="reward")

    file = tmp_path / "letters.py"
    file.write_text("def letters(completions, **_):\n    return [float(len(text)) for text in completions]\n")
    reward = Function(f"{file}:letters", high=100.0)
    own = small("grpo", steps=2, held_out=asked, noise=NoNoise(), reward=reward)
    train(own, tmp_path / "own")
    (after,) = [one.report for one in load_evaluations(tmp_path / "own") if one.name == "after-temperature_1"]
    assert after.rewarded_by and after.accuracy.estimate == 0.0
    means = [prompt.reward for prompt in after.prompts]
    assert after.reward.estimate == pytest.approx(sum(means) / 6) and 1.0 < after.reward.estimate <= 100.0
    kept = json.loads((tmp_path / "own" / "best" / "best.json").read_text())
    assert kept["step"] == 2 and kept["reward"] == pytest.approx(after.reward.estimate)
    again = evaluate(tmp_path / "own", prompts=6, samples=2)
    assert again.reward == after.reward and again.to_json()["rewarded_by"] == after.rewarded_by
    assert evaluate(str(tmp_path / "own" / "best"), environment="digit_sum", prompts=6).reward is None


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
