"""The report: whole, offline, small, and unmoved by what a policy writes."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from synthetic_run import MANIFEST, synthetic_run, synthetic_step

from critica.records.metrics import GLOSSARY
from critica.records.outcome import Interval, OutcomeReport, PromptOutcome
from critica.store.evaluations import gains, load_evaluations, load_result, save_evaluation
from critica.store.run_folder import RunFolder
from critica.viewer.calibration import bin_by_place, bin_by_value
from critica.viewer.curves import thin
from critica.viewer.report import write_report
from critica.viewer.rollouts import TOKEN_BUDGET, pick_rollouts, shown_steps, spread_kinds
from critica.viewer.summary import fixed

SCRIPT = "</script><script>alert('owned')</script><img src=x onerror=alert(1)>%%PLOTLY%%"


class Page(HTMLParser):
    """The page's elements, attributes and script bodies."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open = tag
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])


def evaluation(right: int, version: int, temperature: float) -> OutcomeReport:
    prompts = tuple(PromptOutcome(f"t{i}", "chain_sum", 1, int(i < right), 0, 20) for i in range(100))
    interval = Interval(right / 100, right / 100 - 0.1, right / 100 + 0.1, "wilson over prompts")
    return OutcomeReport("chain_sum", temperature, 1, 32, 0, version, interval, (), (), 20.0, 0.0, 0, prompts)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return synthetic_run(tmp_path_factory.mktemp("viewer") / "run", steps=12, script=SCRIPT)


@pytest.fixture(scope="module")
def text(run: RunFolder) -> str:
    for name, right, version, temperature in (("before", 40, 0, 1.0), ("after", 70, 12, 1.0), ("greedy", 50, 0, 0.0)):
        save_evaluation(run.path, name, evaluation(right, version, temperature))
    return write_report(run.path).read_text()


def test_the_page_asks_no_network(text: str) -> None:
    ours = text.replace(get_plotlyjs(), "")
    assert len(ours) < len(text)
    assert not re.search(r"https?:|//[a-z]+\.", ours)
    assert all(link.startswith("#") for link in Page(text).links)
    assert "default-src 'none'" in text
    assert len(text.encode()) < 6_000_000


def test_what_a_policy_writes_stays_text(text: str) -> None:
    page = Page(text)
    assert len(page.scripts) == 4 and "img" not in page.tags
    assert "alert('owned')" not in "".join([*page.scripts[1:], *page.words])
    tokens = [token[0] for rollout in page.data["rollouts"] for token in rollout["tokens"]]
    assert SCRIPT in tokens


def test_names_from_the_command_line_are_escaped(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, recipe="<b>x</b>", policy='"><script>alert(2)</script>')
    with RunFolder.create(tmp_path / "run", manifest, "") as run:
        run.append(1, synthetic_step(1))
    text = write_report(tmp_path / "run").read_text()
    assert "<b>x" not in text and "&lt;b&gt;x" in text and "<script>alert(2)" not in text


def test_at_least_twenty_rollouts_of_every_kind(text: str, run: RunFolder) -> None:
    rollouts = Page(text).data["rollouts"]
    assert len(rollouts) >= 20
    assert {r["state"] for r in rollouts} == {"trained", "failed"}
    assert {r["correct"] for r in rollouts} >= {True, False}
    assert {r["flipped"] for r in rollouts} == {True, False}
    steps = [r["step"] for r in rollouts]
    assert steps == sorted(steps, reverse=True) and {1, 12} <= set(steps)
    assert len({r["trajectory_id"] for r in rollouts}) == len(rollouts)


def test_tokens_carry_the_stored_numbers(text: str, run: RunFolder) -> None:
    shown = next(r for r in Page(text).data["rollouts"] if r["step"] == 12)
    row = next(r for r in run.rollouts(12).to_pylist() if r["trajectory_id"] == shown["trajectory_id"])
    start = row["sampled_mask"].index(True)
    assert len(shown["tokens"]) == sum(row["sampled_mask"])
    for offset, (token, sampled, value, quantiles, advantage, logprob) in enumerate(shown["tokens"]):
        t = start + offset
        assert token == row["tokens"][t] and sampled
        assert value == pytest.approx(row["value_mean"][t], rel=1e-4)
        assert quantiles == pytest.approx(row["value_quantiles"][t], rel=1e-4, abs=1e-9)
        assert quantiles == sorted(quantiles)
        assert logprob == pytest.approx(row["behavior_logprobs"][t], rel=1e-4)
        if advantage is not None:
            assert advantage == pytest.approx(row["advantage"][t], rel=1e-4)


