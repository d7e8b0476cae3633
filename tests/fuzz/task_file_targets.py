"""Task files under fuzz: a file is refused by name, or every row of it becomes exactly the task that it says.

`test_fuzz_task_files.py` runs each target in a process of its own under limits of time and memory.
"""

import json
import random
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from critica.environments.files import TaskFile
from critica.environments.rows import TaskFileProblem
from critica.rewards.base import ScoreRequest, item_of
from critica.rewards.wire import Item
from fuzz.nasty import INPUTS, flipped, mutated

ROWS: list[dict[str, Any]] = [
    {"prompt": "2+2=", "answer": "4", "level": 1},
    {
        "prompt": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "3?"}],
        "answer": 3,
        "tags": ["a", {"b": 1}],
    },
    {"prompt": "où?", "answer": "là", "x": None},
]


def served(path: Path) -> list[Any] | None:
    """The tasks of the file in its order; None if it was refused. Every task travels to a worker and back unchanged."""
    try:
        environment = TaskFile(str(path), shuffle=False).build(0)
    except TaskFileProblem as error:
        assert str(path) in str(error) and len(str(error)) > len(str(path)) + 20, error
        return None
    tasks = [environment.candidate(index) for index in range(environment.tally.rows)]
    for task in tasks:
        item = item_of(ScoreRequest(task, "row", "text"))
        assert Item.from_json(json.loads(json.dumps(item.to_json(), allow_nan=False))) == item
    return tasks


def says(task: Any, record: Any) -> bool:
    """Whether a task says what the record says, worked out without the package."""
    prompt = record["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    told = [(message["role"], message["content"]) for message in messages]
    answer = record.get("answer")
    info = {name: value for name, value in record.items() if name not in ("prompt", "answer")}
    same = [(m.role, m.content) for m in task.messages] == told and task.answer == (
        "" if answer is None else str(answer)
    )
    return same and json.dumps(dict(task.info), sort_keys=True) == json.dumps(info, sort_keys=True)


def jsonl(rng: random.Random, path: Path) -> int:
    """Rows changed as trees and as bytes; what is served is compared with the standard library's reading."""
    rows = [dict(row) for row in rng.choices(ROWS, k=rng.randrange(1, 4))]
    at = rng.randrange(len(rows))
    if rng.random() < 0.6:
        rows[at] = mutated(rng, rows[at])
    lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass") for row in rows]
    if rng.random() < 0.6:
        lines[at] = flipped(rng, lines[at])
    data = rng.choice((b"\n", b"\n", b"\r\n")).join(lines) + rng.choice((b"", b"\n", b"\n\n", b" "))
    path.write_bytes(data)
    tasks = served(path)
    if tasks is None:
        return 0
    records = [json.loads(line) for line in data.decode("utf-8").split("\n") if line.strip()]
    assert len(tasks) == len(records) and all(map(says, tasks, records)), data
    return 1


def parquet(rng: random.Random, path: Path, files: list[bytes]) -> int:
    """Bytes of a Parquet file changed; what is still read travels like any task."""
    path.write_bytes(flipped(rng, rng.choice(files)))
    return served(path) is not None


def written_parquet(rng: random.Random, path: Path) -> int:
    """Tables of every type that Arrow infers from changed rows; what is served says what pyarrow reads."""
    try:
        table = pa.Table.from_pylist(
            [mutated(rng, {"prompt": "2+2=", "answer": "4", "x": [1, {"a": "b"}]}) for _ in range(2)]
        )
        pq.write_table(table, path)
    except (pa.ArrowException, TypeError, OverflowError, AttributeError, UnicodeEncodeError, ValueError):
        return 0  # no table at all
    tasks = served(path)
    if tasks is None:
        return 0
    assert all(map(says, tasks, table.to_pylist())), table
    return 1


def main() -> None:
    """Carry out the named target; no single input may take two seconds. Prints how many files were accepted."""
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            path, rng, accepted = (
                Path(folder) / f"t.{'jsonl' if name == 'jsonl' else 'parquet'}",
                random.Random(name),
                0,
            )
            files = []
            for compression in ("none", "snappy"):
                pq.write_table(pa.Table.from_pylist([ROWS[0]] * 3), path.with_suffix(".p"), compression=compression)
                files.append(path.with_suffix(".p").read_bytes())
            for turn in range(INPUTS):
                signal.setitimer(signal.ITIMER_REAL, 2.0)  # ends the process
                if name == "jsonl":
                    accepted += jsonl(rng, path)
                else:
                    accepted += written_parquet(rng, path) if turn % 4 == 0 else parquet(rng, path, files)
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            print(name, accepted, flush=True)


if __name__ == "__main__":
    main()
