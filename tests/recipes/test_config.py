"""Trees of parts survive the trip through TOML, and wrong settings are refused with a sentence that helps."""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from critica.recipes.coercion import ConfigError
from critica.recipes.config import apply_set, apply_sets, from_tables, to_tables
from critica.recipes.toml import read_toml, write_toml


class Critic(ABC):
    @abstractmethod
    def value(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Tail:
    lower: float = 0.1
    upper: float = 0.1


@dataclass(frozen=True, slots=True)
class NoTail:
    pass


@dataclass(frozen=True, slots=True)
class Quantile(Critic):
    quantiles: int = 64
    heads: int = 3
    tail: Tail | NoTail = field(default_factory=Tail)
    sizes: tuple[int, ...] = ()
    mode: Literal["mean", "median"] = "mean"
    name: str | None = None

    def __post_init__(self) -> None:
        if self.quantiles < 1:
            raise ValueError(f"quantiles must be at least 1, got {self.quantiles}")

    def value(self) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Mean(Critic):
    ddof: int = 1

    def value(self) -> float:
        return 0.0


class Rule(Protocol):
    def estimate(self) -> float: ...


@dataclass(frozen=True)
class Gae:
    decay: float = 0.95
    discount: float = 1.0

    def estimate(self) -> float:
        return self.decay


@dataclass(frozen=True)
class Standard:
    inner: Rule
    center: bool = True

    def estimate(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Says:
    where: str


@dataclass(frozen=True)
class Chose:
    because: str
    paper: str = ""


@dataclass(frozen=True)
class Whole:
    critic: Critic
    advantage: Rule
    steps: int = 10
    limit: int | None = 5
    rules: tuple[Rule, ...] = ()
    provenance: Mapping[str, Says | Chose] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.critic, Mean) and self.steps > 100:
            raise ValueError("a mean critic takes at most 100 steps")


PARTS = {
    "critic": {"quantile": Quantile, "mean": Mean},
    "advantage": {"gae": Gae, "standard": Standard},
    "rule": {"gae": Gae, "standard": Standard},
}
START = Whole(critic=Quantile(), advantage=Standard(Gae()))

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8).filter(lambda text: text != "none")
numbers = st.floats(allow_nan=False)
tails = st.one_of(st.builds(Tail, numbers, numbers), st.just(NoTail()))
critics = st.one_of(
    st.builds(
        Quantile,
        quantiles=st.integers(1, 9),
        heads=st.integers(-9, 9),
        tail=tails,
        sizes=st.lists(st.integers(-3, 3), max_size=3).map(tuple),
        mode=st.sampled_from(["mean", "median"]),
        name=st.none() | words,
    ),
    st.builds(Mean, ddof=st.integers(0, 3)),
)
rules = st.recursive(
    st.builds(Gae, numbers, numbers), lambda inner: st.builds(Standard, inner, st.booleans()), max_leaves=4
)
sources = st.dictionaries(words, st.one_of(st.builds(Says, words), st.builds(Chose, words, words)), max_size=2)
wholes = st.builds(
    Whole,
    critic=critics,
    advantage=rules,
    steps=st.integers(1, 100),
    limit=st.none() | st.integers(-(2**63), 2**63 - 1),
    rules=st.lists(rules, max_size=3).map(tuple),
    provenance=sources,
)


@given(wholes)
def test_any_tree_survives_toml(whole: Whole) -> None:
    text = tomli_w.dumps(to_tables(whole, PARTS))
    assert from_tables(tomllib.loads(text), Whole, PARTS) == whole


@given(wholes, wholes)
def test_a_full_config_overrides_any_start(whole: Whole, start: Whole) -> None:
    tables = to_tables(whole, PARTS)
    back = from_tables(tables, start, PARTS)
    assert (back.critic, back.advantage, back.steps, back.limit, back.rules) == (
        whole.critic, whole.advantage, whole.steps, whole.limit, whole.rules
    )  # fmt: skip


def test_tables_use_short_names_and_nest() -> None:
    tables = to_tables(START, PARTS)
    assert tables["critic"]["use"] == "quantile"
    assert tables["critic"]["tail"] == {"use": "tail", "lower": 0.1, "upper": 0.1}
    assert tables["advantage"] == {
        "use": "standard",
        "inner": {"use": "gae", "decay": 0.95, "discount": 1.0},
        "center": True,
    }


