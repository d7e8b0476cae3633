"""The run folder: a step happens whole or not at all, one process writes, every number comes back bit for bit."""

import errno
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from synthetic_run import MANIFEST, synthetic_run, synthetic_step

from critica.records.arrays import Bernoulli, Categorical, Gaussian, Metric, Point, Quantiles, ValuePrediction
from critica.records.checks import RecordError
from critica.records.metrics import UndeclaredMetric
from critica.store import files
from critica.store.errors import DamagedRun, DiskFull, NotARun, RunFolderBusy
from critica.store.laws import summarize_law
from critica.store.lines import StepLines
from critica.store.rollouts import read_facts
from critica.store.run_folder import RunFolder


def snapshot(run: Path) -> dict[str, bytes]:
    """Every file of the run that a step writes."""
    names = [run / f"{name}.jsonl" for name in ("metrics", "ledger", "timing")]
    return {str(p.relative_to(run)): p.read_bytes() for p in [*names, *sorted(run.glob("rollouts/*"))]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return synthetic_run(tmp_path / "run", steps=4).path


def test_create_refuses_a_folder_with_a_run_and_leaves_it_alone(run: Path) -> None:
    before = snapshot(run)
    with pytest.raises(RunFolderBusy, match=rf"critica resume {run}.*--run") as caught:
        RunFolder.create(run, MANIFEST, "")
    assert isinstance(caught.value, FileExistsError)
    assert snapshot(run) == before


def test_create_refuses_a_folder_of_other_files_and_takes_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderBusy, match="not an empty folder"):
        RunFolder.create(tmp_path, MANIFEST, "")
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", MANIFEST, "").close()


