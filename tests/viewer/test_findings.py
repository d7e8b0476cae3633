"""What the report finds in a run, by hand-made steps whose answers are known."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from plotly.offline import get_plotlyjs
from synthetic_run import MANIFEST, synthetic_run, synthetic_step

from critica.records.outcome import Interval, NamedReport, OutcomeReport, PromptOutcome
from critica.store.evaluations import gains
from critica.store.run_folder import RunFolder, StepMetrics
from critica.viewer.changes import change_sentence, metrics_table, prompts_table, sources_table
from critica.viewer.contest import explained, hold_contest, siblings_mean
from critica.viewer.curves import LEARNING, MOST_POINTS, draw_clock
from critica.viewer.drift import distinct_share, drift_sentence, held_out_signs, signs_of
from critica.viewer.dropped import dropped_sentence, ledger_rows
from critica.viewer.pushes import noise_effect
from critica.viewer.questions import critic_answer
from critica.viewer.report import write_report
from critica.viewer.rollouts import pick_rollouts
from critica.viewer.surprises import find_surprises
from critica.viewer.tasks import held_out_changes, tasks_sentence
from critica.viewer.window import Row, StepArrays, ends, step_arrays


def row(name: str, told: float, clean: float, group: str = "g", **other) -> Row:
    about = dict(text=name, correct=bool(clean), flipped=told != clean, state="trained", credit=0.0) | other
    return Row(step=1, trajectory_id=name, group_id=group, task_id=group, source="e", prompt="p", told=float(told),
               clean=float(clean), **about)  # fmt: skip


def arrays(rows: list[Row], values: list[list[float]], tokens: list[list[str]] | None = None) -> StepArrays:
    """Rows with these values before each of their tokens."""
    tokens = tokens or [["a"] * len(part) for part in values]
    owner = np.repeat(np.arange(len(rows)), [len(part) for part in values])
    texts = [text for part in tokens for text in part]
    ids = np.array([ord(text[0]) for text in texts])
    place = np.concatenate([np.arange(len(part)) for part in values])
    return StepArrays(1, {}, tuple(rows), owner, place, ids, np.concatenate(values),
                      pa.array(texts), np.arange(len(texts)))  # fmt: skip


def test_a_critic_that_knows_the_truth_beats_both_stand_ins_under_flips() -> None:
    """Two groups of two, the second flipped: values are the truth, what was told of the second is its opposite."""
    rows = [row("a", 1, 1), row("b", 0, 0), row("c", 0, 1, "h"), row("d", 1, 0, "h")]
    found = hold_contest([arrays(rows, [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])])
    critic, siblings, one = found.contestants
    assert critic.mse_clean == 0 and critic.mse_told == pytest.approx(0.5)
    assert critic.explained_clean == 1 and critic.explained_told == pytest.approx(1 - 0.5 / 0.25)
    assert siblings.mse_told == 1 and siblings.mse_clean == pytest.approx(0.5)  # a's sibling was told 0, and so on
    assert one.mse_clean == pytest.approx(0.25) and one.explained_clean == 0
    assert critic_answer(found).startswith("Better than both stand-ins: squared error 0.000 against the truth")
    worse = hold_contest([arrays(rows, [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])])
    assert critic_answer(worse).startswith("Worse than both stand-ins: squared error 1.000")


def test_a_critic_that_expects_the_same_of_everything_is_none() -> None:
    found = hold_contest([arrays([row("a", 1, 1), row("b", 0, 0)], [[0.5, 0.5], [0.5]])])
    assert found.silent and critic_answer(found).startswith("There is none")


def test_siblings_leave_the_answer_itself_and_the_unknown_out() -> None:
    rows = [row("a", 1, 1), row("b", 0, 0), row("c", math.nan, 1), row("d", 1, 1, "alone")]
    assert siblings_mean(rows).tolist()[:3] == [0.0, 1.0, 0.5] and math.isnan(siblings_mean(rows)[3])
    assert math.isnan(explained(np.ones(3), np.ones(3)))


def test_surprise_is_the_value_after_less_the_value_before() -> None:
    rows = [row("a", 1, 1), row("b", 0, 1, "h")]
    tokens = [["x", "y", "z"], ["x", "y"]]
    found = find_surprises([arrays(rows, [[0.2, 0.3, 0.9], [0.5, 0.4]], tokens)])
    first, second = found.inside
    assert (first.trajectory_id, first.token, first.context, first.place) == ("a", "y", "x", 1)
    assert first.change == pytest.approx(0.6) and second.change == pytest.approx(-0.1)
    assert [(end.trajectory_id, round(end.change, 6)) for end in found.ends] == [("b", -0.4), ("a", 0.1)]
    assert found.typical == pytest.approx((0.1 + 0.6 + 0.1) / 3)


def test_words_are_ranked_by_size_and_keep_their_direction() -> None:
    rows = [row(f"r{i}", 1, 1, f"g{i}") for i in range(6)]
    found = find_surprises([arrays(rows, [[0.5, 0.7, 0.6]] * 6, [["+", "=", "z"]] * 6)])
    assert [(word.token, word.count, round(word.change, 6)) for word in found.words] == [("+", 6, 0.2), ("=", 6, -0.1)]


def test_wrong_pushes_are_counted_by_what_noise_did() -> None:
    rows = [
        row("a", 1, 1, credit=0.5), row("b", 0, 0, credit=0.1), row("c", 0, 1, credit=-0.5),
        row("d", 1, 0, credit=0.5), row("e", 0, 1, credit=0.0), row("f", 0, 1, state="masked", credit=-1.0),
    ]  # fmt: skip
    effect = noise_effect(rows)
    assert (effect.truthful.answers, effect.truthful.right_down, effect.truthful.wrong_up) == (2, 0, 1)
    assert (effect.changed.answers, effect.changed.right_down, effect.changed.wrong_up) == (3, 1, 1)
    assert effect.whole.wrong_way == pytest.approx(3 / 5)


def test_a_collapse_crosses_its_lines_and_a_steady_policy_none() -> None:
    def lines(entropy: float, accuracy: float) -> list[StepMetrics]:
        start = [StepMetrics(i, {"policy/entropy": 1.0, "accuracy/sampled": 0.5}) for i in range(10)]
        return start + [
            StepMetrics(10 + i, {"policy/entropy": entropy, "accuracy/sampled": accuracy}) for i in range(10)
        ]

    many, one = [row(name, 1, 1) for name in "abcd"], [row("x", 1, 1, text="same") for _ in range(4)]
    collapsed = signs_of(lines(0.1, 0.3), many, one)
    assert [sign.name for sign in collapsed if sign.crossed] == ["accuracy/sampled", "policy/entropy", "different answers"]  # fmt: skip  # noqa: E501
    assert "policy/entropy 1 → 0.1" in drift_sentence(collapsed)
    steady = signs_of(lines(0.9, 0.6), many, many)
    assert not any(sign.crossed for sign in steady) and drift_sentence(steady).startswith("None of 3 signs")
    assert (distinct_share(many), distinct_share(one), math.isnan(distinct_share([]))) == (1.0, 0.0, True)


def report(right: str, version: int) -> OutcomeReport:
    """Four prompts, `1` right and `0` wrong."""
    prompts = tuple(PromptOutcome(f"t{i}", "ab"[i // 2], 1, int(c), 0, 1, f"p{i}") for i, c in enumerate(right))
    share = right.count("1") / 4
    return OutcomeReport("e", 0.0, 1, 8, 0, version, Interval(share, 0.0, 1.0, "w"), (), (), 1.0, 0.0, 0, prompts)


def test_prompts_rise_and_fall_between_the_first_and_the_last_policy() -> None:
    reports = (NamedReport("before", report("1000", 0)), NamedReport("mid", report("1010", 5)),
               NamedReport("after", report("0011", 9)))  # fmt: skip
    (way,) = held_out_changes(reports, gains(reports))
    assert (way.better, way.worse, way.same) == (2, 1, 1)
    assert [(one.prompt, one.shares) for one in way.rose] == [("p2", (0.0, 1.0, 1.0)), ("p3", (0.0, 0.0, 1.0))]
    assert [one.prompt for one in way.fell] == ["p0"]
    assert way.sources == (("b", 0.0, 1.0, 2), ("a", 0.5, 0.0, 2))
    (sign,) = held_out_signs(gains(reports), reports)
    assert (sign.first, sign.last, sign.crossed) == (0.25, 0.5, False)
    assert tasks_sentence((way,), ()).endswith("most: b, 0% → 100%.")


def test_a_loss_beyond_chance_on_held_out_prompts_is_a_sign() -> None:
    reports = (NamedReport("before", report("1111", 0)), NamedReport("after", report("0000", 9)))
    (sign,) = held_out_signs(gains(reports), reports)
    assert sign.crossed and "held-out accuracy greedy 1 → 0" in drift_sentence((sign,))


def test_what_changed_between_runs_in_numbers() -> None:
    lines = [[StepMetrics(i, {"reward/clean": value}) for i in range(4)] for value in (0.25, 0.75)]
    reports = [(NamedReport("after", report(right, 9)),) for right in ("1000", "0011")]
    said = change_sentence(["x", "y"], lines, reports, ["noise.rate"])
    assert said == ("Settings that differ: noise.rate; clean reward at the end: x 0.250, y 0.750; "
                    "held-out accuracy greedy: x 25.0%, y 50.0%.")  # fmt: skip
    (numbers,) = metrics_table(["x", "y"], lines, LEARNING).rows
    assert numbers == ("reward/clean", "0.25", "0.75", "+0.5", "reward")
    assert sources_table(["x", "y"], reports).rows[1] == ("b", "greedy", "2", "0.0%", "100.0%", "+100.0")
    assert [row[0] for row in prompts_table(["x", "y"], reports).rows] == ["p0", "p2", "p3"]


def test_the_two_ends_of_a_run_never_overlap() -> None:
    assert ends(range(30)) == (range(0, 10), range(20, 30))
    assert ends(range(5)) == (range(0, 2), range(3, 5)) and ends(range(1)) == (range(0, 1), range(0, 1))


def test_reasons_are_counted_and_the_latest_samples_named(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run:
        for step in range(1, 31):
            run.append(step, synthetic_step(step, steps=30))
    rows = ledger_rows(RunFolder.open(tmp_path / "run"))
    (failed,) = (row for row in rows if row.state == "failed")
    lost = [str(line["trajectory_id"]) for line in run.ledger() if line["state"] == "failed"]
    assert failed.samples == len(lost) > 0 and [one.trajectory_id for one in failed.named] == lost[::-1][:20]
    assert f"{len(lost)} of {30 * 24}" in dropped_sentence(rows).replace(",", "")
    assert "the scorer timed out" in dropped_sentence(rows)
    (filtered,) = (row for row in rows if row.state == "filtered")
    assert (filtered.samples, filtered.prompts) == (0, 10)


def test_flat_arrays_are_the_stored_tokens(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run:
        run.append(1, synthetic_step(1))
        stored, found = run.rollouts(1).to_pylist(), step_arrays(run, 1)
    for n, item in enumerate(stored):
        mine = np.flatnonzero(found.owner == n)
        places = [t for t, sampled in enumerate(item["sampled_mask"]) if sampled]
        assert found.place[mine].tolist() == places
        assert [found.text_of(int(i)) for i in mine] == [item["tokens"][t] for t in places]
        assert found.values[mine].tolist() == [pytest.approx(item["value_mean"][t]) for t in places]
        trained = [a for a, m in zip(item["advantage"], item["trained_mask"], strict=True) if m]
        credit = found.rows[n].credit
        assert math.isnan(credit) if not trained else credit == pytest.approx(np.mean(trained), rel=1e-5)


def test_an_answer_that_surprised_is_shown_around_the_surprise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run(tmp_path / "run", steps=3)
    monkeypatch.setattr("critica.viewer.rollouts.TOKEN_BUDGET", 180)
    surprises = find_surprises([step_arrays(run, step) for step in (1, 2, 3)])
    shown = {one.trajectory_id: one for one in pick_rollouts(run, surprises).rollouts}
    for one in surprises.inside:
        mine = shown[one.trajectory_id]
        assert mine.surprising and mine.tokens[one.place - mine.start].text == one.token
        assert len(mine.tokens) <= 10 < mine.end


def test_seconds_a_step_are_whole_and_by_its_largest_stages() -> None:
    lines = [StepMetrics(i, {"tokens/sampled": 30.0}) for i in (1, 2)]
    timing = [StepMetrics(1, {"gather": 1.0, "update": 2.0, "measure": 0.5}), StepMetrics(2, {"gather": 1.0})]
    seconds, speed = draw_clock(lines, timing, 1)
    assert {one.label: one.values[0] for one in seconds.series} == {"whole step": 3.5, "gather": 1.0, "update": 2.0}
    assert speed.series[0].values == (pytest.approx(30 / 3.5), 30.0)


def test_a_long_run_makes_no_large_page(tmp_path: Path) -> None:
    """2,000 steps: the curves are thinned, the answers and the names in the books are bounded."""
    short = synthetic_run(tmp_path / "run", steps=10)
    for name in ("metrics", "timing", "ledger"):
        path = short.path / f"{name}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        long = [line | {"step": 10 * lap + line["step"]} for lap in range(200) for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in long))
    for step in range(11, 2001):
        os.link(short.path / f"rollouts/step_{(step - 1) % 10 + 1:06d}.parquet",
                short.path / f"rollouts/step_{step:06d}.parquet")  # fmt: skip
    text = write_report(short.path).read_text()
    assert len(text) - len(get_plotlyjs()) < 1_000_000
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["steps"]) == 667 <= MOST_POINTS
    assert all(len(s["values"]) == 667 for chart in data["learning"] for s in chart["series"])
    shutil.rmtree(short.path)
