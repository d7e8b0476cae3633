"""The speed bench's arithmetic, its resumable journal, its view of neighbors, and its plan; nothing is timed here."""

import json
import os
import py_compile
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from critica.benches.catalogue import BENCHES
from critica.benches.contest import Contender, Match, run_match, settled
from critica.benches.machine import source_digest
from critica.benches.matches import PEERS, Field, matches_of, promises_of, tokens_per_step
from critica.benches.neighbors import Usage, machine_ticks, others, process_ticks, tree
from critica.benches.peers.task import make_scorer, reward
from critica.benches.ratios import Promise, judge, largest_deviation
from critica.benches.readings import Journal, Reading
from critica.benches.speed_table import scaling_of, speed_table, splits_of
from critica.benches.sums import RunningSums
from critica.recipes.config import ConfigError, apply_sets


def reading(contender: str, number: int, seconds: float, tokens: int = 100, disturbed: bool = False) -> Reading:
    return Reading(contender, number, 2, 2 * seconds, tokens, 100.0 * seconds, 0.5 if disturbed else 0.0, 1.0, "now")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "match.jsonl", "code-1")


def test_ratio_is_the_median_of_the_rounds_ratios(journal: Journal) -> None:
    """Rounds 1/1, 4/1, 9/3: median of ratios 3; the ratio of medians would be 4."""
    for number, (theirs, ours) in enumerate(((1.0, 1.0), (4.0, 1.0), (9.0, 3.0)), 1):
        journal.add(reading("trl", number, theirs))
        journal.add(reading("critica", number, ours))
    verdict = judge(Promise("t", "m", "trl", "critica", "seconds", "at least", 2.5), journal)
    assert verdict is not None
    assert (verdict.ratio, verdict.low, verdict.high, verdict.rounds) == (3.0, 1.0, 4.0, 3)
    assert verdict.kept is True
    assert judge(Promise("t", "m", "trl", "critica", "seconds", "at most", 2.5), journal).kept is False
    assert judge(Promise("t", "m", "trl", "critica", "seconds", "informative"), journal).kept is None
    memory = judge(Promise("t", "m", "critica", "trl", "peak_mib", "at most", 1.1), journal)
    assert memory is not None and memory.ratio == pytest.approx(1 / 3) and memory.kept is True


def test_faster_decoding_is_a_ratio_above_one(journal: Journal) -> None:
    journal.add(reading("hf", 1, 2.0, tokens=100))
    journal.add(reading("critica", 1, 1.0, tokens=150))
    verdict = judge(Promise("t", "m", "critica", "hf", "tokens_per_second", "at least", 2.0), journal)
    assert verdict is not None and verdict.ratio == pytest.approx(3.0)


def test_disturbed_rounds_are_left_out_while_there_are_others(journal: Journal) -> None:
    for number, disturbed in ((1, True), (2, False)):
        journal.add(reading("trl", number, 10.0 if disturbed else 3.0, disturbed=disturbed))
        journal.add(reading("critica", number, 1.0))
    promise = Promise("t", "m", "trl", "critica", "seconds", "at least", 2.0)
    verdict = judge(promise, journal)
    assert verdict is not None and (verdict.ratio, verdict.rounds, verdict.disturbed) == (3.0, 1, 1)


def test_loud_rounds_count_when_there_are_no_others(journal: Journal) -> None:
    journal.add(reading("trl", 1, 10.0, disturbed=True))
    journal.add(reading("critica", 1, 1.0))
    verdict = judge(Promise("t", "m", "trl", "critica", "seconds", "at least", 2.0), journal)
    assert verdict is not None and (verdict.ratio, verdict.disturbed) == (10.0, 1)
    assert judge(Promise("t", "m", "absent", "critica", "seconds", "at least", 2.0), journal) is None


