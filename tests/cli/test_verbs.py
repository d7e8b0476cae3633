"""Verbs through the whole program: a run is trained, resumed, evaluated, compared and reported."""

import json
import os
from pathlib import Path

import pytest

from critica.cli.checks import TESTED_TORCH, all_findings, check_disk, check_threads
from critica.cli.main import main

SMALL = ["--environment", "digit_sum", "--set", "sampling.prompts_per_step=2", "--set", "sampling.samples_per_prompt=2",
         "--set", "threads=1", "--set", "held_out.prompts=4", "--set", "sampling.max_new_tokens=8"]  # fmt: skip


def answer(capsys: pytest.CaptureFixture[str]) -> object:
    """What stdout held, as JSON: nothing else may be there."""
    return json.loads(capsys.readouterr().out)


def test_the_catalogue_as_json(capsys) -> None:
    assert main(["recipes", "--json"]) == 0
    entries = answer(capsys)
    names = ["reinforce", "rloo", "grpo", "dr_grpo", "dapo", "ppo", "vc_ppo", "dvpo"]
    assert [entry["name"] for entry in entries][: len(names)] == names
    assert all({"name", "title", "paper", "wing", "status"} == set(entry) for entry in entries)


def test_a_shown_recipe_is_a_valid_recipe(tmp_path: Path, capsys) -> None:
    assert main(["recipes", "show", "dvpo"]) == 0
    file = tmp_path / "mine.toml"
    file.write_text(capsys.readouterr().out)
    assert main(["recipes", "show", str(file), "--json"]) == 0
    mine = answer(capsys)
    assert main(["recipes", "show", "dvpo", "--json"]) == 0
    assert answer(capsys)["config"] == mine["config"]


def test_plan_derives_without_training(capsys) -> None:
    words = [
        "plan",
        "dvpo",
        "--steps",
        "10",
        "--set",
        "sampling.prompts_per_step=3",
        "--set",
        "sampling.samples_per_prompt=5",
    ]
    assert main([*words, "--json"]) == 0
    found = answer(capsys)
    assert found["trajectories_per_step"] == 15 and found["config"]["steps"] == 10
    assert main(words) == 0
    assert "clipping can never bind" in capsys.readouterr().out


def test_a_run_from_the_command_line(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # verbs take every core they see
    run = str(tmp_path / "run")
    assert main(["train", "grpo", "--steps", "2", "--run", run, "--noise", "flip:0.2:group", "--json", *SMALL]) == 0
    trained = answer(capsys)
    assert (trained["finished"], trained["step"], trained["samples"]) == (True, 2, 8)
    assert [report["how"] for report in trained["after"]] == ["at temperature 1", "greedy"]

    assert main(["train", "grpo", "--run", run, *SMALL]) == 2
    assert "already holds a run" in capsys.readouterr().err

    assert main(["resume", run, "--steps", "3", "--json"]) == 0
    assert answer(capsys)["step"] == 3

    assert main(["evaluate", run, "--prompts", "4", "--samples", "2", "--json"]) == 0
    report = answer(capsys)
    assert len(report["prompts"]) == 4 and [item["k"] for item in report["pass_at_k"]] == [1, 2]

    assert main(["compare", run, run, "--json"]) == 0
    assert any(item["interval"]["estimate"] == 0 for item in answer(capsys)["differences"])

    assert main(["report", run]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.name == "report.html" and page.stat().st_size > 10_000

    assert main(["plan", f"{run}/config.toml", "--json"]) == 0
    assert answer(capsys)["config"]["noise"] == {
        "use": "flip", "rate_low_to_high": 0.2, "rate_high_to_low": 0.2, "unit": "group"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("train dvpp", "nearest is 'dvpo'"),
        ("train dvpo --environment pica", "nearest is 'pico'"),
        ("train dvpo --policy pica", "nearest name is 'pico'"),
        ("train dvpo --noise flip:2:group", "between 0 and 1"),
        ("train dvpo --set critic.quantils=3", "nearest is 'quantiles'"),
        ("train dvpo --set steps=0", "at least 1"),
        ("train missing.toml", "there is no file"),
        ("resume nowhere", "nowhere does not exist"),
        ("report nowhere", "nowhere does not exist"),
        ("evaluate nowhere", "no run folder"),
        ("evaluate pico --temperature 0 --samples 4", "same answer 4 times"),
        ("evaluate pico --temperature=-1", "0 (greedy) or above"),
        ("compare nowhere elsewhere", "nowhere does not exist"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(line: str, part: str, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert part in captured.err and "Traceback" not in captured.err and captured.out == ""
    assert not (tmp_path / "runs").exists()


def test_doctor_reads_this_machine(root: Path, tmp_path: Path, monkeypatch) -> None:
    findings = {finding.name: finding for finding in all_findings(tmp_path)}
    assert findings["python"].state == "good" and findings["torch"].fact.startswith("2.")
    assert all(finding.fix for finding in findings.values() if finding.state != "good")
    assert f"torch=={TESTED_TORCH}" in (root / "constraints.txt").read_text()
    assert str(tmp_path) in check_disk(tmp_path).fact
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert check_threads().state == "warning"