@pytest.mark.parametrize(
    ("setting", "read", "expected"),
    [
        ("critic.quantiles=32", lambda w: w.critic.quantiles, 32),
        ("critic.tail.lower=1", lambda w: w.critic.tail.lower, 1.0),
        ("critic.tail.lower=1e-4", lambda w: w.critic.tail.lower, 1e-4),
        ("critic.tail.lower=.5", lambda w: w.critic.tail.lower, 0.5),
        ("critic.tail=no_tail", lambda w: w.critic.tail, NoTail()),
        ('critic.tail={use="tail", lower=0.3}', lambda w: w.critic.tail, Tail(0.3, 0.1)),
        ("critic.tail={lower=0.3}", lambda w: w.critic.tail, Tail(0.3, 0.1)),
        ("critic.sizes=1,2", lambda w: w.critic.sizes, (1, 2)),
        ("critic.sizes=[3]", lambda w: w.critic.sizes, (3,)),
        ("critic.sizes=7", lambda w: w.critic.sizes, (7,)),
        ("critic.mode=median", lambda w: w.critic.mode, "median"),
        ("critic.name=32", lambda w: w.critic.name, "32"),
        ("critic.name=a=b", lambda w: w.critic.name, "a=b"),
        ("critic.name=none", lambda w: w.critic.name, None),
        ("critic=mean", lambda w: w.critic, Mean()),
        ("advantage.inner.decay=0.9", lambda w: w.advantage.inner.decay, 0.9),
        ("advantage.center=false", lambda w: w.advantage.center, False),
        ("limit=none", lambda w: w.limit, None),
        ("limit=8", lambda w: w.limit, 8),
        ('rules=["gae", {use="standard", inner="gae"}]', lambda w: w.rules, (Gae(), Standard(Gae()))),
    ],
)
def test_set_reads_the_value_as_the_field_says(setting, read, expected) -> None:
    value = read(apply_set(START, setting, PARTS))
    assert value == expected and type(value) is type(expected)


def test_only_what_was_set_changes() -> None:
    changed = apply_set(START, "critic.quantiles=32", PARTS)
    assert changed == Whole(critic=Quantile(quantiles=32), advantage=Standard(Gae()))
    assert START.critic.quantiles == 64


def test_elements_of_a_list_are_set_by_index() -> None:
    start = Whole(Mean(), Gae(), rules=(Gae(), Gae(0.5)))
    assert apply_set(start, "rules.1.decay=0.25", PARTS).rules == (Gae(), Gae(0.25))


def test_settings_valid_only_together_come_in_any_order() -> None:
    long = apply_set(START, "steps=200", PARTS)
    for settings in (["critic=mean", "steps=50"], ["steps=50", "critic=mean"]):
        assert apply_sets(long, settings, PARTS).critic == Mean()
    with pytest.raises(ConfigError, match="at most 100 steps"):
        apply_sets(long, ["critic=mean"], PARTS)


def test_a_table_with_use_starts_afresh_and_without_changes_what_is_there() -> None:
    start = Whole(Quantile(quantiles=5, heads=7), Gae())
    assert from_tables({"critic": {"heads": 2}}, start, PARTS).critic == Quantile(quantiles=5, heads=2)
    assert from_tables({"critic": {"use": "quantile", "heads": 2}}, start, PARTS).critic == Quantile(heads=2)


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        (
            "critic.quantils=3",
            ["critic (Quantile)", "'quantils'", "nearest is 'quantiles'", "quantiles, heads, tail"],
        ),
        ("critik=mean", ["Whole", "nearest is 'critic'", "steps"]),
        ("critic.quantiles=many", ["critic.quantiles", "expected int", "'many'", "critic.quantiles=64"]),
        ("critic.quantiles=1.5", ["expected int", "1.5"]),
        ("critic.quantiles=true", ["expected int"]),
        ("critic.quantiles=0", ["critic: quantiles must be at least 1, got 0"]),
        ("critic.mode=medain", ["'mean' or 'median'", "nearest is 'median'"]),
        ("critic=quantle", ["no 'quantle'", "nearest is 'quantile'", "mean, quantile", "FILE.py:CLASS"]),
        ("critic.tail=tial", ["nearest is 'tail'", "no_tail, tail"]),
        ("critic.heads.x=3", ["critic.heads is 3 (int)", "'x'"]),
        ("advantage=standard", ["advantage: Standard needs a value for inner"]),
        ("advantage.center=maybe", ["true or false", "'maybe'"]),
        ("critic.sizes=a,b", ["critic.sizes.0", "expected int", "'a'"]),
        ("limit=x", ["int or none"]),
        ("steps", ["PATH=VALUE"]),
        ("critic=nowhere.py:Mine", ["no file", "nowhere.py"]),
    ],
)
def test_wrong_settings_are_refused_with_the_way_out(setting: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_set(START, setting, PARTS)
    for part in parts:
        assert part in str(caught.value)


def test_unknown_keys_and_missing_use_in_toml_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"critic \(Mean\) has no field 'dof'.*nearest is 'ddof'"):
        from_tables({"critic": {"use": "mean", "dof": 1}, "advantage": {"use": "gae"}}, Whole, PARTS)
    with pytest.raises(ConfigError, match="critic: say which part this is: use = one of mean, quantile"):
        from_tables({"critic": {"ddof": 1}, "advantage": {"use": "gae"}}, Whole, PARTS)
    with pytest.raises(ConfigError, match="needs a value for critic"):
        from_tables({"advantage": {"use": "gae"}}, Whole, PARTS)


