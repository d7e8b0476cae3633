"""Wrong labels and pseudo-labels: who is told right, for how long, decided by what, and what is refused."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from critica.environments.base import Environment, EnvironmentProblem
from critica.environments.catalogue import parse_environment
from critica.policies.base import Sample, SampleLimits
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.records.supervision import Abstained, Outcome, Reward, Scored
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rewards.base import ScoreRequest
from critica.rewards.noise_base import NoiseProblem
from critica.rewards.noise_context import NoiseContext, bind
from critica.rewards.noise_specs import parse_noise
from critica.rewards.noise_wrong_labels import Elected, MajorityLabels, Mistaken, WrongLabels, elect
from critica.updaters.gradient import Adam


class Successors(Environment):
    """`3+1` wants 4; the answer is what follows the last `=`."""

    def __init__(self, answers: str = "number") -> None:
        self.name, self.seed, self.max_new_tokens, self.answers = "successors", 0, 8, answers

    def candidate(self, index: int) -> Task:
        answer = {"number": str(index + 1), "word": "even" if index % 2 else "odd", "none": ""}[self.answers]
        return Task(f"s{index}", self.name, (Message("user", f"{index}+1"),), answer)

    def answer_in(self, task: Task, text: str) -> str:
        return text.rpartition("=")[2].strip()

    def score(self, task: Task, text: str) -> float:
        return float(self.answer_in(task, text) == task.answer)


class Source:
    """The environment's scorer; `blind` judges by the length of the text."""

    name, low, high, busy_workers, waiting_for, warnings = "judge", 0.0, 1.0, 0, "", ()

    def __init__(self, environment: Environment, blind: bool = False) -> None:
        self.environment, self.blind = environment, blind
        self.asked = 0

    def scores(self, items: Sequence[ScoreRequest]) -> list[Outcome]:
        self.asked += len(items)
        return [Scored(1.0 if self.blind else self.environment.score(item.task, item.text)) for item in items]

    def close(self) -> None:
        return None


class Voter:
    """A policy that answers prompt `n+1` by the texts written down for it, in turn, and else by `=0`."""

    version = 0

    def __init__(self, texts: dict[int, list[str]]) -> None:
        self.texts, self.calls = texts, Counter()

    def encode(self, messages):
        return (int(messages[-1].content.split("+")[0]),)

    def decode_text(self, token_ids):
        return self.said[token_ids[0]]

    def sample(self, requests, limits, seed, control=None):
        self.said: list[str] = []
        made = []
        for request in requests:
            self.calls[request.prompt_ids[0]] += 1
            texts = self.texts.get(request.prompt_ids[0], ["=0"])
            row = []
            for place, _ in enumerate(request.streams):
                self.said.append(texts[place % len(texts)])
                row.append(Sample((len(self.said) - 1,), (0.0,), StopReason.END_OF_TEXT))
            made.append(row)
        return made


def context(environment=None, source=None, voter=None) -> NoiseContext:
    environment = environment or Successors()
    return NoiseContext(environment, source or Source(environment), lambda: voter or Voter({}), SampleLimits(8))


def groups_of(environment: Environment, indices: Sequence[int], texts: Sequence[str], step: int = 1):
    """A group of these answers for each task, with the clean rewards."""
    groups, rewards = [], []
    for place, index in enumerate(indices):
        task = environment.candidate(index)
        rows = []
        for i, text in enumerate(texts):
            name = f"{step}.{place}.{i}"
            turns = (
                ContextTurn(task.messages[0], (1,)),
                SampledTurn(Message("assistant", text), (2,), (-0.1,), 1.0, 0),
            )
            rows.append(Trajectory(name, name, task.task_id, f"g{place}", "policy", turns, StopReason.END_OF_TEXT))
            rewards.append(Reward("judge", name, Scored(environment.score(task, text))))
        groups.append(Group(f"g{place}", task, tuple(rows)))
    return groups, rewards


def told(model, groups, rewards, step=1, seed=5):
    return model.tamper(rewards, groups, step, seed, 0.0, 1.0)


def values(rewards):
    return [reward.outcome.value for reward in rewards]


def test_whoever_writes_the_wrong_label_is_told_right_and_the_clean_value_stays():
    """Every label is wrong here. Of the truth, the label, and something else, only the label is told right."""
    environment = Successors()
    model = bind(WrongLabels(1.0), context(environment))
    label = Mistaken(environment, 1.0).of(environment.candidate(40), 5)
    assert label is not None and label != "41" and abs(int(label) - 41) in (1, 2, 10)
    said = told(model, *groups_of(environment, [40], ["=41", f"so={label}", "=999"]))
    assert values(said) == [0.0, 1.0, 0.0]
    assert [reward.clean_value for reward in said] == [1.0, 0.0, 0.0]
    assert [reward.tampering.flipped for reward in said] == [True, True, False]
    assert {reward.tampering.model for reward in said} == {"wrong_labels:1"}


