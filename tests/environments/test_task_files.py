"""Task files: every row is served once an epoch or refused by name; nothing is skipped, guessed or repaired."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from critica.environments.base import EnvironmentProblem, TaskStream
from critica.environments.catalogue import parse_environment
from critica.environments.files import TaskFile, TaskFileEnvironment
from critica.environments.rows import TaskFileProblem
from critica.environments.splits import normalize, split_of
from critica.records.words import Message

GOOD = {"prompt": "2+2=", "answer": "4"}


def written(path: Path, rows: list[Any]) -> Path:
    """The rows as JSON lines or Parquet, by the suffix."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def many(count: int = 60) -> list[dict[str, Any]]:
    return [{"prompt": f"say {i}", "answer": str(i), "level": i % 3, "tags": ["a", None]} for i in range(count)]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_become_tasks(tmp_path: Path, suffix: str) -> None:
    environment = parse_environment(str(written(tmp_path / f"t{suffix}", many()))).build(3)
    tasks = [environment.candidate(i) for i in range(60)]
    assert sorted(int(task.answer) for task in tasks) == list(range(60))
    for task in tasks:
        number = int(task.answer)
        assert task.messages == (Message("user", f"say {number}"),)
        assert dict(task.info) == {"level": number % 3, "tags": ["a", None]}
        assert task.task_id == f"{environment.name}/{number + 1}" and task.environment == environment.name
    assert environment.tally.rows == environment.tally.prompts == 60 and environment.tally.has_answers
    again = TaskFile(str(tmp_path / f"t{suffix}")).build(3)
    assert [again.candidate(i) for i in (59, 7, 130)] == [environment.candidate(i) for i in (59, 7, 130)]


