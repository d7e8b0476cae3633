"""Runs with corrections and with several objectives: resumed to the same bits, readable afterwards, refused before."""

from dataclasses import dataclass, replace

import pytest

from critica.recipes.catalogue import PARTS
from critica.recipes.resolve import change_recipe
from critica.records.evidence import Continuations
from critica.records.supervision import Scale
from critica.rewards.base import VerdictSource
from critica.rewards.correction_base import Uncorrected
from critica.rewards.corrections import Backward
from critica.rewards.each_objective import EachObjective
from critica.rewards.noise import NoNoise
from critica.rewards.posterior import Posterior
from critica.rewards.rates import Audited
from critica.rewards.value_corrections import Soften
from critica.rewards.verifiers import EnvironmentScorer
from critica.rollout.combine import NormalizeThenSum
from critica.rollout.denoise import Denoise
from critica.rollout.place import Placement
from critica.store.rollouts import read_rollouts
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble, refuse_unlike_told, refuse_wider_scope
from critica.training.plan import describe, plan
from critica.training.run import resume, train
from critica.viewer.report import write_report
from training.test_resume import Stops, files

SOURCE = '''
"""Two objectives: whether the answer is new to it, and minus its length; the first depends on all it ever saw."""

from dataclasses import dataclass

from critica.records.supervision import Abstained, Scale, Scored, TextSpan, Verdict
from critica.rewards.base import RewardConfig, VerdictSource


@dataclass(frozen=True)
class Novelty(RewardConfig):
    most: int = 1

    def build(self, environment, limits=None):
        return Live(self.most)


class Live(VerdictSource):
    name, scales, needs = "novelty", (Scale("new", 0.0, 1.0), Scale("short", -1.0, 0.0)), frozenset()

    def __init__(self, most):
        self.most, self.seen = most, {}

    def judge(self, items):
        said = []
        for item in items:
            first = item.text[:1]
            times = self.seen.get(first, 0)
            self.seen[first] = times + 1
            short = Scored(-min(1.0, len(item.text.strip()) / 8)) if times % 5 else Abstained("not looked at")
            spans = (TextSpan(0, 1, 0.5),) if item.text and times < self.most else ()
            said.append(Verdict((Scored(float(times < self.most)), short), {"times": float(times)}, spans))
        return said

    def state_dict(self):
        return {"seen": dict(self.seen)}

    def load_state_dict(self, state):
        self.seen = dict(state["seen"])
'''


@pytest.fixture
def cases(small, tmp_path):
    def make(name):
        if name == "backward":
            rates = Audited(share=0.5, gold=EnvironmentScorer())
            return small("reinforce", correction=Backward(rates), steps=4)
        if name == "posterior":
            return small("dr_grpo", correction=Posterior(every=1), steps=4)
        file = tmp_path / "novelty.py"
        file.write_text(SOURCE)
        recipe = small("ppo", noise=NoNoise(), steps=4)
        placement = Placement(denoise=Denoise(0.3, after_steps=1), combination=NormalizeThenSum((1.0, 0.5)))
        recipe = replace(recipe, placement=placement, correction=EachObjective((Posterior(0.1), Soften())))
        return change_recipe(recipe, [f'reward={{use="{file}:Novelty", most=8}}'], PARTS)

    return make


@pytest.mark.parametrize("name", ["backward", "posterior", "novelty"])
def test_a_stopped_run_goes_on_to_the_same_bits(name, cases, tmp_path):
    """Rates, counts, and a source's memory come back with the checkpoint; the step in between is told what it was."""
    recipe = cases(name)
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(3))
    resume(tmp_path / "cut")
    assert files(tmp_path / "whole", 4) == files(tmp_path / "cut", 4)
    whole, cut = (tmp_path / run / "checkpoints/step_4/progress.json" for run in ("whole", "cut"))
    assert whole.read_text() == cut.read_text() and '"correction"' in whole.read_text()
    for kept in ("metrics.jsonl", "ledger.jsonl"):
        assert (tmp_path / "whole" / kept).read_text() == (tmp_path / "cut" / kept).read_text()
    last = list(RunFolder.open(tmp_path / "whole").metrics())[-1].values
    if name == "novelty":
        books_and_files(tmp_path / "whole", last)
    else:
        assert last["correction/error_said"] > 0
        assert 0 <= last["correction/false_positives"] < 1