def test_curves_are_the_metrics_and_carry_their_sentences(text: str, run: RunFolder) -> None:
    data = Page(text).data
    charts = data["learning"] + data["critic"] + data["drift"]
    drawn = {s["metric"]: s for chart in charts for s in chart["series"]}
    assert {"reward/told", "reward/clean", "policy/entropy", "critic/explained_variance_clean"} <= set(drawn)
    for name, series in drawn.items():
        assert series["sentence"] == GLOSSARY[name].sentence
        stored = [line.get(name) for line in run.metrics()]
        expected = [None if math.isnan(x) else pytest.approx(x, rel=1e-4, abs=1e-12) for x in stored]
        assert series["values"] == expected


def test_the_first_screen_names_how_each_accuracy_was_decoded(text: str) -> None:
    words = " ".join(Page(text).words)
    assert "held-out accuracy, at temperature 1" in words and "40.0% → 70.0%" in words and "+30.0 points" in words
    assert "greedy" in words and "50.0% [40.0%, 60.0%]" in words


def test_gains_pair_the_first_and_the_last_policy(run: RunFolder, text: str) -> None:
    (gain,) = gains(load_evaluations(run.path))
    assert (gain.before, gain.after, gain.prompts, gain.how) == ("before", "after", 100, "at temperature 1")
    assert gain.interval.estimate == pytest.approx(0.3) and 0.2 < gain.interval.low < 0.3 < gain.interval.high < 0.4


def test_evaluations_come_back_equal_and_bad_names_are_refused(tmp_path: Path, run: RunFolder) -> None:
    report = evaluation(33, 5, 0.0)
    (tmp_path / "run.json").write_text("{}")
    save_evaluation(tmp_path, "held_out-greedy", report)
    (loaded,) = load_evaluations(tmp_path)
    assert loaded.name == "held_out-greedy" and loaded.report == report
    with pytest.raises(ValueError, match="cannot be named"):
        save_evaluation(tmp_path, "../escape", report)


def test_a_result_holds_the_curves(run: RunFolder) -> None:
    result = load_result(run.path)
    curve = next(c for c in result.curves if c.metric == "reward/told")
    assert (result.recipe, result.seed, curve.steps) == ("dvpo", 7, tuple(range(1, 13)))
    assert list(curve.values) == [line["reward/told"] for line in run.metrics()]


def test_a_run_without_steps_still_has_a_report(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", MANIFEST, "").close()
    page = Page(write_report(tmp_path / "run").read_text())
    assert page.data["rollouts"] == [] and page.data["learning"] == []


def test_value_bins_by_hand() -> None:
    rows = [(np.array([0.05, 0.95]), 1.0), (np.array([0.01, -0.3]), 0.0), (np.array([0.5]), math.nan)]
    low, high = bin_by_value(rows, 0.0, 1.0)
    assert (low.value, low.outcome, low.tokens, low.trajectories) == (pytest.approx(-0.08), pytest.approx(1 / 3), 3, 2)
    assert (high.value, high.outcome, high.tokens, high.trajectories) == (0.95, 1.0, 1, 1)


def test_place_bins_by_hand() -> None:
    bins = bin_by_place([np.array([0.0, 1.0]), np.array([0.5, 0.5, 0.5]), np.array([7.0])], bins=2)
    assert [(b.place, b.value, b.trajectories) for b in bins] == [(0.0, 0.25, 2), (0.5, 0.5, 2), (1.0, 0.75, 2)]


def test_kinds_are_spread_and_steps_even() -> None:
    kinds = [(True, False, True)] * 8 + [(False, False, True), (False, True, True), (True, False, False)]
    assert spread_kinds(kinds, 5) == [0, 1, 8, 9, 10]
    assert spread_kinds(kinds, 2) == [9, 10]  # what was dropped and what was flipped come first
    assert spread_kinds(kinds, 50) == list(range(11))
    assert shown_steps(range(1, 102), 6) == (1, 21, 41, 61, 81, 101)
    assert shown_steps((3, 4), 6) == (3, 4)


def test_thinning_averages_and_skips_what_is_missing() -> None:
    assert thin([1.0, 3.0, math.nan, 5.0, 7.0], 2) == (2.0, 5.0, 7.0)
    assert math.isnan(thin([math.nan, math.nan], 2)[0])


def test_few_long_answers_stay_small(run: RunFolder) -> None:
    assert sum(len(rollout.tokens) for rollout in pick_rollouts(run).rollouts) <= TOKEN_BUDGET


def test_two_decimals_have_no_minus_before_zero() -> None:
    assert (fixed(-0.001), fixed(-0.016), fixed(0.125)) == ("0.00", "-0.02", "0.12")
