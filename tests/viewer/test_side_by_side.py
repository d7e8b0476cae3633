"""Runs side by side: what differs in the settings, every curve of both, and nothing that reaches out of the page."""

import json
import re

import pytest
from synthetic_run import synthetic_run

from critica.store.run_folder import RunFolder
from critica.viewer.page import Table
from critica.viewer.side_by_side import leaves, shared_prompts, write_side_by_side


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same steps whose configs differ in one value."""
    made = []
    for name, rate in (("one", 0.1), ("two", 0.2)):
        folder = tmp_path_factory.mktemp("runs") / name
        synthetic_run(folder, steps=12)
        (folder / "config.toml").write_text(f'name = "x"\n[noise]\nuse = "flip"\nrate = {rate}\n')
        made.append(folder)
    return made


def test_only_what_differs_is_shown_and_every_curve_has_both_runs(runs, tmp_path):
    page = write_side_by_side(runs, tmp_path / "deep" / "page.html").read_text()
    settings = page.split("What differs in the settings")[1].split("</table>")[0]
    assert re.findall(r"<td>(.*?)</td>", settings) == ["noise.rate", "0.1", "0.2"]
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    told = next(chart for chart in data["charts"] if chart["title"] == "Reward: told")
    lines = list(RunFolder.open(runs[0]).metrics())
    assert [run["steps"] for run in told["runs"]] == [[line.step for line in lines]] * 2
    assert told["runs"][0]["values"] == pytest.approx([line["reward/told"] for line in lines], rel=1e-4)
    assert data["names"] == ["one", "two"]


def test_what_a_policy_wrote_stays_text_and_nothing_is_fetched(runs, tmp_path):
    evil = Table("<script>alert(1)</script>", "", ("<b>",), (("<img src=x onerror=alert(1)>",),))
    page = write_side_by_side(runs, tmp_path / "page.html", [evil]).read_text()
    assert "<img" not in page and "<script>alert" not in page and "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="?https?:', page.split('id="data"')[0])


def test_prompts_that_both_were_asked_stand_side_by_side(runs):
    shared = shared_prompts([RunFolder.open(run) for run in runs])
    assert shared and all(len(answers) == 2 and answers[0] and answers[1] for _, _, answers in shared)


def test_nested_tables_are_read_by_path():
    nested = {"a": 1, "b": {"c": [1, 2], "d": [{"e": 3}, {"e": 4}]}}
    assert leaves(nested) == [("a", 1), ("b.c", [1, 2]), ("b.d.0.e", 3), ("b.d.1.e", 4)]


def test_one_run_has_nothing_beside_it(runs, tmp_path):
    with pytest.raises(ValueError, match="2 to 6"):
        write_side_by_side(runs[:1], tmp_path / "page.html")
