"""The report in a headless browser: every question's click path ends at the numbers that the run folder holds."""

import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, find_chromium
from looks import CONTRAST, FOCUS, IN_VIEW, STICKS_OUT
from synthetic_run import synthetic_run
from test_critic_page import report as audit

from critica.records.outcome import Interval, OutcomeReport, PromptOutcome
from critica.store.evaluations import save_evaluation
from critica.store.run_folder import RunFolder
from critica.viewer.critic_page import write_critic_page
from critica.viewer.report import write_report
from critica.viewer.side_by_side import write_side_by_side

STEPS = 24
LAST = range(STEPS - 9, STEPS + 1)
pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")


def evaluation(right: set[int], version: int) -> OutcomeReport:
    """Twenty prompts, of which those named are right."""
    prompts = tuple(
        PromptOutcome(f"t{i}", "sums" if i < 10 else "legs", 1, int(i in right), 0, 20, f"prompt number {i}?")
        for i in range(20)
    )
    interval = Interval(len(right) / 20, 0.1, 0.9, "wilson over prompts")
    return OutcomeReport("chain_sum", 1.0, 1, 32, 0, version, interval, (), (), 20.0, 0.0, 0, prompts)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = synthetic_run(tmp_path_factory.mktemp("browser") / "run", steps=STEPS)
    save_evaluation(folder.path, "before", evaluation({0, 1, 2, 3}, 0))
    save_evaluation(folder.path, "after", evaluation({2, 3, *range(8, 15)}, STEPS))
    write_report(folder.path)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    path = find_chromium()
    assert path is not None
    folder = tmp_path_factory.mktemp("chromium")
    browser = Browser(path, folder)
    yield browser
    browser.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def opened(browser: Browser, run: RunFolder) -> Browser:
    browser.open(run.path / "report.html")
    return browser


@pytest.fixture
def page(opened: Browser) -> Browser:
    """The report as a reader first sees it."""
    opened.look()
    opened.run("filter('all'); openAnswer(0); color('value'); document.activeElement.blur(); scrollTo(0, 0)")
    return opened


def rows_of(run: RunFolder, steps=LAST) -> list[dict]:
    return [row | {"step": step} for step in steps for row in run.rollouts(step).to_pylist()]


def cells(page: Browser, section: str) -> list[list[str]]:
    """The texts of a section's table rows."""
    found = page.run(
        f"[...document.querySelectorAll('#{section} tr')].map(r => [...r.children].map(c => c.innerText.trim()))"
    )
    return [row for row in found if row]


def ask(page: Browser, name: str, section: str) -> None:
    """Press a question's card; its evidence must be in view."""
    page.click(f"#ask-{name}")
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.run(IN_VIEW.format(selector=json.dumps(f"#{section} h2"))), section