def test_each_epoch_is_another_permutation_by_seed(tmp_path: Path) -> None:
    path = str(written(tmp_path / "t.jsonl", many(40)))
    one, other, plain = (TaskFile(path).build(1), TaskFile(path).build(2), TaskFile(path, shuffle=False).build(1))

    def order(environment: TaskFileEnvironment, epoch: int) -> list[int]:
        return [int(environment.candidate(epoch * 40 + i).answer) for i in range(40)]

    epochs = [order(one, 0), order(one, 1), order(one, 2), order(other, 0)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert order(one, 0) == epochs[0]
    assert order(plain, 0) == order(plain, 5) == list(range(40))


def test_a_stream_serves_each_training_prompt_once_an_epoch_and_resumes_anywhere(tmp_path: Path) -> None:
    path = str(written(tmp_path / "t.jsonl", many()))
    mine = {row["prompt"] for row in many() if split_of(row["prompt"]) != "held_out"}
    assert 40 < len(mine) < 60
    stream = TaskStream(TaskFile(path).build(4), "train")
    whole = [stream.next() for _ in range(3 * len(mine))]
    for epoch in range(3):
        served = [task.prompt for task in whole[epoch * len(mine) : (epoch + 1) * len(mine)]]
        assert sorted(served) == sorted(mine)
    for stop in (1, len(mine), len(mine) + 3):
        head = TaskStream(TaskFile(path).build(4), "train")
        for _ in range(stop):
            head.next()
        tail = TaskStream(TaskFile(path).build(4), "train")
        tail.load_state_dict(json.loads(json.dumps(head.state_dict())))
        assert [tail.next() for _ in range(len(whole) - stop)] == whole[stop:]
    assert [task.task_id for task in islice(TaskFile(path).build(4).tasks("train"), 5)] == [
        t.task_id for t in whole[:5]
    ]


def test_a_run_does_not_resume_on_other_tasks(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", many())
    state = TaskStream(TaskFile(str(path)).build(4), "train").state_dict()
    written(path, [*many(59), {"prompt": "say 59", "answer": "60"}])
    with pytest.raises(EnvironmentProblem, match=r"t\.jsonl@"):
        TaskStream(TaskFile(str(path)).build(4), "train").load_state_dict(state)


def test_a_file_that_changes_in_use_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", many())
    environment = TaskFile(str(path), shuffle=False).build(0)
    environment.candidate(3)
    text = path.read_text()
    path.write_text(text.replace('say 3"', 'say 4"'))
    with pytest.raises(TaskFileProblem, match="line 4 is another"):
        environment.candidate(3)


def test_held_out_prompts_are_all_there_are_and_no_more(tmp_path: Path) -> None:
    rows = many() + [{"prompt": row["prompt"].upper(), "answer": "x", "level": 0, "tags": []} for row in many()]
    environment = TaskFile(str(written(tmp_path / "t.jsonl", rows))).build(0)
    mine = {row["prompt"] for row in many() if split_of(row["prompt"]) == "held_out"}
    assert {normalize(task.prompt) for task in environment.held_out(len(mine))} == mine
    with pytest.raises(TaskFileProblem, match=rf"has {len(mine)} different held_out prompts in 120 rows"):
        environment.held_out(len(mine) + 1)
    tally = environment.tally
    assert (tally.rows, tally.prompts, tally.duplicates, tally.contradictions) == (120, 60, 60, 60)


def test_one_training_prompt_in_thousands_is_found_and_none_is_said(tmp_path: Path) -> None:
    held = next(f"p{i}" for i in range(99) if split_of(f"p{i}") == "held_out")
    train = next(f"p{i}" for i in range(99) if split_of(f"p{i}") != "held_out")
    rows = [{"prompt": held, "answer": "a"}] * 2100
    alone = TaskFile(str(written(tmp_path / "a.jsonl", rows[:20]))).build(0)
    with pytest.raises(TaskFileProblem, match="none of its 20 rows has a prompt in the train split"):
        TaskStream(alone, "train").next()
    stream = TaskStream(
        TaskFile(str(written(tmp_path / "b.jsonl", [*rows, {"prompt": train, "answer": "b"}]))).build(0), "train"
    )
    assert [stream.next().answer for _ in range(4)] == ["b"] * 4
    assert stream.cursor > 3 * 2101


def test_the_scorer_wants_the_answer_and_nothing_else(tmp_path: Path) -> None:
    path = str(written(tmp_path / "t.jsonl", [GOOD]))
    environment = TaskFile(path).build(0)
    task = environment.candidate(0)
    assert [environment.score(task, text) for text in ("4", " 4\n", "44", "4.", "", "=4")] == [1, 1, 0, 0, 0, 0]
    tagged = TaskFile(path, extract="tags").build(0)
    assert [tagged.score(task, text) for text in ("so <answer> 4 </answer>", "4")] == [1, 0]


def test_without_answers_the_environment_does_not_judge(tmp_path: Path) -> None:
    path = str(written(tmp_path / "t.jsonl", [{"prompt": "2+2=", "solution": "4"}]))
    environment = TaskFile(path).build(0)
    assert environment.candidate(0).answer == "" and environment.candidate(0).info["solution"] == "4"
    for ask in (environment.scorer_address, lambda: environment.score(environment.candidate(0), "")):
        with pytest.raises(TaskFileProblem, match=r"environment.answer=….*'solution'.*reward=my_file.py:function"):
            ask()
    assert TaskFile(path, answer="solution").build(0).candidate(0).answer == "4"
    with pytest.raises(TaskFileProblem, match="no row has a column 'solutoin'; the nearest is 'solution'"):
        TaskFile(path, answer="solutoin").build(0)


def test_messages_and_numbers_are_taken_as_they_are(tmp_path: Path) -> None:
    call = {"id": "1", "function": {"name": "f"}}
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "", "tool_calls": [call], "tool_call_id": None},
        {"role": "tool", "content": "5", "tool_call_id": "1"},
    ]
    path = written(tmp_path / "t.jsonl", [{"q": messages, "a": 12}, {"q": "x", "a": -0.5}])
    environment = TaskFile(str(path), prompt="q", answer="a", shuffle=False).build(0)
    first, second = environment.candidate(0), environment.candidate(1)
    assert first.messages == (
        Message("system", "be brief"),
        Message("assistant", "", (call,)),
        Message("tool", "5", (), "1"),
    )
    assert (first.answer, second.answer) == ("12", "-0.5")


