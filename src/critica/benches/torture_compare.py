"""Two run folders side by side: which bits differ, which prompts were lost or repeated, and where it begins."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LINES = ("metrics.jsonl", "ledger.jsonl")
NAMING_THE_RUN = (
    "origin.json",
    "MANIFEST.json",
)  # which run wrote the checkpoint, and the digests, that one's included


@dataclass(frozen=True, slots=True)
class Verdict:
    """What separates a run from the undisturbed one. `first` names the first difference; empty if there is none."""

    differing_bits: int
    lost_prompts: int
    repeated_prompts: int
    files: int
    tensors: int
    first: str

    @property
    def same(self) -> bool:
        """Whether nothing at all differs."""
        return not (self.differing_bits or self.lost_prompts or self.repeated_prompts or self.first)


def compare_runs(whole: Path, struck: Path, apart_from: tuple[str, ...] = ()) -> Verdict:
    """Every byte that is part of a run's identity: the last checkpoint, lines, rollouts, evaluations.

    Files named in `apart_from` are known to differ and are left out.
    """
    expected, found = (identity(run, (*NAMING_THE_RUN, *apart_from)) for run in (whole, struck))
    bits, first = 0, ""
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected or name not in found:
            what = f"{name} is only in {'the undisturbed run' if name in expected else 'the killed run'}"
            bits += 8 * (expected.get(name) or found[name]).stat().st_size
        else:
            before, after = content(name, expected[name]), content(name, found[name])
            if before == after:
                continue
            bits += count_bits(before, after)
            what = f"{name}: {first_difference(name, before, after)}"
        first = first or what
    lost, repeated = prompts_apart(whole, struck)
    tensors = sum(len(tensors_of(path.read_bytes())) for name, path in expected.items() if is_tensors(name))
    return Verdict(bits, lost, repeated, len(expected), tensors, first)


def identity(run: Path, apart_from: tuple[str, ...] = NAMING_THE_RUN) -> dict[str, Path]:
    """The files by which a run is known, under names that do not depend on the folder."""
    last = max(
        (path for path in (run / "checkpoints").glob("step_*")), key=lambda path: int(path.name[5:]), default=None
    )
    paths = [run / name for name in LINES]
    paths += [*(run / "rollouts").iterdir(), *(run / "evaluations").glob("*")]
    if last is not None:
        paths += [path for path in last.rglob("*") if path.is_file() and path.name not in apart_from]
    return {str(path.relative_to(run)): path for path in paths if path.exists()}


def content(name: str, path: Path) -> bytes:
    """The file's bytes; of an evaluation without what the run's own reward says of held-out answers: nobody writes that
    down before it is used, and a reward by chance says something else each time."""
    if not name.startswith("evaluations/"):
        return path.read_bytes()
    report = json.loads(path.read_text())
    prompts = [{key: value for key, value in one.items() if key != "reward"} for one in report["prompts"]]
    kept = {key: value for key, value in report.items() if key not in ("reward", "rewarded_by")}
    return json.dumps(kept | {"prompts": prompts}).encode()


def count_bits(first: bytes, second: bytes) -> int:
    """Bits that differ, those that one has and the other has not included."""
    shared = min(len(first), len(second))
    apart = np.frombuffer(first[:shared], np.uint8) ^ np.frombuffer(second[:shared], np.uint8)
    return int(np.unpackbits(apart).sum()) + 8 * abs(len(first) - len(second))


def first_difference(name: str, before: bytes, after: bytes) -> str:
    """The first line, tensor or byte that differs."""
    if name.endswith(".jsonl"):
        lines = before.splitlines(), after.splitlines()
        number = next(
            (i for i, pair in enumerate(zip(*lines, strict=False)) if pair[0] != pair[1]), min(map(len, lines))
        )
        return f"line {number + 1} of {len(lines[0])} and {len(lines[1])}"
    if is_tensors(name):
        old, new = tensors_of(before), tensors_of(after)
        apart = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        return f"tensor {apart[0]}, and {len(apart) - 1} more" if apart else "its header"
    place = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    return f"byte {min(len(before), len(after)) if place is None else place} of {len(before)}"


def is_tensors(name: str) -> bool:
    """Whether the file is a safetensors file."""
    return name.endswith(".safetensors")


def tensors_of(content: bytes) -> dict[str, bytes]:
    """Name to dtype, shape and bits, whatever order they stand in."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    return {
        name: f"{entry['dtype']}{entry['shape']}".encode() + data[slice(*entry["data_offsets"])]
        for name, entry in header.items()
        if name != "__metadata__"
    }


def prompts_apart(whole: Path, struck: Path) -> tuple[int, int]:
    """Prompts of the undisturbed ledger that the other lacks, and those that it has too often."""
    expected, found = prompt_counts(whole), prompt_counts(struck)
    return sum((expected - found).values()), sum((found - expected).values())


def prompt_counts(run: Path) -> Counter[tuple[int, str]]:
    """How often each step counted each prompt."""
    path = run / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return Counter((line["step"], line["task_id"]) for line in lines if line["kind"] == "prompt")