def test_nothing_complains_and_nothing_is_asked_for(opened: Browser) -> None:
    opened.run("document.querySelector('#learning').scrollIntoView(); new Promise(done => setTimeout(done, 500))")
    assert opened.run("document.querySelectorAll('#learning .plot').length") == 3
    assert opened.run("document.querySelectorAll('#learning .plot:has(svg.main-svg)').length") == 3
    opened.run("drawAll()")
    assert opened.run("document.querySelectorAll('.plot').length") >= 12
    assert opened.run("document.querySelectorAll('.plot:not(:has(svg.main-svg))').length") == 0
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(page: Browser, dark: bool) -> None:
    page.look(dark=dark)
    page.run("drawAll(); document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for coloring in ("value", "change", "advantage", "logprob"):
        page.run(f"color('{coloring}'); select(3); new Promise(done => setTimeout(done, 50))")
        found = page.run(CONTRAST)
        assert found["count"] > 400
        assert found["bad"] == []
    page.run("document.querySelectorAll('details').forEach(d => { d.open = false; })")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_sideways(page: Browser, width: int) -> None:
    page.look(width, 844)
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.run("all[open].rule = 'weighted(standardized(quantile_gae))'; draw(all[open]); paint(); select(2)")
    found = page.run(STICKS_OUT.replace("WIDTH", str(width)))
    page.run("document.querySelectorAll('details').forEach(d => { d.open = false; })")
    assert found["wide"] == [] and found["page"] <= width


def test_is_the_critic_any_good(page: Browser, run: RunFolder) -> None:
    """1 click."""
    told, clean, value = (np.array(column) for column in zip(*(
        (row["reward_told"], row["reward_clean"], v)
        for row in rows_of(run) if row["reward_told"] is not None
        for v, s in zip(row["value_mean"], row["sampled_mask"], strict=True) if s
    ), strict=True))  # fmt: skip
    ask(page, "critic", "critic")
    critic = next(row for row in cells(page, "critic") if row[0] == "the critic")
    assert critic[1] == f"{((value - told) ** 2).mean():.3f}" and critic[2] == f"{((value - clean) ** 2).mean():.3f}"
    assert critic[4] == f"{1 - (clean - value).var() / clean.var():.2f}"
    assert f"{((value - clean) ** 2).mean():.3f}" in page.run("document.querySelector('#critic .answer').innerText")


def test_where_is_it_surprised(page: Browser, run: RunFolder) -> None:
    """2 clicks: the question, the token; then its numbers are in view beside its answer."""
    best = max(
        (abs(b - a), b - a, row["trajectory_id"], t)
        for row in rows_of(run)
        for t, (a, b) in enumerate(zip(row["value_mean"], row["value_mean"][1:], strict=False))
        if row["sampled_mask"][t] and row["sampled_mask"][t + 1]
    )
    ask(page, "surprise", "surprise")
    first = "document.querySelector('#surprise .jump')"
    assert page.run(f"{first}.querySelector('b').innerText") == f"{best[1]:+.2f}"
    page.click("#surprise .jump")
    stored = next(row for row in rows_of(run) if row["trajectory_id"] == best[2])
    assert page.run("all[open].trajectory_id") == best[2]
    assert page.run("document.querySelector('#text .on').textContent") == stored["tokens"][best[3]]
    lines = page.run("[...document.querySelectorAll('#token tr')].map(r => [...r.children].map(c => c.innerText))")
    numbers = {line[0]: line[1] for line in lines}
    assert float(numbers["value"]) == pytest.approx(stored["value_mean"][best[3]], abs=6e-4)
    assert float(numbers["surprise"]) == pytest.approx(best[1], abs=1.1e-3)
    assert page.run("document.querySelector('#coloring [data-to=change]').getAttribute('aria-pressed')") == "true"


def test_why_did_this_answer_get_its_advantage(page: Browser, run: RunFolder) -> None:
    """2 clicks: the question, an answer."""
    ask(page, "credit", "answers")
    page.click("#list .option:nth-child(3)")
    name = page.run("all[open].trajectory_id")
    row = next(row for row in rows_of(run) if row["trajectory_id"] == name)
    mates = [r for r in rows_of(run, [row["step"]]) if r["group_id"] == row["group_id"]]
    others = [r["reward_told"] for r in mates if r["trajectory_id"] != name and r["reward_told"] is not None]
    lines = page.run("[...document.querySelectorAll('.arithmetic tr')].map(r => [...r.children].map(c => c.innerText))")
    shown = {line[0]: line[1] for line in lines}
    first = row["sampled_mask"].index(True)
    credit = np.mean([a for a, m in zip(row["advantage"], row["trained_mask"], strict=True) if m])
    assert float(shown["clean reward"]) == row["reward_clean"] and float(shown["told"]) == row["reward_told"]
    assert float(shown["said"]) == row["reward_said"]
    assert float(shown["expected"]) == pytest.approx(row["value_mean"][first], abs=6e-4)
    assert float(shown["credit"]) == pytest.approx(credit, abs=6e-4)
    assert float(shown["its siblings"]) == pytest.approx(np.mean(others), abs=6e-4)
    assert page.run("document.querySelectorAll('#detail tr.me').length") == 1
    assert page.run("document.querySelectorAll('#detail tr:has(.mark)').length") == len(mates)


def test_what_was_the_clean_reward(page: Browser, run: RunFolder) -> None:
    """1 click: the answers that noise changed, each with both rewards."""
    ask(page, "clean", "answers")
    assert page.run("document.querySelector('#kind [data-to=flipped]').getAttribute('aria-pressed')") == "true"
    shown = page.run("shown.map(n => [all[n].trajectory_id, all[n].step])")
    stored = {row["trajectory_id"]: row for row in rows_of(run, range(1, STEPS + 1))}
    assert shown and all(stored[name]["flipped"] for name, _ in shown)
    row = stored[shown[0][0]]
    badges = page.run("[...document.querySelectorAll('#detail .badge')].map(b => b.innerText)")
    assert f"told {row['reward_told']:.2f}" in badges and f"clean {row['reward_clean']:.2f}" in badges
    assert row["reward_told"] == 1 - row["reward_clean"]


def test_what_did_noise_do(page: Browser, run: RunFolder) -> None:
    """1 click."""
    ask(page, "noise", "noise")
    table = {row[0]: row[1:] for row in cells(page, "noise")}
    for name, flipped in (("told the truth", False), ("changed by noise", True)):
        rows = [r for r in rows_of(run) if r["ledger_state"] == "trained" and r["flipped"] == flipped]
        credit = [np.mean(np.array(r["advantage"])[r["trained_mask"]]) for r in rows]
        down = sum(r["correct"] and c < 0 for r, c in zip(rows, credit, strict=True))
        up = sum(not r["correct"] and c > 0 for r, c in zip(rows, credit, strict=True))
        assert table[name] == [str(len(rows)), str(down), str(up), f"{100 * (down + up) / len(rows):.1f}%"]


def test_which_samples_were_dropped_and_why(page: Browser, run: RunFolder) -> None:
    """2 clicks: the question, the reason."""
    lost = [line for line in run.ledger() if line["state"] == "failed" and line["kind"] == "sample"]
    ask(page, "dropped", "dropped")
    row = next(row for row in cells(page, "dropped") if row[0] == "failed")
    assert row[1].startswith("the scorer timed out after 5 s") and row[2] == str(len(lost)) and lost
    page.click("#dropped details summary")
    named = page.run("document.querySelector('#dropped details[open]').innerText")
    assert str(lost[-1]["trajectory_id"]) in named
    page.click("#dropped details summary")
    filtered = Counter(str(line["state"]) for line in run.ledger() if line["kind"] == "prompt")["filtered"]
    assert next(row for row in cells(page, "dropped") if row[0] == "filtered")[3] == str(filtered)


def test_is_the_policy_drifting(page: Browser, run: RunFolder) -> None:
    """1 click."""
    ask(page, "drift", "drift")
    lines = list(run.metrics())
    signs = {row[0]: row for row in cells(page, "drift")}
    for name in ("policy/entropy", "policy/kl_reference", "accuracy/sampled"):
        first, last = (np.mean([line[name] for line in part]) for part in (lines[:10], lines[-10:]))
        assert signs[name][2:4] == [f"{first:.4g}", f"{last:.4g}"]
        assert signs[name][1].startswith("no")


def test_which_tasks_improved(page: Browser) -> None:
    """2 clicks: the question, the prompts."""
    ask(page, "tasks", "tasks")
    assert "7 of 20 held-out prompts better, 2 worse" in page.run("document.querySelector('#tasks .answer').innerText")
    table = {row[0]: row[1:] for row in cells(page, "tasks")}
    assert table["legs"] == ["10", "0.0%", "50.0%", "+50.0"] and table["sums"] == ["10", "40.0%", "40.0%", "+0.0"]
    page.click("#tasks details summary")
    lists = page.run("[...document.querySelectorAll('#tasks .prompts')].map(l => l.innerText)")
    assert "0 → 1 prompt number 12?" in lists[0] and "1 → 0 prompt number 1?" in lists[1]
    page.click("#tasks details summary")


def test_where_did_the_time_go(page: Browser, run: RunFolder) -> None:
    """1 click."""
    ask(page, "time", "time")
    spent = [line.values for line in run.timing()]
    total = math.fsum(sum(one.values()) for one in spent)
    share = math.fsum(one["gather"] for one in spent) / total
    assert next(row for row in cells(page, "time") if row[0] == "gather")[2] == f"{100 * share:.1f}%"


def test_what_changed_between_two_runs_begins_with_a_command(page: Browser, run: RunFolder) -> None:
    """1 click; the command writes the page of the test below."""
    ask(page, "compare", "compare")
    command = page.run("document.querySelector('#command').innerText")
    assert re.fullmatch(rf"critica compare '?{re.escape(str(run.path))}'? OTHER_RUN --html \S+", command)


def test_the_page_is_walked_with_the_keyboard_alone(page: Browser) -> None:
    page.run("document.body.tabIndex = -1; document.body.focus()")
    page.press("Tab")
    seen = [page.run(FOCUS)]
    assert seen[0]["tag"] == "A" and seen[0]["href"] == "#top"
    while len(seen) < 160 and seen[-1]["id"] != "copy":
        page.press("Tab")
        seen.append(page.run(FOCUS))
    assert [item for item in seen if not item["outline"] or not item["seen"]] == []
    names = [item["id"] for item in seen]
    asked = [name for name in names if name.startswith("ask-")]
    assert len(asked) == 10 and {"list", "text", "copy"} <= set(names)
    assert names.index("ask-critic") < names.index("list") < names.index("text") < names.index("copy")


def test_answers_and_tokens_are_stepped_through_with_arrows(page: Browser) -> None:
    page.run("document.querySelector('#list').focus()")
    page.press("ArrowDown", times=2)
    assert page.run("open") == page.run("shown[2]")
    assert page.run("document.querySelector('[aria-selected=true]').id") == f"option-{page.run('open')}"
    page.press("ArrowUp")
    assert page.run("open") == page.run("shown[1]")
    page.press("End")
    assert page.run("open") == page.run("shown[shown.length - 1]")
    page.press("Enter")
    assert page.run("document.activeElement.id") == "text"
    page.press("ArrowRight", times=3)
    assert page.run("[...document.querySelector('#text').children].findIndex(s => s.className.includes('on'))") == 2
    value = page.run("all[open].tokens[2][2]")
    assert f"{value:.3f}" in page.run("document.querySelector('#token').innerText")
    page.press("Escape")
    assert page.run("document.activeElement.id") == "list"
    assert page.run("document.querySelectorAll('#text .on').length") == 0


def test_runs_side_by_side(browser: Browser, run: RunFolder, tmp_path: Path) -> None:
    """What differs stands first; every curve has both runs; the tasks that came out differently are named."""
    other = tmp_path / "other"
    shutil.copytree(run.path, other)
    (other / "config.toml").write_text('recipe = "dvpo"\nseed = 5\n')
    save_evaluation(other, "after", evaluation({2, 3, 4}, STEPS))
    browser.open(write_side_by_side([run.path, other], tmp_path / "both.html"))
    said = browser.run("document.querySelector('.answer').innerText")
    assert said.startswith("Settings that differ: seed;")
    assert "run 45.0%, other 15.0%" in said
    browser.click("a[href='#tasks']")
    assert ["legs", "at temperature 1", "10", "50.0%", "0.0%", "-50.0"] in cells(browser, "tasks")
    assert_readable(browser)


def test_a_critics_page(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_critic_page(audit(), tmp_path / "critic.html"))
    browser.run("drawAll()")
    assert browser.run("document.querySelectorAll('.plot:has(svg.main-svg)').length") == 6
    assert_readable(browser)


def assert_readable(browser: Browser) -> None:
    """In both color schemes and on a phone, without a complaint."""
    for dark in (False, True):
        browser.look(dark=dark)
        assert browser.run(CONTRAST)["bad"] == []
    browser.look(390, 844)
    found = browser.run(STICKS_OUT.replace("WIDTH", "390"))
    assert found["wide"] == [] and found["page"] <= 390
    assert browser.complaints == []
