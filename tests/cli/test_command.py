"""The command line: every verb is found, every mistake is answered with what to write instead, and with exit 2."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from critica.cli import main as command
from critica.cli.choice import Choice, free_folder, settings_of
from critica.cli.failures import explain, resume_hint
from critica.cli.main import VERBS, flag_names, main, parse
from critica.cli.output import table
from critica.cli.resume import Resume
from critica.cli.train import Train
from critica.recipes.coercion import ConfigError
from critica.records.checks import RecordError
from critica.store.errors import CorruptCheckpoint, DiskFull, NotARun, RunFolderBusy


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_overview_lists_every_verb(capsys) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in VERBS)
    assert main([]) == 2


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_explains_itself_with_an_example(name: str, capsys) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"critica {name}" in out and "Example" in out


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("trian dvpo", ["no verb 'trian'", "nearest is 'train'", "doctor"]),
        ("train dvpo --stps 4", ["no option --stps", "nearest is '--steps'", "--run"]),
        ("train dvpo --recipe x", ["no option --recipe"]),
        ("train dvpo --steps many", ["--steps", "whole number of at least 1", "'many'"]),
        ("train dvpo --steps 0", ["whole number of at least 1"]),
        ("train dvpo --seed=-1", ["whole number of at least 0"]),
        ("train", ["RECIPE"]),
        ("evaluate pico --temperature hot", ["--temperature", "hot"]),
        ("compare one", ["compare needs two runs or more"]),
        ("policy make giant", ["critica policy make pico"]),
        ("recipes shw dvpo", ["critica recipes show NAME"]),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_write(line: str, parts: list[str], capsys) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for part in parts:
        assert part in captured.err
    assert "Traceback" not in captured.err


def test_flags_become_settings_and_explicit_settings_win() -> None:
    words = [
        "dvpo",
        "--policy",
        "pico",
        "--steps",
        "30",
        "--seed",
        "0",
        "--set",
        "steps=40",
        "--set",
        "critic.quantiles=8",
    ]
    verb = parse("train", words)
    assert isinstance(verb, Train)
    assert settings_of(verb.choice) == ["policy.path=pico", "steps=30", "seed=0", "steps=40", "critic.quantiles=8"]
    assert settings_of(Choice(recipe="dvpo")) == []


def test_options_do_not_name_positional_words() -> None:
    names = flag_names(Train)
    assert "recipe" not in names and {"policy", "steps", "set", "run", "json"} <= set(names)


@dataclass(frozen=True)
class Verb:
    """A verb that fails as told."""

    error: BaseException

    def __call__(self) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "part", "traced"),
    [
        (ConfigError("critic.quantiles: expected int"), 2, "critic.quantiles: expected int", False),
        (NotARun("runs/x does not exist"), 2, "runs/x does not exist", False),
        (RunFolderBusy("runs/x already holds a run"), 2, "already holds a run", False),
        (FileNotFoundError(2, "No such file", "a.toml"), 2, "there is no file a.toml", False),
        (CorruptCheckpoint("step_3 is damaged"), 1, "step_3 is damaged", False),
        (DiskFull(Path("runs/x"), 10, "runs/x"), 1, "the disk is full", False),
        (MemoryError("needs 9 GiB"), 1, "needs 9 GiB", False),
        (KeyboardInterrupt(), 1, "stopped at once", False),
        (RecordError("TokenBatch: a sampled token is padding"), 1, "a sampled token is padding", True),
        (ModuleNotFoundError("No module named 'minigrid'", name="minigrid"), 1, "make setup", False),
        (ModuleNotFoundError("No module named 'critica.x'", name="critica.x"), 1, "critica.x", True),
        (ValueError("surprise"), 1, "surprise", True),
        (KeyError("surprise"), 1, "surprise", True),
    ],
)
def test_failures_become_a_sentence_and_a_status(error, status, part, traced, capsys, monkeypatch) -> None:
    monkeypatch.setattr(command, "parse", lambda name, rest: Verb(error))
    assert main(["train"]) == status
    err = said(capsys)
    assert part in err and ("Traceback" in err) is traced


def test_a_failed_run_says_where_it_can_be_resumed(tmp_path: Path, capsys) -> None:
    verb = Resume(run=str(tmp_path))
    assert resume_hint(verb) == ""
    (tmp_path / "run.json").write_text("{}")
    assert "from its beginning" in resume_hint(verb)
    (tmp_path / "checkpoints" / "step_3").mkdir(parents=True)
    assert explain(RuntimeError("lost"), "resume", verb) == 1
    assert f"critica resume {tmp_path}" in said(capsys)
    assert explain(RunFolderBusy("taken"), "resume", verb) == 2
    assert said(capsys) == "critica resume: taken\n"


def test_a_default_run_folder_is_never_one_that_exists(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("dvpo", 1) == Path("runs/dvpo-seed1")
    Path("runs/dvpo-seed1").mkdir(parents=True)
    Path("runs/dvpo-seed1-2").mkdir()
    assert free_folder("dvpo", 1) == Path("runs/dvpo-seed1-3")


def test_version_is_json_on_stdout_alone(capsys) -> None:
    assert main(["version", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["python"].startswith("3.") and captured.err == ""


def test_columns_align() -> None:
    assert table([("a", "long head"), ("longer", "b")]).splitlines() == ["a       long head", "longer  b"]


def test_the_installed_command_runs() -> None:
    """Through a real process once: arguments, exit status, and which stream says what."""
    code = "from critica.cli.main import entry; entry()"
    source = str(Path(command.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, "trian"], capture_output=True, text=True, env={"PYTHONPATH": source}
    )
    assert (done.returncode, done.stdout) == (2, "") and "nearest is 'train'" in done.stderr