def test_a_journal_goes_on_and_forgets_a_torn_line_and_other_code(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    first = Journal(path, "code-1")
    first.add_facts("a", {"torch": "2"})
    first.add(reading("a", 1, 1.0))
    with path.open("a") as file:
        file.write('{"reading": {"contender": "a", "rou')
    again = Journal(path, "code-1")
    assert again.readings == first.readings and again.facts == {"a": {"torch": "2"}}
    again.add(reading("a", 2, 2.0))
    assert [r.round for r in Journal(path, "code-1").readings] == [1, 2]
    assert Journal(path, "code-2").readings == []
    assert (tmp_path / "m.old.jsonl").is_file()


def test_a_round_is_done_when_every_contender_was_read(journal: Journal) -> None:
    match = Match("m", (Contender("a", ()), Contender("b", ())))
    journal.add(reading("a", 1, 1.0))
    assert journal.rounds_done(match.names) == []
    journal.add(reading("b", 1, 1.0))
    journal.add(reading("a", 2, 1.0, disturbed=True))
    journal.add(reading("b", 2, 1.0))
    assert journal.rounds_done(match.names) == [1, 2]
    assert journal.quiet_rounds(match.names) == [1]
    assert settled(match, journal, 1) and not settled(match, journal, 2)


CONTENDER = """
import sys
sys.path.insert(0, {peers!r})
from pacing import Pace
pace = Pace()
print("chatter that must not reach the answers")
pace.ready(who="{name}")
{body}
"""


def contender(name: str, body: str) -> Contender:
    return Contender(name, (sys.executable, "-c", CONTENDER.format(peers=str(PEERS), name=name, body=body)), units=3)


def test_contenders_are_read_in_turns_and_a_settled_match_is_not_run_again(tmp_path: Path) -> None:
    match = Match("m", (contender("a", "pace.serve(lambda: 7)"), contender("b", "pace.serve(lambda: 5)")))
    journal = Journal(tmp_path / "m.jsonl", "x")
    heard: list[str] = []
    run_match(match, journal, 1, 1, tmp_path, heard.append)
    first = [r for r in journal.readings if r.round == 1]
    assert [(r.contender, r.units, r.tokens) for r in first] == [("a", 3, 21), ("b", 3, 15)]
    assert journal.facts["a"]["who"] == "a"
    assert all(r.seconds > 0 and r.peak_mib > 0 for r in first)
    before = len(journal.readings)
    run_match(match, journal, 1, 1, tmp_path, heard.append)
    assert len(journal.readings) == before


def test_a_contender_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    from critica.benches.base import BenchFailed

    match = Match("m", (contender("a", "raise ValueError('out of luck')"),))
    with pytest.raises(BenchFailed, match=r"(?s)a ended early.*out of luck"):
        run_match(match, Journal(tmp_path / "m.jsonl", "x"), 1, 1, tmp_path, lambda text: None)


def test_others_are_what_the_machine_did_beyond_the_tree() -> None:
    assert others(Usage(100.0, 10.0), Usage(103.0, 11.0), 2.0) == pytest.approx(1.0)
    assert others(Usage(100.0, 10.0), Usage(101.0, 11.2), 2.0) == 0.0
    assert machine_ticks("cpu  1 2 4 100 200 8 16 32 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n") == 1 + 2 + 4 + 8 + 16 + 32


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_this_process_is_in_its_own_tree() -> None:
    assert os.getpid() in tree(os.getpid()) and os.getpid() in tree(os.getppid())
    assert process_ticks(os.getpid()) >= 0


def test_every_promise_names_contenders_that_meet() -> None:
    for size in ("1m", "5m"):
        field = Field(size, Path("policy"), 2, Path("py"), Path("py"), True)
        meeting = {match.name: match.names for match in matches_of(field)}
        for promise in promises_of(size):
            assert {promise.of, promise.to} <= set(meeting[promise.match]), promise.title
        alone = [m for m in matches_of(replace(field, grpo_peer=None, ppo_peer=None, generate_peer=False))]
        names = {name for match in alone for name in match.names}
        assert not any(name.startswith(("trl", "hf")) for name in names)
    assert tokens_per_step(128) == 65_536


def test_scaling_is_judged_by_its_worst_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "scaling-1m-forced.jsonl", "x")
    for number in (1, 2, 3):
        for tokens, microseconds in ((1024, 12.0), (2048, 10.0), (4096, 10.0)):
            seconds = 1e-6 * microseconds * tokens
            journal.add(Reading(str(tokens), number, 1, seconds, tokens, 1.0, 0.0, 0.0, "now"))
    scaling = scaling_of({"scaling-1m-forced": journal})
    assert scaling is not None
    assert scaling.microseconds_per_token == pytest.approx((12.0, 10.0, 10.0))
    assert scaling.deviation == pytest.approx(0.2) and not scaling.kept
    assert largest_deviation([10.0, 10.0, 8.0]) == pytest.approx(0.2)
    assert scaling_of({}) is None


