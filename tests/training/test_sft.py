"""Supervised fine-tuning in the one loop: whose words are learned, their log-probs, what is refused, whole runs."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.curricula.base import Budget, Request, Stage
from critica.curricula.stream import Stream
from critica.environments.arithmetic import Arithmetic
from critica.environments.base import EnvironmentProblem
from critica.environments.files import TaskFile
from critica.policies.base import PromptTooLong, SampleLimits
from critica.policies.language_model import LanguagePolicy
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.records.supervision import Scale
from critica.records.words import SampledTurn, StopReason
from critica.rewards.noise import NoNoise
from critica.rewards.noise_specs import parse_noise
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.gather import Supervision, gather
from critica.rollout.given import Given
from critica.rollout.protocol import ProtocolContext
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train
from critica.updaters.gradient import Adam

TRAIN = Stage("train", policy=True, critic=True)


class Unasked:
    """A source that nobody may ask."""

    name, low, high, busy_workers, waiting_for, warnings = "nobody", 0.0, 1.0, 0, "", ()

    def scores(self, items):
        raise AssertionError("a source was asked about what the data says")

    def close(self):
        return None


@pytest.fixture
def tasks_file(tmp_path):
    """Sixty sums with a completion, a wrong one beside it, and weights."""
    place = tmp_path / "tasks.jsonl"
    rows = [
        {"prompt": f"{a}+{b}=", "answer": str(a + b), "completion": f"{a + b}", "chosen": f"{a + b}!",
         "rejected": f"{a + b + 1}", "weight": 0.5 if a % 2 else 1, "heavy": 3}
        for a in range(10) for b in range(6)
    ]  # fmt: skip
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(place)


@pytest.fixture
def policy(tiny_folder, monkeypatch):
    made = LanguagePolicy.load(str(tiny_folder))
    monkeypatch.setattr(LanguagePolicy, "sample", refused)
    return made


def refused(*given, **more):
    raise AssertionError("something was sampled that the data gives")


def played(policy, path, part, samples=1, tokens=8, temperature=1.0):
    environment = TaskFile(path).build(0)
    limits = SampleLimits(tokens, temperature)
    curriculum = Stream().build(environment, Budget(3, samples, limits, 0, False))
    live = part.build(ProtocolContext(environment, WorkerLimits()))
    supervision = Supervision(Unasked(), NoNoise(), 0)
    return gather(policy, curriculum, supervision, AcceptAll(), Request(1, 3, samples, limits, TRAIN), turns=live)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_datas_words_are_learned_with_the_policys_own_log_probs(policy, tasks_file, temperature):
    gathered = played(policy, tasks_file, Given(("completion",)), temperature=temperature)
    assert len(gathered.groups) == 3 and [reward.outcome.value for reward in gathered.rewards] == [1.0, 1.0, 1.0]
    for group in gathered.groups:
        (trajectory,) = group.trajectories
        context, turn = trajectory.turns
        assert isinstance(turn, SampledTurn) and turn.message.content == group.task.info["completion"]
        assert turn.token_ids == (*policy.encode_text(group.task.info["completion"]), *policy.end_ids)
        assert trajectory.stop is StopReason.END_OF_TEXT and turn.temperature == temperature
        ids = torch.tensor([[*context.token_ids, *turn.token_ids]])
        with torch.no_grad():
            laws = torch.log_softmax(policy.model(ids).logits[0] / temperature, -1)
        start = len(context.token_ids)
        wanted = [float(laws[start + t - 1, token]) for t, token in enumerate(turn.token_ids)]
        assert turn.behavior_logprobs == pytest.approx(wanted, abs=2e-5)


def test_pairs_are_siblings_told_apart_by_their_worth(policy, tasks_file):
    gathered = played(policy, tasks_file, Given(("chosen", "rejected"), (1.0, -0.5)), samples=2)
    assert [reward.outcome.value for reward in gathered.rewards] == [1.0, -0.5] * 3
    for group in gathered.groups:
        better, worse = (t.turns[1].message.content for t in group.trajectories)
        assert better == group.task.info["chosen"] and worse == group.task.info["rejected"]
    again = played(policy, tasks_file, Given(("chosen", "rejected")), samples=3)
    assert [t.turns[1].message.content for t in again.groups[0].trajectories] == [
        again.groups[0].task.info[name] for name in ("chosen", "rejected", "chosen")
    ]


def test_a_column_weighs_and_stays_within_the_declared_range(policy, tasks_file):
    part = Given(("answer",), (-0.5,), weight="weight")
    gathered = played(policy, tasks_file, part)
    weights = [group.task.info["weight"] for group in gathered.groups]
    assert [reward.outcome.value for reward in gathered.rewards] == [-0.5 * weight for weight in weights]
    assert set(weights) <= {0.5, 1}
    assert part.reach((Scale("r", 0.0, 1.0),)) == (Scale("r", -0.5, 0.0),)
    assert Given().reach((Scale("r", -2.0, 3.0),)) == (Scale("r", 0.0, 1.0),)


def test_what_the_data_lacks_is_refused(policy, tasks_file):
    with pytest.raises(EnvironmentProblem, match=r"has no text 'reply'.*here: completion, chosen"):
        played(policy, tasks_file, Given(("reply",)))
    with pytest.raises(EnvironmentProblem, match="no text 'worked'"):
        played(policy, tasks_file, Given())
    with pytest.raises(EnvironmentProblem, match=r"weight 3.*between 0 and 1"):
        played(policy, tasks_file, Given(("answer",), weight="heavy"))
    with pytest.raises(ValueError, match="has 2 objectives"):
        Given().reach((Scale("a", 0.0, 1.0), Scale("b", 0.0, 1.0)))
    with pytest.raises(ValueError, match="2 numbers"):
        Given(("answer",), (1.0, 0.0))
    with pytest.raises(ValueError, match="nothing is learned"):
        Given(("answer",), (0.0,))
    with pytest.raises(ValueError, match="is empty"):
        Given(())


def test_a_long_answer_is_refused_or_cut_without_an_end(policy, tasks_file):
    with pytest.raises(ValueError, match=r"tokens with its end.*protocol.cut=true"):
        played(policy, tasks_file, Given(("chosen",)), tokens=1)
    gathered = played(policy, tasks_file, Given(("chosen",), cut=True), tokens=1)
    for group in gathered.groups:
        turn = group.trajectories[0].turns[1]
        assert len(turn.token_ids) == 1 and not set(turn.token_ids) & set(policy.end_ids)
        assert turn.message.content == policy.decode_text(turn.token_ids)
        assert group.trajectories[0].stop is StopReason.TOKEN_LIMIT


def test_what_does_not_fit_into_the_context_is_refused(policy, tmp_path):
    place = tmp_path / "long.jsonl"
    rows = [{"prompt": f"{i} " * 60, "answer": "x" * 200} for i in range(40)]
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(PromptTooLong, match=r"long\.jsonl"):
        played(policy, str(place), Given(("answer",)), tokens=250)


def recipe_of(name, tiny_folder, path, **changes):
    recipe = RECIPES[name]
    made = replace(
        recipe, policy=LocalPolicy(str(tiny_folder)), environment=TaskFile(path, max_new_tokens=8),
        protocol=Given(("completion",), weight="weight"), sampling=Sampling(8, 1),
        learner=replace(recipe.learner, policy=Adam(1e-2)), checkpoint=Checkpoints(every=2, keep=3), steps=6, threads=1,
    )  # fmt: skip
    return replace(made, **changes)


def weights_of(run, step):
    return load_file(run / "checkpoints" / f"step_{step}" / "policy" / "model.safetensors")


@pytest.mark.parametrize("name", ["sft", "eksft"])
def test_a_run_learns_and_resumes_to_the_same_bits(tiny_folder, tasks_file, tmp_path, name):
    recipe = recipe_of(name, tiny_folder, tasks_file)
    train(recipe, tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    nats = [line["imitation/nats"] for line in lines]
    assert nats[-1] < 0.7 * nats[0]
    assert lines[0]["reward/told"] == pytest.approx(lines[0]["reward/clean"])
    train(replace(recipe, steps=3), tmp_path / "cut")
    resume(tmp_path / "cut", steps=6)
    assert (tmp_path / "whole" / "metrics.jsonl").read_text() == (tmp_path / "cut" / "metrics.jsonl").read_text()
    whole, cut = weights_of(tmp_path / "whole", 6), weights_of(tmp_path / "cut", 6)
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    with RunFolder.open(tmp_path / "whole") as store:
        booked = [line["state"] for line in store.ledger() if line["kind"] == "sample"]
    assert booked == ["trained"] * 6 * 8


def test_any_recipe_starts_from_what_was_fine_tuned(tiny_folder, tasks_file, tmp_path):
    train(recipe_of("sft", tiny_folder, tasks_file, steps=2), tmp_path / "sft")
    later = replace(
        RECIPES["rloo"], policy=LocalPolicy(str(tmp_path / "sft")), environment=TaskFile(tasks_file, max_new_tokens=4),
        sampling=Sampling(2, 2), steps=1, threads=1,
    )  # fmt: skip
    train(later, tmp_path / "rloo")
    tuned, start = weights_of(tmp_path / "sft", 2), weights_of(tmp_path / "rloo", 0)
    assert all(torch.equal(tuned[key], start[key]) for key in tuned)


def test_environments_that_can_show_an_answer_need_no_column(tiny_folder, tmp_path):
    recipe = recipe_of("sft", tiny_folder, "unused.jsonl", environment=Arithmetic(), protocol=Given(), steps=1)
    train(recipe, tmp_path / "run")
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["reward/told"] == 1.0 and line["imitation/nats"] > 0


def test_noise_that_nobody_would_hear_is_refused():
    with pytest.raises(ValueError, match="noise=Flip would change nothing"):
        replace(RECIPES["sft"], noise=parse_noise("flip:0.2:sample"))