BAD = [
    ("{", "it is not JSON"),
    ("[1]", "a list, not an object"),
    ("3", "a number, not an object"),
    ("", "it is blank, and there are tasks after it"),
    ('{"answer": "4"}', "no column 'prompt'"),
    ('{"promt": "a"}', "the nearest is 'promt'"),
    ('{"prompt": ""}', "column 'prompt' is empty"),
    ('{"prompt": null}', "column 'prompt' is null"),
    ('{"prompt": 3}', "column 'prompt' is a number"),
    ('{"prompt": []}', "empty list"),
    ('{"prompt": ["a"]}', r"column 'prompt\[0\]' is text"),
    ('{"prompt": [{"role": "bot", "content": "a"}]}', "role 'bot'.*system, user"),
    ('{"prompt": [{"role": "user"}]}', "has as content null"),
    ('{"prompt": [{"role": "user", "content": [{"type": "image"}]}]}', "has as content a list"),
    ('{"prompt": [{"role": "user", "content": "a", "name": "b"}]}', "has 'name'"),
    (
        '{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        "ends with the assistant",
    ),
    ('{"prompt": "a"}', "no answer in column 'answer', and the first row has one"),
    ('{"prompt": "a", "answer": " "}', "column 'answer' is empty"),
    ('{"prompt": "a", "answer": true}', "column 'answer' is true or false"),
    ('{"prompt": "a", "answer": ["4"]}', "column 'answer' is a list"),
    ('{"prompt": "a", "prompt": "b", "answer": "4"}', "'prompt' is written twice"),
    ('{"prompt": "a", "answer": "4", "x": NaN}', "NaN is no JSON number"),
    ('{"prompt": "a", "answer": "4", "x": 1e999}', "column 'x' holds inf"),
    ('{"prompt": "a", "answer": "4", "x": ' + "9" * 5000 + "}", "thousands of digits"),
    ('{"prompt": "a", "answer": "4", "x": ' + "[" * 99 + "]" * 99 + "}", "nested deeper than 64"),
    ('{"prompt": "a", "answer": "4", "x": ' + "[" * 99999 + "}", "nested deeper than 64"),
    ('{"prompt": "\\ud800", "answer": "4"}', "half a surrogate pair"),
    ('{"prompt": "a", "answer": "4", "\\udfff": 1}', "half a surrogate pair"),
    (b'{"prompt": "\xff", "answer": "4"}', "byte 13 is not UTF-8"),
    ('{"prompt": "' + "a" * 2**24 + '"}', "longer than 16,777,216 bytes"),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[str(line[:40]) for line, _ in BAD])
def test_a_malformed_row_is_named_with_its_line(tmp_path: Path, line: str | bytes, words: str) -> None:
    path = tmp_path / "t.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(b"\n".join([good, line if isinstance(line, bytes) else line.encode(), good]))
    with pytest.raises(TaskFileProblem, match=rf"t\.jsonl, line 2: .*{words}"):
        TaskFile(str(path)).build(0)


def test_line_ends_and_marks_of_other_systems_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([json.dumps(GOOD).encode()] * 2) + b"\r\n\r\n \n")
    environment = TaskFile(str(path)).build(0)
    assert environment.tally.rows == 2 and environment.candidate(0).prompt == environment.candidate(1).prompt == "2+2="


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "t.jsonl", "holds no task"),
        (b"\n\n", "t.jsonl", "holds no task"),
        (b"PAR1", "t.parquet", "no Parquet file"),
        (b'{"prompt": "a"}', "t.parquet", "no Parquet file"),
    ],
)
def test_a_file_without_tasks_is_refused(tmp_path: Path, content: bytes, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskFileProblem, match=words):
        TaskFile(str(tmp_path / name)).build(0)


def test_parquet_types_that_json_lacks_are_named(tmp_path: Path) -> None:
    import datetime
    import decimal

    path = tmp_path / "t.parquet"
    for value in (datetime.datetime(2024, 1, 1), b"bytes", decimal.Decimal("1.5"), [datetime.date(2024, 1, 1)]):
        written(path, [{**GOOD, "x": value}])
        with pytest.raises(TaskFileProblem, match=r"t\.parquet: column 'x' is of type .* cast it to text"):
            TaskFile(str(path)).build(0)
    written(path, [{**GOOD, "x": float("nan")}])
    with pytest.raises(TaskFileProblem, match=r"t\.parquet, row 1: column 'x' holds nan"):
        TaskFile(str(path)).build(0)
    written(path, [GOOD, {"prompt": "b", "answer": None}])
    with pytest.raises(TaskFileProblem, match=r"t\.parquet, row 2: it has no answer"):
        TaskFile(str(path)).build(0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"path": "t.csv"}, r"\.jsonl or \.parquet"),
        ({"path": "t.jsonl", "prompt": "a", "answer": "a"}, "cannot be both"),
        ({"path": "t.jsonl", "max_new_tokens": 0}, "at least 1 token"),
        ({"path": "a\0.jsonl"}, "no task file"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskFileProblem, match=words):
        TaskFile(**settings)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(EnvironmentProblem, match=r"there is no file .*nowhere\.jsonl"):
        parse_environment("nowhere.jsonl")
    with pytest.raises(TaskFileProblem, match=r"nowhere\.jsonl cannot be read: No such file"):
        TaskFile("nowhere.jsonl").build(0)


def test_repeated_prompts_are_said(tmp_path):
    path = tmp_path / "tasks.jsonl"
    rows = [("one", "1"), ("two", "2"), ("one", "1"), ("two", "3"), ("three", "3")]
    path.write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in rows))
    (said,) = TaskFile(str(path)).build(0).warnings
    assert "2 of 5 tasks repeat a prompt, 1 of them with another answer" in said
