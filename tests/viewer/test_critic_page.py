"""The audit's page: whole, offline, and safe against what it shows."""

import json
import math
import re

from critica.records.critic_report import (
    AuditedState,
    CriticReport,
    PanelRow,
    Price,
    Reading,
    ReliabilityBin,
    Slice,
)
from critica.viewer.critic_page import render_critic_page, write_critic_page

NAMES = ("bias", "mse", "mae", "explained_variance", "within_mae", "within_explained", "rank_within")


def report(task_id="t</script>1") -> CriticReport:
    def row(name):
        readings = tuple(Reading(n, 0.125 if n != "rank_within" else math.nan, 0.1, 0.2, 0.0) for n in NAMES)
        return PanelRow(name, "about it", readings)

    part = (Slice("0–10%", 2, 0.5, 0.6, 0.01, math.nan, 0.2),)
    return CriticReport(
        "runs/first", "ScalarCritic", "Point", "the run's own", "pico <b>", "none", 7, 5, 1, 8, 32, "32 continuations",
        0, 0.0, 1.0, True, (row("critic"), row("group mean"), row("prompt value")), part, part,
        (ReliabilityBin(0.5, 0.6, 0.1, 2),), (("critic/feature_rank", 3.5),), Price(0.5, 1.0, 1000, 10, 0.1),
        (AuditedState(task_id, 0, 1, 4, 0.5, 0.4, 0.6, 0.1), AuditedState("t2", 1, 2, 4, 0.5, 0.4, 0.6, 0.1)),
    )  # fmt: skip


def test_the_page_holds_the_numbers_and_asks_no_network(tmp_path):
    path = write_critic_page(report(), tmp_path / "deep" / "critic.html")
    page = path.read_text()
    assert "pico &lt;b&gt;" in page and "pico <b>" not in page
    assert "0.125" in page and "[0.100, 0.200]" in page and "500 µs/token" in page and "+2 updates" in page
    assert "has seen the outcome" in page and "%%" not in page.split("<script>")[0]
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="https?:', page.split("<script>")[0])


def test_its_data_cannot_end_the_script_and_is_strict():
    page = render_critic_page(report())
    raw = re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1)
    data = json.loads(raw)
    assert data["states"][0]["task_id"] == "t</script>1" and data["prompts"] == [0, 1]
    assert data["by_place"][0]["explained_variance"] is None