def test_where_the_time_goes_is_per_step_and_adds_up(tmp_path: Path) -> None:
    """Two units in 4 s: 1 s of gather and 2.4 s of update leave 0.6 s; per step half of each."""
    journal = Journal(tmp_path / "family-1m-forced.jsonl", "x")
    made = Reading("ppo", 1, 2, 4.0, 10, 1.0, 0.0, 0.0, "now", {"gather": 1.0, "update": 2.4})
    journal.add(made)
    assert Journal(journal.path, "x").readings == [made]
    (split,) = splits_of({"family-1m-forced": journal}, ("1m", "5m"))
    assert split.contender == "ppo, 1m"
    assert split.stages == pytest.approx({"gather": 0.5, "update": 1.2, "rest": 0.3})


def test_the_table_says_pass_and_fail(journal: Journal) -> None:
    journal.add(reading("trl", 1, 3.0))
    journal.add(reading("critica", 1, 1.0))
    rules = (("at least", 2.5), ("at most", 2.5), ("informative", 0.0))
    found = [judge(Promise(rule, "m", "trl", "critica", "seconds", rule, bound), journal) for rule, bound in rules]
    machine = {
        "processor": "P", "cores": 2, "threads": 2, "python": "3", "commit": "c",
        "versions": {"torch": "2", "transformers": "5"},
    }  # fmt: skip
    verdicts = [("1m", verdict) for verdict in found if verdict]
    page = speed_table(machine, 1, {"1m": {"parameters": 1000}}, verdicts, None, failures=["x: y"])
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| ")}
    assert "**3.00** | ≥ 2.5 | pass" in rows["| at least"]
    assert "**3.00** | ≤ 2.5 | FAIL" in rows["| at most"]
    assert "- x: y" in page


def test_running_sums_are_right_and_scored_alike_everywhere() -> None:
    environment = RunningSums().build(3)
    for index in range(50):
        task = environment.candidate(index)
        expression = task.prompt.removesuffix("=")
        assert str(eval(expression)) == task.answer
        assert environment.demonstration(task).split(",")[-1] == task.answer
        assert environment.score(task, environment.demonstration(task)) == 1.0
        assert environment.score(task, environment.demonstration(task) + "0") == 0.0
    scorer = make_scorer({})
    assert scorer("9", {}, "4,9") == reward("4,9", "9") == 1.0 and scorer("9", {}, "9,4") == 0.0


def test_peer_scripts_compile_and_know_nothing_of_critica(tmp_path: Path) -> None:
    scripts = sorted(PEERS.glob("*.py"))
    assert {"hf_generate.py", "trl_grpo.py", "trl_ppo.py"} <= {script.name for script in scripts}
    for script in scripts:
        py_compile.compile(str(script), cfile=str(tmp_path / "out.pyc"), doraise=True)
        assert "import critica" not in script.read_text() and "from critica" not in script.read_text()


def test_settings_are_checked_and_changed() -> None:
    settings = BENCHES["speed"].settings
    changed = apply_sets(settings(), ["rounds=3", "only=grpo-1m,decode", "peers=false"], {})
    assert (changed.rounds, changed.only, changed.peers) == (3, ("grpo-1m", "decode"), False)
    with pytest.raises(ConfigError, match="rounds"):
        apply_sets(settings(), ["round=3"], {})
    with pytest.raises(ConfigError, match="at least 1"):
        apply_sets(settings(), ["rounds=0"], {})


def test_the_digest_sees_what_is_timed_and_nothing_else(tmp_path: Path) -> None:
    for room in ("training", "cli"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("x = 1")
    before = source_digest(tmp_path)
    (tmp_path / "cli" / "a.py").write_text("x = 2")
    assert source_digest(tmp_path) == before
    (tmp_path / "training" / "a.py").write_text("x = 2")
    assert source_digest(tmp_path) != before


def test_readings_are_plain_json(tmp_path: Path) -> None:
    Journal(tmp_path / "m.jsonl", "x").add(reading("a", 1, 0.5))
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert lines[1]["reading"]["seconds"] == 1.0 and lines[1]["reading"]["units"] == 2
