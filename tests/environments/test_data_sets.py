"""Folders, saved data sets and hub names as tasks: which split a row belongs to, and that every form says the same."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from critica.environments.base import EnvironmentProblem
from critica.environments.catalogue import parse_environment
from critica.environments.files import TaskFile
from critica.environments.folders import split_name
from critica.environments.hub import HubName, hub_name
from critica.environments.rows import TaskFileProblem
from critica.environments.splits import Splits, split_of

TRAIN = [{"prompt": f"say {i}", "answer": str(i), "meta": {"level": i % 3}} for i in range(40)]
TEST = [{"prompt": f"say {i}", "answer": str(i), "meta": {"level": 0}} for i in range(35, 50)]
NAMED = Splits(held_out="test")


def jsonl(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def parquet(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def arrow(folder: Path, rows, pieces=2) -> None:
    """What `datasets` 5.2 writes with `save_to_disk`."""
    folder.mkdir(parents=True)
    table, names = pa.Table.from_pylist(rows), []
    size = -(-len(rows) // pieces)
    for piece in range(pieces):
        names.append(f"data-{piece:05d}-of-{pieces:05d}.arrow")
        part = table.slice(piece * size, size)
        with pa.OSFile(str(folder / names[-1]), "wb") as file, pa.ipc.new_stream(file, part.schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": n} for n in names], "_split": None}))
    (folder / "dataset_info.json").write_text("{}")


@pytest.fixture
def forms(tmp_path: Path) -> dict[str, str]:
    """One data set in every form that a folder may have."""
    jsonl(tmp_path / "jsonl" / "train.jsonl", TRAIN)
    jsonl(tmp_path / "jsonl" / "test.jsonl", TEST)
    parquet(tmp_path / "hub" / "data" / "train-00000-of-00002.parquet", TRAIN[:25])
    parquet(tmp_path / "hub" / "data" / "train-00001-of-00002.parquet", TRAIN[25:])
    parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", TEST)
    (tmp_path / "hub" / "README.md").write_text("a card")
    parquet(tmp_path / "dirs" / "training" / "a.parquet", TRAIN)
    parquet(tmp_path / "dirs" / "eval" / "a.parquet", TEST)
    arrow(tmp_path / "saved" / "train", TRAIN)
    arrow(tmp_path / "saved" / "test", TEST, 1)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return {name: str(tmp_path / name) for name in ("jsonl", "hub", "dirs", "saved")}


def test_every_form_gives_the_same_tasks_in_the_same_order(forms):
    built = [TaskFile(path, splits=NAMED).build(3) for path in forms.values()]
    digests = {environment.name.partition("@")[2] for environment in built}
    assert len(digests) == 1
    first, *others = [[environment.candidate(i) for i in range(55)] for environment in built]
    for tasks in others:
        assert [(t.messages, t.answer, t.info) for t in tasks] == [(t.messages, t.answer, t.info) for t in first]
    assert sorted(int(task.answer) for task in first) == sorted([*range(40), *range(35, 50)])


def test_a_prompt_of_the_held_out_split_is_never_trained_on(forms):
    environment = parse_environment(forms["saved"])
    environment = TaskFile(environment.path, splits=NAMED).build(0)
    assert (environment.size("train"), environment.size("held_out"), environment.size("warm_start")) == (35, 15, 0)
    trained = {task.answer for task, _ in zip(environment.tasks("train"), range(35), strict=False)}
    assert trained == set(map(str, range(35)))  # 35 to 39 stand in both
    assert {task.answer for task in environment.held_out(15)} == set(map(str, range(35, 50)))
    assert environment.tally.shared == 5 and environment.tally.rows == 50 == environment.tally.prompts
    (said,) = environment.warnings
    assert "5 tasks to train on stand in the held-out split as well" in said


def test_a_share_is_held_out_by_the_text_alone_and_grows_from_the_same_end(forms):
    whole = TaskFile(forms["jsonl"], splits=Splits(held_out=0.5, warm_start=0.25)).build(0)
    for task in (whole.candidate(i) for i in range(40)):
        assert task.answer in map(str, range(40)), "the split test is not read"
        where = split_of(task.prompt, 0.25, 0.5)
        assert (task.answer in {t.answer for t in whole.held_out(whole.size("held_out"))}) == (where == "held_out")
    fifth = TaskFile(forms["jsonl"]).build(0)
    few = {task.answer for task in fifth.held_out(fifth.size("held_out"))}
    many = {task.answer for task in whole.held_out(whole.size("held_out"))}
    assert few < many and fifth.size("train") + len(few) == 40
    assert whole.size("train") + whole.size("warm_start") + len(many) == 40 and whole.size("warm_start") > 0


def test_other_splits_conditions_and_rows_are_another_environment(forms):
    names = [
        TaskFile(forms["jsonl"], **settings).build(0).name
        for settings in ({}, {"splits": NAMED}, {"splits": Splits(held_out=0.3)}, {"keep": ("meta.level<=1",)})
    ]
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train.jsonl", "train"),
        ("data/test-00000-of-00003.parquet", "test"),
        ("gsm8k_dev.jsonl", "validation"),
        ("valid/part7.parquet", "validation"),
        ("train/my_test_rows.jsonl", "test"),
        ("extra.jsonl", "extra"),
        ("retrain.jsonl", "retrain"),
        ("train_test.jsonl", "train_test"),
    ],
)
def test_the_split_that_a_file_name_says(file, split):
    assert split_name(Path(file)) == split


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (Splits(train="dev"), r"no split 'dev'. It has: 'test', 'train'; .*environment.splits.train="),
        (Splits(held_out="tset"), r"no split 'tset'. It has: 'test', 'train'; .*environment.splits.held_out="),
        (Splits(held_out="train"), "cannot be both"),
    ],
)
def test_a_split_that_is_not_there_is_named_with_those_that_are(forms, splits, words):
    for path in forms.values():
        with pytest.raises(TaskFileProblem, match=words):
            TaskFile(path, splits=splits).build(0)


def test_splits_that_leave_nothing_are_refused():
    for wrong in ({"held_out": 1.0}, {"held_out": 0.5, "warm_start": 0.5}, {"held_out": -0.1}):
        with pytest.raises(ValueError, match="nothing to train on"):
            Splits(**wrong)
    for wrong in ({"held_out": ""}, {"train": "a", "held_out": "a"}):
        with pytest.raises(ValueError, match="name a split other than"):
            Splits(**wrong)


def test_folders_that_are_no_data_set(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskFileProblem, match="holds no data set"):
        TaskFile(str(tmp_path / "empty")).build(0)
    jsonl(tmp_path / "both" / "main" / "train.jsonl", TRAIN)
    jsonl(tmp_path / "both" / "other" / "train.jsonl", TRAIN)
    with pytest.raises(TaskFileProblem, match=r"'main/train\.jsonl' and 'other/train\.jsonl' both say split 'train'"):
        TaskFile(str(tmp_path / "both")).build(0)
    jsonl(tmp_path / "two" / "a.jsonl", TRAIN)
    jsonl(tmp_path / "two" / "b.jsonl", TEST)
    with pytest.raises(TaskFileProblem, match=r"no split 'train'. It has: 'a', 'b'"):
        TaskFile(str(tmp_path / "two")).build(0)
    assert TaskFile(str(tmp_path / "two"), splits=Splits("a", "b")).build(0).size("held_out") == 15
    with pytest.raises(EnvironmentProblem, match="there is no environment 'nowhere'"):
        parse_environment("nowhere")
    with pytest.raises(TaskFileProblem, match=r"is one file and has no split 'test'.*held_out=0.2"):
        TaskFile(str(tmp_path / "two" / "a.jsonl"), splits=NAMED).build(0)


def test_a_wrong_row_of_a_folder_is_named(tmp_path):
    jsonl(tmp_path / "train.jsonl", [*TRAIN[:2], {"prompt": ""}])
    with pytest.raises(TaskFileProblem, match=r"\(split train\), row 3: column 'prompt' is empty"):
        TaskFile(str(tmp_path)).build(0)
    (tmp_path / "train.jsonl").write_text('{"prompt": "a"}\n{')
    with pytest.raises(TaskFileProblem, match=r"train\.jsonl, line 2: it is not JSON"):
        TaskFile(str(tmp_path)).build(0)
    arrow(tmp_path / "saved", TRAIN)
    (tmp_path / "saved" / "data-00001-of-00002.arrow").write_bytes(b"junk")
    with pytest.raises(TaskFileProblem, match=r"00001-of-00002\.arrow is no Arrow file"):
        TaskFile(str(tmp_path / "saved")).build(0)


def test_a_field_inside_of_a_column_is_prompt_or_answer(tmp_path):
    rows = [{"ask": {"text": f"{i}?"}, "reward_model": {"ground_truth": i}, "a.b": "x"} for i in range(5)]
    jsonl(tmp_path / "t.jsonl", rows)
    path = str(tmp_path / "t.jsonl")
    environment = TaskFile(path, "ask.text", "reward_model.ground_truth", shuffle=False).build(0)
    task = environment.candidate(3)
    assert (task.prompt, task.answer, environment.score(task, " 3")) == ("3?", "3", 1.0)
    assert task.info == rows[3]
    assert TaskFile(path, "a.b", "ask.text", shuffle=False).build(0).candidate(1).answer == "1?"
    with pytest.raises(TaskFileProblem, match=r"no column 'ask\.txt'"):
        TaskFile(path, "ask.txt").build(0)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf:openai/gsm8k", HubName("openai/gsm8k", "", "")),
        ("hf:openai/gsm8k:main", HubName("openai/gsm8k", "main", "")),
        ("hf:a/b@refs/pr/3", HubName("a/b", "", "refs/pr/3")),
        ("hf:a/b:c@d", HubName("a/b", "c", "d")),
    ],
)
def test_names_of_the_hub(text, meant):
    assert hub_name(text) == meant
    assert parse_environment(text).path == text


def test_words_that_name_nothing_on_the_hub():
    for text in ("hf:", "hf:a b", "hf:a:", "hf:a:b:c"):
        with pytest.raises(TaskFileProblem, match="names no data set"):
            parse_environment(text)


def test_without_the_library_a_hub_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(TaskFileProblem, match=r"pip install 'critica\[data\]'"):
        TaskFile("hf:openai/gsm8k").build(0)


class FakeSplit:
    """What the library gives for a split."""

    def __init__(self, rows):
        self.table = pa.Table.from_pylist(rows)
        self.features = SimpleNamespace(arrow_schema=self.table.schema)

    def with_format(self, form):
        assert form == "arrow"
        return self

    def iter(self, batch_size):
        for start in range(0, self.table.num_rows, batch_size):
            yield self.table.slice(start, batch_size)


def test_a_hub_name_is_asked_for_as_it_was_written_and_gives_what_a_folder_gives(monkeypatch, forms):
    asked = []

    def load_dataset(name, subset, revision):
        asked.append((name, subset, revision))
        if name == "away/away":
            raise ConnectionError("Couldn't reach 'away/away' on the Hub")
        return {"train": FakeSplit(TRAIN), "test": FakeSplit(TEST)}

    library = ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    environment = TaskFile("hf:me/sums:easy@v2", splits=NAMED).build(3)
    folder = TaskFile(forms["hub"], splits=NAMED).build(3)
    assert asked == [("me/sums", "easy", "v2")]
    assert environment.name.startswith("sums-easy@") and environment.name[-8:] == folder.name[-8:]
    assert [environment.candidate(i).info for i in range(9)] == [folder.candidate(i).info for i in range(9)]
    TaskFile("hf:me/sums").build(0)
    assert asked[-1] == ("me/sums", None, None)
    with pytest.raises(
        TaskFileProblem, match=r"ConnectionError: Couldn't reach.*name a folder that save_to_disk wrote"
    ):
        TaskFile("hf:away/away").build(0)


def test_the_library_itself(tmp_path, forms):
    """A folder through the real loader, and folders that the real `save_to_disk` wrote."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    whole = datasets.DatasetDict(train=datasets.Dataset.from_list(TRAIN), test=datasets.Dataset.from_list(TEST))
    whole.save_to_disk(str(tmp_path / "written"))
    whole["train"].save_to_disk(str(tmp_path / "alone"), num_shards=3)
    cache = importlib.import_module("datasets.config")
    cache.HF_DATASETS_CACHE = tmp_path / "cache"
    built = [
        TaskFile(path, splits=NAMED).build(3)
        for path in (str(tmp_path / "written"), f"hf:{forms['hub']}", forms["jsonl"])
    ]
    assert len({environment.name[-8:] for environment in built}) == 1
    assert TaskFile(str(tmp_path / "alone")).build(0).name[-8:] == TaskFile(forms["hub"]).build(0).name[-8:]