USER_PART = """
from dataclasses import dataclass
from {module} import {base}

@dataclass(frozen=True)
class Mine({base}):
    scale: float = 2.0
    def value(self): return self.scale

class NotData({base}):
    def value(self): return 0.0
"""


def test_a_users_own_part_is_loaded_set_and_survives_toml(tmp_path: Path, monkeypatch) -> None:
    import critica.recipes.user_parts as module

    monkeypatch.setattr(module, "Critic", Critic, raising=False)
    file = tmp_path / "mine.py"
    file.write_text(USER_PART.format(module=module.__name__, base="Critic"))
    changed = apply_sets(START, [f"critic={file}:Mine", "critic.scale=3"], PARTS)
    assert changed.critic.value() == 3.0
    tables = tomllib.loads(tomli_w.dumps(to_tables(changed, PARTS)))
    assert tables["critic"]["use"] == f"{file}:Mine"
    assert from_tables(tables, Whole, PARTS) == changed
    beside = from_tables({"critic": {"use": "mine.py:Mine"}}, START, PARTS, folder=tmp_path)
    assert beside.critic.value() == 2.0
    with pytest.raises(ConfigError, match="defines no 'Mime'; the nearest is 'Mine'"):
        apply_set(START, f"critic={file}:Mime", PARTS)
    with pytest.raises(ConfigError, match="is not a dataclass"):
        apply_set(START, f"critic={file}:NotData", PARTS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ny = 1 / 0\n", "line 2: ZeroDivisionError"),
        ("x = (\n\n", "line 1: '\\(' was never closed"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    a: int = 1\n",
            "must be a subclass of .*Critic",
        ),
    ],
)
def test_a_failing_user_file_is_named_with_its_line(tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(ConfigError, match=message) as caught:
        apply_set(START, f"critic={file}:Mine", PARTS)
    assert "mine.py" in str(caught.value)


def test_notes_stand_beside_their_values_and_change_nothing(tmp_path: Path) -> None:
    tables = to_tables(Whole(Quantile(), Standard(Gae()), rules=(Gae(), Gae())), PARTS)
    file = tmp_path / "config.toml"
    file.write_text(
        write_toml(tables, {"critic.quantiles": "paper: 200", "critic.tail": "paper:\nsection 3", "steps": "ours"})
    )
    lines = file.read_text().splitlines()
    assert "quantiles = 64  # paper: 200" in lines
    assert "[critic.tail]  # paper: section 3" in lines
    assert "steps = 10  # ours" in lines
    assert read_toml(file) == tables


def test_a_broken_toml_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("steps = 1\ncritic = = 2\n")
    with pytest.raises(ConfigError, match=r"bad.toml is not valid TOML: .*line 2"):
        read_toml(file)


def test_short_specs_are_read_where_they_are_declared() -> None:
    def read(spec: str) -> Gae:
        decay = spec.removeprefix("decay:")
        if decay == spec:
            raise ValueError(f"{spec!r} is no rule; write decay:0.9")
        return Gae(float(decay))

    specs = {"advantage": read}
    assert apply_sets(START, ["advantage=decay:0.5", "advantage.discount=0.9"], PARTS, specs).advantage == Gae(0.5, 0.9)
    assert from_tables({"advantage": "decay:0.5"}, START, PARTS, specs=specs).advantage == Gae(0.5)
    assert apply_sets(START, ['advantage={use="gae", decay=0.1}'], PARTS, specs).advantage == Gae(0.1)
    with pytest.raises(ConfigError, match=r"advantage: 'dekay:1' is no rule; write decay:0\.9"):
        apply_sets(START, ["advantage=dekay:1"], PARTS, specs)


@dataclass(frozen=True)
class Noted:
    steps: int = 1
    notes: Mapping[str, str] = field(default_factory=dict, metadata={"saved": False})


def test_notes_about_a_config_are_no_part_of_it_and_survive_a_change() -> None:
    start = Noted(notes={"steps": "paper"})
    assert to_tables(start, {}) == {"steps": 1}
    assert apply_set(start, "steps=2", {}) == Noted(2, {"steps": "paper"})
    with pytest.raises(ConfigError, match="no field 'notes'"):
        apply_set(start, "notes=none", {})