def test_open_names_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="does not exist"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(NotARun, match=r"holds no run\.json"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(NotARun, match="damaged"):
        RunFolder.open(tmp_path)


def test_manifest_and_config_come_back(run: Path) -> None:
    opened = RunFolder.open(run)
    assert opened.manifest == MANIFEST
    assert opened.config_toml == 'recipe = "dvpo"\n'


def other_process(code: str, run: Path) -> subprocess.Popen[str]:
    """Another interpreter, with `lock` taken on the run; torch-free, so it starts at once."""
    begin = "import os, sys, time; from pathlib import Path; from critica.store.lock import WriterLock\n"
    command = [sys.executable, "-c", begin + "lock = WriterLock(Path(sys.argv[1]))\n" + code, str(run)]
    environment = os.environ | {"PYTHONPATH": "src"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_second_process_is_refused_while_the_first_writes(run: Path) -> None:
    with RunFolder.open(run, write=True):
        second = other_process("", run)
        _, said = second.communicate()
        assert second.returncode != 0 and f"is being written by process {os.getpid()}" in said
        assert RunFolder.open(run).last_step == 4  # reading is always allowed
    first = other_process("print('held', flush=True); time.sleep(60)", run)
    try:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        before = snapshot(run)
        with pytest.raises(
            RunFolderBusy, match=rf"{run} is being written by process {first.pid}.*--run.*critica resume"
        ):
            RunFolder.open(run, write=True)
        with pytest.raises(RunFolderBusy):
            RunFolder.open(run).append(5, synthetic_step(5))
        assert snapshot(run) == before
    finally:
        first.kill()
        first.communicate()
    RunFolder.open(run, write=True).close()


def test_a_killed_writer_leaves_no_lock_even_when_its_forked_child_lives_on(run: Path) -> None:
    writer = other_process(
        "child = os.fork()\nif child == 0: time.sleep(60)\nprint(child, flush=True); os.kill(os.getpid(), 9)\n", run
    )
    assert writer.stdout is not None
    child = int(writer.stdout.readline())
    writer.wait()
    try:
        RunFolder.open(run, write=True).close()
    finally:
        os.kill(child, 9)
        writer.communicate()


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1, 1 / 3, 5e-324, -0.0, 1.7976931348623157e308, math.pi * 1e-17, float(torch.tensor(0.1))]
    names = ["reward/told", "reward/clean", "policy/entropy", "critic/bias", "critic/loss", "loss/a", "loss/b"]
    metrics = tuple(Metric(name, value, 1.0) for name, value in zip(names, values, strict=True))
    extra = (Metric("critic/ece", 0.0, 0.0), Metric("policy/ratio_max", math.inf, 1.0))
    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run:
        run.append(1, replace(synthetic_step(1), metrics=metrics + extra))
        (line,) = run.metrics()
    assert [line[name].hex() for name in names] == [value.hex() for value in values]
    assert math.isnan(line["critic/ece"]) and line["policy/ratio_max"] == math.inf
    json.loads((tmp_path / "run" / "metrics.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name))


def test_rollouts_come_back_bit_for_bit(tmp_path: Path) -> None:
    record = synthetic_step(3)
    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run:
        run.append(3, record)
        table = run.rollouts(3)
    batch, lengths = record.batch, record.batch.lengths.tolist()
    grids = {
        "token_ids": batch.token_ids, "sampled_mask": batch.sampled_mask, "turn_index": batch.turn_index,
        "temperature": batch.temperature, "behavior_logprobs": batch.behavior_logprobs,
        "advantage": record.credit.advantage, "trained_mask": record.credit.mask,
        "reward_per_token": record.told.per_token.sum(-1),
    }  # fmt: skip
    for name, grid in grids.items():
        for row, length in enumerate(lengths):
            read = torch.tensor(table[name][row].as_py(), dtype=grid.dtype)
            assert torch.equal(read, grid[row, :length]), name
    quantiles = iter(summarize_law(record.values).tolist())
    for row, length in enumerate(lengths):
        means, bands = table["value_mean"][row].as_py(), table["value_quantiles"][row].as_py()
        for t in range(length):
            if record.values.mask[row, t]:
                assert torch.tensor(means[t]) == record.values.mean[row, t]
                assert bands[t] == next(quantiles)
            else:
                assert means[t] is None and bands[t] is None
    assert next(quantiles, None) is None
    assert [tuple(row) for row in table["tokens"].to_pylist()] == list(record.tokens)
    assert table["trajectory_id"].to_pylist() == list(batch.trajectory_ids)
    told = [None if math.isnan(x) else x for x in record.told.total.tolist()]
    assert table["reward_told"].to_pylist() == told
    assert read_facts(table)["advantage_rule"] == "gae"


def test_told_and_clean_differ_exactly_where_noise_flipped(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run:
        run.append(1, synthetic_step(1, flip=0.5, prompts=12))
        rows = run.rollouts(1).to_pylist()
    scored = [row for row in rows if row["outcome_state"] == "scored"]
    assert {row["flipped"] for row in scored} == {True, False}
    for row in scored:
        assert row["reward_told"] == (1 - row["reward_clean"] if row["flipped"] else row["reward_clean"])
        assert row["correct"] == (row["text"].split()[-1] == row["answer"])


def test_missing_outcomes_are_null_not_zero(tmp_path: Path) -> None:
    step = next(s for s in range(1, 60) if synthetic_step(s).told.known.all().logical_not())
    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run:
        run.append(step, synthetic_step(step))
        rows = [row for row in run.rollouts(step).to_pylist() if row["outcome_state"] == "failed"]
    assert rows
    for row in rows:
        assert row["reward_told"] is None and row["reward_clean"] is None and row["correct"] is None
        assert row["ledger_state"] == "failed" and row["ledger_reason"]


@pytest.mark.parametrize("name", ["metrics", "ledger", "timing"])
def test_a_torn_last_line_is_cut(run: Path, name: str) -> None:
    whole = snapshot(run)
    with (run / f"{name}.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "reward/to')
    assert RunFolder.open(run).last_step == 4
    assert [line.step for line in RunFolder.open(run).metrics()] == [1, 2, 3, 4]
    RunFolder.open(run, write=True).close()
    assert snapshot(run) == whole


@pytest.mark.parametrize("written", ["rollouts", "ledger", "timing"])
def test_a_step_without_its_metrics_line_never_happened(tmp_path: Path, run: Path, written: str) -> None:
    whole = snapshot(run)
    later = synthetic_run(tmp_path / "later", steps=4, seed=1)
    with RunFolder.open(later.path, write=True) as folder:
        folder.append(5, synthetic_step(5))
    source = snapshot(later.path)
    (run / "rollouts" / "step_000005.parquet").write_bytes(source["rollouts/step_000005.parquet"])
    (run / "rollouts" / ".tmp-step_000006.parquet").write_bytes(b"half")
    if written != "rollouts":
        lines = [line for line in StepLines(later.path / f"{written}.jsonl") if line["step"] == 5]
        StepLines(run / f"{written}.jsonl").append(lines)
    reader = RunFolder.open(run)
    assert reader.last_step == 4 and reader.rollout_steps == (1, 2, 3, 4)
    assert max(line["step"] for line in reader.ledger()) == 4
    RunFolder.open(run, write=True).close()
    assert snapshot(run) == whole


def test_truncate_after_equals_never_having_gone_further(tmp_path: Path) -> None:
    longer, shorter = synthetic_run(tmp_path / "a", steps=5), synthetic_run(tmp_path / "b", steps=5)
    with RunFolder.open(shorter.path, write=True) as run:
        run.truncate_after(3)
        assert run.last_step == 3
        assert {name for name in snapshot(shorter.path) if "rollouts" in name} == {
            f"rollouts/step_00000{n}.parquet" for n in (1, 2, 3)
        }
        for step in (4, 5):
            run.append(step, synthetic_step(step, steps=5))
    assert snapshot(shorter.path) == snapshot(longer.path)


def test_truncate_to_nothing(run: Path) -> None:
    with RunFolder.open(run, write=True) as folder:
        folder.truncate_after(0)
        assert folder.last_step == -1 and folder.rollout_steps == ()
        folder.append(1, synthetic_step(1))


def test_append_refuses_a_step_that_is_past_and_an_undeclared_metric(run: Path) -> None:
    before = snapshot(run)
    with RunFolder.open(run, write=True) as folder:
        with pytest.raises(DamagedRun, match=r"truncate_after\(2\)"):
            folder.append(3, synthetic_step(3))
        with pytest.raises(UndeclaredMetric, match="nearest declared name is 'policy/entropy'"):
            folder.append(5, replace(synthetic_step(5), metrics=(Metric("policy/entrpy", 1.0, 1.0),)))
    assert snapshot(run) == before


@pytest.mark.parametrize("calls_before", range(5))
def test_a_full_disk_leaves_the_step_out_and_says_how_to_go_on(
    run: Path, monkeypatch: pytest.MonkeyPatch, calls_before: int
) -> None:
    before, real, calls = snapshot(run), os.write, [0]

    def full(descriptor: int, payload: bytes) -> int:
        calls[0] += 1
        if calls[0] > calls_before:
            if len(payload) > 100 and calls[0] == calls_before + 1:
                return real(descriptor, bytes(payload[: len(payload) // 2]))  # half fits, then the disk is full
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, payload)

    folder = RunFolder.open(run, write=True)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", full)
        if calls_before < 4:
            with pytest.raises(DiskFull, match=rf"disk is full: {run} needs about .*KiB.*critica resume {run}"):
                folder.append(5, synthetic_step(5))
            assert snapshot(run) == before
        else:
            folder.append(5, synthetic_step(5))
    if calls_before < 4:
        folder.append(5, synthetic_step(5))
    assert folder.last_step == 5
    folder.close()


def test_other_write_errors_keep_their_own_words(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, payload: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with RunFolder.open(run, write=True) as folder, monkeypatch.context() as patch:
        patch.setattr(files.os, "write", broken)
        with pytest.raises(OSError, match="Input/output error"):
            folder.append(5, synthetic_step(5))


def test_a_changed_line_is_named(run: Path) -> None:
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:-5]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DamagedRun, match=r"metrics\.jsonl, line 2"):
        list(RunFolder.open(run).metrics())


def test_a_step_record_counts_every_sample_exactly_once() -> None:
    record = synthetic_step(1)
    with pytest.raises(RecordError, match="does not count"):
        replace(record, ledger=record.ledger[1:])
    with pytest.raises(RecordError, match="more than once"):
        replace(record, ledger=(*record.ledger, record.ledger[0]))
    with pytest.raises(RecordError, match="token texts"):
        replace(record, tokens=(record.tokens[0][:-1], *record.tokens[1:]))


def _prediction(law: Point | Bernoulli | Gaussian | Categorical | Quantiles, mean: float) -> ValuePrediction:
    mask = torch.tensor([[False, True]])
    return ValuePrediction(torch.tensor([[0.0, mean]]), mask, torch.zeros(1), law)


def test_five_quantiles_of_each_law_by_hand() -> None:
    def told(law: Point | Bernoulli | Gaussian | Categorical | Quantiles, mean: float) -> list[float]:
        return [round(x, 4) for x in summarize_law(_prediction(law, mean))[0].tolist()]

    assert told(Point(), 0.5) == [0.5] * 5
    assert told(Bernoulli(), 0.3) == [0, 0, 0, 1, 1]  # P(0) = 0.7: the .75 quantile is 1, the median 0
    spread = torch.full((1, 2), 2.0)
    assert told(Gaussian(spread), 1.0) == [-1.5631, -0.349, 1.0, 2.349, 3.5631]
    atoms = torch.tensor([0.0, 1.0, 2.0])
    probs = torch.tensor([[[0.2, 0.4, 0.4], [0.0, 0.4, 0.6]]]).expand(1, 2, 2, 3)  # averaged over members: .1 .4 .5
    assert told(Categorical(atoms, probs), 1.4) == [0, 1, 1, 2, 2]
    levels, curves = torch.tensor([0.2, 0.5, 0.8]), torch.tensor([[[0.0, 3.0, 6.0], [2.0, 5.0, 8.0]]])
    law = Quantiles(levels, curves.expand(1, 2, 2, 3))  # mean of members: 1, 4, 7
    assert told(law, 4.0) == [1.0, 1.5, 4.0, 6.5, 7.0]


def test_what_a_step_wrote_is_durable_before_a_checkpoint_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    with RunFolder.create(tmp_path / "run", MANIFEST, "") as run, monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", watched)
        for step in (1, 2):
            run.append(step, synthetic_step(step))
        assert not synced
        rename = os.rename
        patch.setattr(os, "rename", lambda source, target: (synced.append("PUBLISHED"), rename(source, target)))
        run.checkpoints.write(2, lambda folder: (folder / "weights").write_bytes(b"x") and None)
        before = synced[: synced.index("PUBLISHED")]
        assert {"metrics.jsonl", "ledger.jsonl", "timing.jsonl", "step_000001.parquet", "weights"} <= set(before)
        synced.clear()
        run.append(3, synthetic_step(3))
        run.checkpoints.write(3, lambda folder: (folder / "weights").write_bytes(b"x") and None)
        assert "step_000003.parquet" in synced and "step_000001.parquet" not in synced


def test_an_append_that_fails_half_way_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "lines", os.write
    files.append_whole(path, b"whole\n")

    def half(descriptor: int, payload: bytes) -> int:
        if len(payload) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(payload[:6]))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", half)
        with pytest.raises(OSError, match="No space"):
            files.append_whole(path, b"not whole\n")
    assert path.read_bytes() == b"whole\n"