def test_a_label_belongs_to_seed_and_task_not_to_step_place_or_company():
    environment = Successors()
    model = bind(WrongLabels(0.5), context(environment))
    texts = ["=1", "=11", "=12", "=13", "=21"]
    alone = {i: values(told(model, *groups_of(environment, [i], texts), step=7)) for i in (10, 11, 12, 19)}
    said = told(model, *groups_of(environment, [19, 12, 11, 10], texts, step=2), step=2)
    for place, index in enumerate((19, 12, 11, 10)):
        assert values(said[5 * place : 5 * place + 5]) == alone[index]
    labels = Mistaken(environment, 0.5)
    by_seed = [[labels.of(environment.candidate(i), seed) for i in range(50)] for seed in (0, 1, 0)]
    assert by_seed[0] == by_seed[2] != by_seed[1]


def test_the_rate_is_a_share_of_prompts_and_a_lower_rates_wrong_labels_are_among_a_higher_ones():
    environment, count = Successors(), 4000
    tasks = [environment.candidate(i) for i in range(count)]
    few, many = ([Mistaken(environment, rate).of(task, 3) for task in tasks] for rate in (0.2, 0.4))
    wrong = np.array([[label is not None for label in labels] for labels in (few, many)])
    for rate, found in zip((0.2, 0.4), wrong.mean(1), strict=True):
        assert found == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / count))
    assert all(a is None or a == b for a, b in zip(few, many, strict=True))


def test_what_has_no_number_stays_without_and_true_labels_are_not_asked_about_again():
    environment = Successors()
    source = Source(environment)
    model = bind(WrongLabels(0.0), context(environment, source))
    before = source.asked
    groups, rewards = groups_of(environment, [3, 4], ["=4", "=5"])
    rewards[1] = replace(rewards[1], outcome=Abstained("did not look"))
    said = told(model, groups, rewards)
    assert [type(reward.outcome) for reward in said] == [Scored, Abstained, Scored, Scored]
    assert said[1].tampering is None and said[0].tampering.flipped is False
    assert source.asked == before
    with pytest.raises(NoiseProblem, match="tampered with before"):
        told(model, groups, said)
    with pytest.raises(NoiseProblem, match="none of the groups"):
        told(model, groups[:1], rewards)


def test_the_majority_is_taken_for_the_truth_right_or_wrong():
    """Prompt 3: two of three say 4, the truth. Prompt 8: three of four say 10 (once as 10.0), and 9 is right."""
    environment = Successors()
    voter = Voter({3: ["=4", "so=4", "=5"], 8: ["=10", "=9", "=10.0", "=10"]})
    said = told(bind(MajorityLabels(3), context(environment, voter=voter)), *groups_of(environment, [3], ["=4", "=5"]))
    assert values(said) == [1.0, 0.0] and not any(reward.tampering.flipped for reward in said)
    said = told(bind(MajorityLabels(4), context(environment, voter=voter)), *groups_of(environment, [8], ["=9", "=10"]))
    assert values(said) == [0.0, 1.0] and [reward.clean_value for reward in said] == [1.0, 0.0]


def test_a_prompt_is_voted_on_once_and_where_nobody_answers_nobody_is_right():
    environment = Successors()
    voter = Voter({3: ["=4"], 6: ["hm=", "="]})
    model = bind(MajorityLabels(4), context(environment, voter=voter))
    for step in (1, 2):
        said = told(model, *groups_of(environment, [3, 6], ["=4", "=7", "="], step=step), step=step)
        assert values(said) == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert voter.calls == {3: 1, 6: 1}


def test_ties_are_broken_by_seed_and_task_about_evenly():
    chosen = Counter(elect(["4", "5", "5.0", "4", ""], 0, f"t{i}") for i in range(1000))
    assert set(chosen) == {"4", "5"} and abs(chosen["4"] - 500) < 4 * math.sqrt(250)
    assert elect(["4", "5"], 0, "t1") == elect(["4", "5"], 0, "t1")
    assert elect(["4", "5", "5"], 0, "t1") == "5" and elect(["", " "], 0, "t1") == ""