MOODY = '''
"""A better source that is right about every third answer only: what it says depends on how many it has seen."""

from dataclasses import dataclass

from critica.records.supervision import Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, VerdictSource


@dataclass(frozen=True)
class Moody(RewardConfig):
    def build(self, environment, limits=None):
        return Live()


class Live(VerdictSource):
    name, scales, seen = "moody", (Scale("moody", 0.0, 1.0),), 0

    def judge(self, items):
        self.seen += len(items)
        return [Verdict((Scored(float((self.seen + i) % 3 == 0)),)) for i in range(len(items))]

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]
'''


@pytest.mark.parametrize(
    "correction",
    [
        '{{use="audited_value", share=0.5, gold={gold}}}',
        '{{use="backward", rates={{use="audited", share=0.5, gold={gold}}}}}',
        '{{use="watched", rates={{share=0.5, gold={gold}}}}}',
    ],
)
@pytest.mark.parametrize("stop", [2, 3])
def test_what_a_gold_source_remembers_is_in_the_checkpoint_and_in_the_journal(correction, stop, small, tmp_path):
    """Stopped right behind a checkpoint, no journal knows the memory; a step later no checkpoint does."""
    file = tmp_path / "moody.py"
    file.write_text(MOODY)
    setting = correction.format(gold=f'{{use="{file}:Moody"}}')
    recipe = change_recipe(small("reinforce", steps=4), [f"correction={setting}"], PARTS)
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(stop))
    resume(tmp_path / "cut")
    assert files(tmp_path / "whole", 4) == files(tmp_path / "cut", 4)
    whole, cut = (tmp_path / run / "checkpoints/step_4/progress.json" for run in ("whole", "cut"))
    assert whole.read_text() == cut.read_text() and '"seen"' in whole.read_text()


def books_and_files(run, last):
    """Each sample is counted once, an objective's missing outcome fails it, and everything can be read."""
    counted = {name: last[f"samples/{name}"] for name in ("trained", "masked", "filtered", "failed")}
    assert sum(counted.values()) == 12 and counted["failed"] > 0
    assert last["reward/unknown"] == pytest.approx(counted["failed"] / 12)
    assert "correction/objective/new/false_positives" in last and "reward/source/short" in last
    table = read_rollouts(run, 4)
    assert table.num_rows == 12
    states, told = table["outcome_state"].to_pylist(), table["reward_told"].to_pylist()
    assert states.count("abstained") == counted["failed"] and states.count("scored") == 12 - counted["failed"]
    assert [value is None for value in told] == [state == "abstained" for state in states]
    assert "</html>" in write_report(run).read_text()


def test_a_correction_that_changes_nothing_is_said_in_the_plan_and_at_the_start(small):
    recipe = small("grpo", correction=Soften())
    assert "note: correction=Soften changes nothing here" in describe(plan(recipe), recipe)
    assembly = assemble(recipe)
    try:
        assert any("correction=Soften changes nothing" in warning for warning in assembly.warnings)
    finally:
        assembly.close()
    assert not any("correction=" in line for line in plan(small("ppo", correction=Soften())).remarks)


@dataclass
class Fake(VerdictSource):
    """A source by its looks."""

    scales: tuple = (Scale("a", 0.0, 1.0),)
    scope: str = "sample"
    name: str = "fake"

    def judge(self, items):
        raise AssertionError


@pytest.mark.parametrize(
    ("changes", "source", "words"),
    [
        ({"correction": Posterior()}, Fake(), "set correction=none"),
        ({}, Fake(scope="group"), "continuations have none"),
        ({"placement": Placement(combination=NormalizeThenSum())}, Fake(), "told what was said"),
        ({}, Fake((Scale("a", 0.0, 1.0), Scale("b", 0.0, 1.0))), "drawn for each of several"),
    ],
)
def test_measured_values_are_refused_where_training_is_told_something_else(changes, source, words, small):
    needs = frozenset({Continuations})
    recipe = small("vine_ppo", **changes)
    with pytest.raises(ValueError, match=words):
        refuse_unlike_told(recipe, needs, source)
    refuse_unlike_told(recipe, frozenset(), source)
    clean = replace(small("vine_ppo", noise=NoNoise()), correction=Uncorrected())
    refuse_unlike_told(clean, needs, Fake((Scale("a", 0.0, 1.0), Scale("b", 0.0, 1.0))))


def test_settings_must_not_claim_less_than_their_source_needs(small):
    with pytest.raises(ValueError, match="let both say the same"):
        refuse_wider_scope(small("grpo"), Fake(scope="group"))
    refuse_wider_scope(small("grpo"), Fake())
