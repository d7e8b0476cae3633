"""The comparison that torture rests on sees one bit, names its tensor, and counts prompts that are not there once."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from critica.benches.torture_compare import compare_runs, count_bits


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders that are the same run."""
    for name in ("whole", "struck"):
        run = tmp_path / name
        for folder in ("rollouts", "evaluations", "checkpoints/step_2/policy", "checkpoints/step_10/policy"):
            (run / folder).mkdir(parents=True)
        lines = [{"step": s, "kind": "prompt", "task_id": f"t{s}"} for s in (1, 2)]
        lines += [{"step": 1, "kind": "sample", "task_id": "t1"}]
        (run / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (run / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
        (run / "rollouts" / "step_000001.parquet").write_bytes(b"rows")
        weights = {"a": torch.arange(6.0), "b": torch.ones(2, 2), "c": torch.zeros(1)}
        save_file(weights, run / "checkpoints" / "step_10" / "policy" / "model.safetensors")
        (run / "checkpoints" / "step_10" / "MANIFEST.json").write_text(name)
        (run / "checkpoints" / "step_2" / "progress.json").write_text(name)
    return tmp_path / "whole", tmp_path / "struck"


def test_equal_runs_are_equal_whatever_they_are_called(pair: tuple[Path, Path]) -> None:
    verdict = compare_runs(*pair)
    assert verdict.same and verdict.tensors == 3 and verdict.files == 4


def test_one_bit_is_counted_and_its_tensor_named(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "checkpoints" / "step_10" / "policy" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 4  # the last tensor's last byte
    path.write_bytes(content)
    verdict = compare_runs(*pair)
    assert not verdict.same and verdict.differing_bits == 1
    assert verdict.first == "checkpoints/step_10/policy/model.safetensors: tensor c, and 0 more"


def test_lost_and_repeated_prompts_are_counted_and_the_line_is_named(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[0], *lines[2:]]))
    verdict = compare_runs(*pair)
    assert (verdict.lost_prompts, verdict.repeated_prompts) == (1, 1)
    assert verdict.first == "ledger.jsonl: line 2 of 3 and 3"


@pytest.mark.parametrize("side", [0, 1])
def test_a_file_that_only_one_has_is_a_difference(pair: tuple[Path, Path], side: int) -> None:
    (pair[side] / "rollouts" / "step_000001.parquet").unlink()
    verdict = compare_runs(*pair)
    assert verdict.differing_bits == 32 and "only in the " + ("killed", "undisturbed")[side] in verdict.first


def test_a_missing_last_checkpoint_is_a_difference(pair: tuple[Path, Path]) -> None:
    (pair[1] / "checkpoints" / "step_10").rename(pair[1] / "checkpoints" / ".tmp-step_10")
    assert not compare_runs(*pair).same


def test_bits_are_counted() -> None:
    assert count_bits(b"\x00\x0f", b"\x01\xf0") == 9
    assert count_bits(b"ab", b"a") == 8