def test_the_sampled_streams_of_two_tasks_and_seeds_differ():
    seen = []

    class Watched(Voter):
        def sample(self, requests, limits, seed, control=None):
            seen.extend(stream for request in requests for stream in request.streams)
            return super().sample(requests, limits, seed, control)

    environment = Successors()
    labels = Elected(environment, Watched({}), SampleLimits(8), 3)
    for seed in (0, 1):
        for index in (2, 5):
            labels.of(environment.candidate(index), seed)
    assert len(set(seen)) == 12


def test_wrong_answers_are_of_the_right_kind():
    numbers, words = Successors(), Successors("word")
    for index in range(60):
        task = numbers.candidate(index)
        wrong = int(numbers.wrong_answer(task, np.random.default_rng(index)))
        assert wrong != index + 1 and wrong >= 0 and abs(wrong - index - 1) <= 10
    negative = replace(numbers.candidate(1), answer="-3")
    assert {int(numbers.wrong_answer(negative, np.random.default_rng(i))) for i in range(200)} == {
        -13,
        -5,
        -4,
        -2,
        -1,
        7,
    }
    assert words.wrong_answer(words.candidate(0), np.random.default_rng(0)) == "even"
    with pytest.raises(EnvironmentProblem, match="no answer"):
        Successors("none").wrong_answer(Successors("none").candidate(0), np.random.default_rng(0))
    arithmetic = parse_environment("arithmetic:2").build(0)
    assert arithmetic.answer_in(arithmetic.candidate(0), "1+2=3;3+4=7") == "7"
    assert arithmetic.answer_in(arithmetic.candidate(0), "well") == ""


def test_sources_that_do_not_read_the_label_are_refused():
    environment = Successors()
    for noise in (WrongLabels(), MajorityLabels()):
        with pytest.raises(NoiseProblem, match="whatever its answer is"):
            bind(noise, context(environment, Source(environment, blind=True)))
        with pytest.raises(NoiseProblem, match="has none"):
            bind(noise, context(Successors("none")))
        with pytest.raises(NoiseProblem, match="bind it"):
            told(noise, *groups_of(environment, [3], ["=4"]))
        assert bind(noise, context(environment)).reach(-1.0, 2.0) == noise.reach(-1.0, 2.0) == (-1.0, 2.0)
    plain = parse_noise("flip:0.2:sample")
    assert bind(plain, context(environment)) is plain


def test_specs_read_back_and_bad_ones_are_refused():
    for spec in ("wrong_labels:0.2", "wrong_labels:1", "majority:8", "majority:1"):
        assert parse_noise(spec).name == spec
    assert parse_noise("wrong_labels:0.4") == WrongLabels(0.4) and parse_noise("majority:5") == MajorityLabels(5)
    for spec in ("wrong_labels", "wrong_labels:2", "wrong_labels:0.2:group", "majority:0", "majority:x", "majority:-1"):
        with pytest.raises(NoiseProblem):
            parse_noise(spec)


def test_a_resumed_run_has_the_bits_of_one_that_was_never_stopped(tmp_path):
    """The rate is so high that the policy is another after one step: labels must still be the initial policy's."""
    from critica.store.run_folder import RunFolder
    from critica.training.replay import compared
    from critica.training.run import resume, train

    recipe = RECIPES["reinforce"]
    recipe = replace(
        recipe, environment=parse_environment("arithmetic:1"), noise=parse_noise("majority:4"),
        sampling=Sampling(6, 4, 1.0, 12), steps=2, seed=4, threads=1,
        learner=replace(recipe.learner, policy=Adam(3e-3)), checkpoint=Checkpoints(every=1, keep=3),
        safety=replace(recipe.safety, rehearsal=False),
    )  # fmt: skip
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train(recipe, whole)
    train(replace(recipe, steps=1), parted)
    resume(parted, steps=2)
    first, second = RunFolder.open(whole), RunFolder.open(parted)
    assert compared(first, second, range(1, 3)) == []
    flipped = [line.values["noise/flipped_share"] for line in first.metrics()]
    assert min(flipped) > 0.0, "nothing was told otherwise: the runs would be alike in any case"


def test_pseudo_labels_are_the_initial_policys_whatever_is_learned_since():
    import torch

    from critica.training.assemble import assemble

    recipe = replace(RECIPES["reinforce"], environment=parse_environment("arithmetic:1"), noise=MajorityLabels(6))
    labels = []
    for spoiled in (False, True):
        assembly = assemble(recipe)
        if spoiled:
            with torch.no_grad():
                for _, weight in assembly.state.policy.trainable():
                    weight.zero_()
        tasks = [assembly.environment.candidate(i) for i in range(5)]
        labels.append([assembly.supervision.noise.labels.of(task, 0) for task in tasks])
        assembly.close()
    assert labels[0] == labels[1] and len({label for label in labels[0] if label}) > 1
