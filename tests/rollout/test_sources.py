"""Sources with several objectives, asked once, journaled, counted: from the verdict to the books."""

import math
from dataclasses import dataclass, field

import pytest

from critica.advantages.outcome import Outcome
from critica.critics.base import CriticContext
from critica.critics.counted import GroupMean
from critica.evaluation.measure import measure
from critica.records.evidence import Evidence
from critica.records.journal import Answer
from critica.records.supervision import (
    Abstained,
    Correction,
    Failed,
    Reward,
    Scale,
    Scored,
    Tampering,
    TextSpan,
    Verdict,
    together,
)
from critica.records.words import Message, Task
from critica.rewards.audited_corrections import AskingGold, AuditedValue
from critica.rewards.base import ScoreRequest, VerdictSource, scales_of, verdicts_of
from critica.rewards.each_objective import CorrectingEach
from critica.rewards.noise import NoNoise
from critica.rewards.noise_specs import parse_noise
from critica.rewards.several import AskingSeveral, Several
from critica.rewards.verifiers import Exact, Numeric
from critica.rollout.admission import AcceptAll, Informative
from critica.rollout.ask import ask
from critica.rollout.gather import Supervision, gather, score
from critica.rollout.place import Placement, place
from critica.rollout.samples import collect
from critica.rollout.tokenize import tokenize
from critica.store.journal import StepJournal
from critica.training.books import close_books
from fakes import BigramPolicy
from rollout.test_gather import TRAIN, Verdicts, curriculum, even, request

RIGHT, SHORT = Scale("right", 0.0, 1.0), Scale("short", -1.0, 0.0)


class Two(VerdictSource):
    """Whether the letters add up to an even number, and minus the share of letters that are 'a'."""

    name, scales = "two", (RIGHT, SHORT)

    def __init__(self, missing=()):
        self.missing, self.asked = missing, []

    def judge(self, items):
        self.asked.append([item.trajectory_id for item in items])
        made = []
        for item in items:
            right = Scored(float(sum(map(ord, item.text)) % 2))
            short = Scored(-item.text.count("a") / len(item.text), 0.5)
            if item.trajectory_id in self.missing:
                short = Abstained("no idea")
            made.append(Verdict((right, short), {"letters": float(len(item.text))}, (TextSpan(0, 1, -0.25, 1),), 2.0))
        return made


class Siblings(Two):
    """The same, asked about whole groups."""

    name, scope = "siblings", "group"


def items(*names):
    task = Task("t", "e", (Message("user", "?"),), "")
    return [ScoreRequest(task, name, f"text {name}", name.split(".")[0], 1) for name in names]


def test_a_partial_journal_asks_whole_groups_again_and_single_answers_alone(tmp_path):
    asked = items("0.0", "0.1", "1.0", "1.1")
    for source, again in ((Two(), [["1.1"]]), (Siblings(), [["1.0", "1.1"]])):
        journal = StepJournal(tmp_path / source.name, tmp_path)
        ask(source, asked[:3], journal, 1)
        source.asked.clear()
        first = ask(source, asked, journal, 1)
        assert source.asked == again
        assert ask(source, asked, journal, 1) == first and len(source.asked) == 1
    journal = StepJournal(tmp_path / "batch", tmp_path)
    step = Siblings()
    step.scope = "batch"
    ask(step, asked[:3], journal, 1)
    ask(step, asked, journal, 1)
    assert step.asked[1] == ["0.0", "0.1", "1.0", "1.1"]


def test_what_a_source_remembers_comes_back_with_its_answers(tmp_path):
    """A step done again asks nobody, and its memory is what it was; a torn journal asks about everything."""
    journal = StepJournal(tmp_path / "journal", tmp_path)
    asked = items("0.0", "0.1", "1.0")
    source = Named("judge", Verdict((Scored(1.0),)))
    ask(source, asked[:2], journal, 1)
    ask(source, asked[2:], journal, 1)
    assert source.memory == 3
    again = Named("judge", Verdict((Scored(0.0),)))
    assert ask(again, asked[:2], journal, 1) == [Verdict((Scored(1.0),))] * 2
    assert (again.memory, again.seen) == (2, [])
    ask(again, asked[2:], journal, 1)
    assert (again.memory, again.seen) == (3, [])
    lines = journal.path_of(1).read_text().splitlines(keepends=True)
    journal.path_of(1).write_text(lines[0])
    torn = Named("judge", Verdict((Scored(1.0),)))
    ask(torn, asked[:2], journal, 1)
    assert torn.memory == 2 and len(torn.seen) == 2


def test_a_verdict_comes_back_from_the_journal_as_it_was_said():
    verdict = Verdict(
        (Scored(1 / 3, 0.7), Abstained("?"), Failed("it broke")), {"rubric/a": 0.1}, (TextSpan(0, 3, 0.1, 2),), 0.25
    )
    answer = Answer("judge", "1.0.0", "00", verdict)
    assert Answer.from_json(answer.to_json()) == answer and answer.failed
    old = {"source": "s", "trajectory_id": "1.0.0", "digest": "00", "value": 0.5, "confidence": 1.0}
    assert Answer.from_json(old).verdict == Verdict((Scored(0.5),))
    assert Answer.from_json({**old, "failed": "x", "value": 0.0}).verdict.outcomes == (Scored(0.0),)


def test_gold_of_the_same_name_is_not_the_judge_that_it_checks(tmp_path):
    """Both are called `judge`: the audit must not be answered by what the judge said, nor the other way round."""
    policy = BigramPolicy()
    groups = collect(policy, curriculum(2, 2).draw(2), request(prompts=2, samples=2), 0, 0)
    journal = StepJournal(tmp_path / "journal", tmp_path)

    def told(judge, gold, journal):
        correction = AskingGold(gold, AuditedValue(1.0).correct_with)
        supervision = Supervision(judge, NoNoise(), 0, journal=journal, correction=correction)
        return [one for row in score(groups, supervision, 1) for rows in row for one in rows]

    def broken(text):
        raise AssertionError("nobody is asked twice")

    first = told(Verdicts(lambda _: Scored(0.0), "judge"), Verdicts(lambda _: Scored(1.0), "judge"), journal)
    assert [one.outcome.value for one in first] == [1.0] * 4 and {one.said_value for one in first} == {0.0}
    again = told(Verdicts(broken, "judge"), Verdicts(broken, "judge"), journal)
    assert again == first
    kept = {(one.source, one.verdict.outcomes[0].value) for one in journal.recall(1)}
    assert kept == {("judge", 0.0), ("gold: judge", 1.0)}


def test_golds_of_one_name_are_kept_apart_by_what_they_judge(tmp_path):
    """Both objectives are checked, each by a source of its own called `gold`: neither hears what the other said."""
    policy = BigramPolicy()
    groups = collect(policy, curriculum(2, 2).draw(2), request(prompts=2, samples=2), 0, 0)
    journal = StepJournal(tmp_path / "journal", tmp_path)
    live = {
        scale.name: AskingGold(Verdicts(lambda _, value=value: Scored(value), "gold"), AuditedValue(1.0).correct_with)
        for scale, value in ((RIGHT, 1.0), (SHORT, 0.0))
    }
    supervision = Supervision(Two(), NoNoise(), 0, journal=journal, correction=CorrectingEach(live))
    told = [one for row in score(groups, supervision, 1, decode=policy.decode_text) for rows in row for one in rows]
    assert {(one.source, one.outcome.value) for one in told} == {("right", 1.0), ("short", -1.0)}


def gathered(source, noise="none", admission=None, samples=3):
    supervision = Supervision(source, parse_noise(noise), 0)
    return gather(
        BigramPolicy(), curriculum(4, samples), supervision, admission or AcceptAll(), request(samples=samples)
    )


def test_objectives_stay_apart_until_they_are_placed_and_the_books_see_their_sum():
    """One objective of one answer is missing: the row is failed in the books, the other objective is still there."""
    source = Two(missing=("1.1.2",))
    found = gathered(source)
    batch = tokenize(found.groups)
    told = place(found.rewards, batch, Evidence(), Placement(), source)
    assert told.objectives == ("right", "short")
    assert (told.low, told.high) == ((0.0, -1.0), (1.0, 0.0))
    row = batch.trajectory_ids.index("1.1.2")
    assert told.known[row].tolist() == [True, False] and told.total[row].isnan()
    assert int((~told.all_known).sum()) == 1
    texts = {t.trajectory_id: t.sampled_text for g in found.groups for t in g.trajectories}
    for n, name in enumerate(batch.trajectory_ids):
        if n != row:
            right = sum(map(ord, texts[name])) % 2
            assert float(told.total[n]) == pytest.approx(right - texts[name].count("a") / len(texts[name]))
            first = int(batch.sampled_mask[n].nonzero()[0])
            assert float(told.per_token[n, first, 1]) == pytest.approx(-0.25)  # the span's share
    values = GroupMean().build(CriticContext(BigramPolicy(), 0, -1.0, 1.0)).predict(batch, told, Evidence())
    credit = Outcome().estimate(batch, told, values, Evidence())
    ledger = close_books(found, batch, credit, TRAIN, "")
    states = {entry.trajectory_id: (entry.state, entry.reason) for entry in ledger if entry.kind == "sample"}
    assert states["1.1.2"] == ("failed", "no idea")
    assert sorted(states) == sorted(found.asked) and len(states) == 12
    panel = measure(batch, found.rewards, told, values, credit, ledger=ledger)
    assert panel["reward/source/right"] == pytest.approx(float(told.outcome[:, 0].mean()))
    assert panel["reward/source/short"] == pytest.approx(float(told.outcome[:, 1].nanmean()))
    assert panel["reward/unknown"] == pytest.approx(1 / 12)
    assert panel["samples/failed"] == 1.0
    first = [reward for reward in found.rewards if reward.source == "right"]
    assert {reward.parts["letters"] for reward in first} == {5.0} and {reward.cost for reward in first} == {2.0}
    assert all(not reward.parts and not reward.cost for reward in found.rewards if reward.source == "short")


def test_admission_looks_at_the_sum():
    """`right` never varies, `short` does: the sum does, and no group is turned away."""

    class Constant(Two):
        def judge(self, asked):
            return [Verdict((Scored(1.0), said.outcomes[1])) for said in super().judge(asked)]

    def spread(found):
        return {
            len({together(rows).outcome.value for rows in zip(found.rewards[i:i + 6:2], found.rewards[i + 1:i + 6:2],
                                                               strict=True)})
            for i in range(0, len(found.rewards), 6)
        }  # fmt: skip

    found = gathered(Constant(), admission=Informative(max_rounds=8))
    assert min(spread(found)) > 1


def test_noise_is_drawn_for_each_objective_by_itself():
    """The first objective is flipped as it would be alone; the second by draws of its own, on its own scale."""

    class Flat(Two):
        def judge(self, asked):
            return [Verdict((Scored(1.0), Scored(-1.0))) for _ in asked]

    class Alone(VerdictSource):
        name, scales = "alone", (RIGHT,)

        def judge(self, asked):
            return [Verdict((Scored(1.0),)) for _ in asked]

    both, alone = gathered(Flat(), "flip:0.5:sample", samples=16), gathered(Alone(), "flip:0.5:sample", samples=16)
    flips = {name: [r.tampering.flipped for r in both.rewards if r.source == name] for name in ("right", "short")}
    assert flips["right"] == [r.tampering.flipped for r in alone.rewards]
    assert {r.outcome.value for r in both.rewards if r.source == "short"} == {-1.0, 0.0}
    agree = sum(a == b for a, b in zip(*flips.values(), strict=True))
    assert 20 < agree < 44  # of 64, by chance one half
    assert all(r.clean_value == (1.0 if r.source == "right" else -1.0) for r in both.rewards)


def test_noise_moves_spans_with_the_value():
    """Flipped to 0 there is nothing to share; kept, the share is as it was."""

    class Spans(VerdictSource):
        name, scales = "spans", (RIGHT,)

        def judge(self, asked):
            return [Verdict((Scored(1.0),), spans=(TextSpan(0, 2, 0.5),)) for _ in asked]

    found = gathered(Spans(), "flip:0.5:sample", samples=8)
    shares = {(r.outcome.value, r.spans[0].value) for r in found.rewards}
    assert shares == {(0.0, 0.0), (1.0, 0.5)}


@dataclass
class Named(VerdictSource):
    name: str
    said: Verdict
    scales: tuple = (RIGHT,)
    memory: int = 0  # how many answers it has judged
    needs: frozenset | None = None
    seen: list = field(default_factory=list)

    def judge(self, asked):
        self.memory += len(asked)
        self.seen += [item.task.answer for item in asked]
        return [self.said for _ in asked]

    def state_dict(self):
        return {"memory": self.memory}

    def load_state_dict(self, state):
        self.memory = state["memory"]


def test_several_sources_are_joined_by_place():
    first = Named("judge", Verdict((Scored(0.25),), {"p": 1.0}, (TextSpan(0, 1, 0.25),), 1.0))
    second = Named("judge", Verdict((Scored(1.0), Abstained("?")), {"p": 2.0}, (TextSpan(1, 2, 0.5, 0),), 0.5),
                   (RIGHT, SHORT), needs=frozenset())  # fmt: skip
    plain = Verdicts(even, "verdicts", low=0.0, high=1.0)
    asked = [ScoreRequest(Task("t", "e", (Message("user", "?"),), "gold"), "1.0.0", "b")]
    source = AskingSeveral((first, second, plain))
    assert [scale.name for scale in source.scales] == ["judge", "right", "short", "verdicts"]
    (verdict,) = source.verdicts(asked)
    assert verdict.outcomes == (Scored(0.25), Scored(1.0), Abstained("?"), Scored(0.0))
    assert verdict.spans == (TextSpan(0, 1, 0.25, 0), TextSpan(1, 2, 0.5, 1)) and verdict.cost == 1.5
    assert dict(verdict.parts) == {"judge/p": 1.0, "judge 2/p": 2.0}
    assert first.seen == ["gold"] and second.seen == [""]
    named = AskingSeveral((first, second, plain), ("a", "b", "a"))
    assert [scale.name for scale in named.scales] == ["a", "b/right", "b/short", "a 2"]
    state = source.state_dict()
    first.memory = second.memory = 0
    source.load_state_dict(state)
    assert (first.memory, second.memory) == (1, 1)
    assert (source.low, source.high) == (-1.0, 3.0)


def test_several_are_refused_with_what_to_write():
    for make, words in (
        (lambda: Several((Exact(),)), "two sources or more"),
        (lambda: Several((Exact(), Numeric()), ("a",)), "1 entries for 2 sources"),
        (lambda: Several((Exact(), Several((Exact(), Exact())))), "at one level"),
    ):
        with pytest.raises(ValueError, match=words):
            make()


def test_a_source_that_breaks_its_word_is_caught():
    asked = items("0.0")
    outside = Named("a", Verdict((Scored(1.5),)))
    (failed,) = verdicts_of(outside, asked)[0].outcomes
    assert isinstance(failed, Failed) and "declare the range" in failed.error
    for said, words in (
        (Verdict((Scored(1.0), Scored(1.0))), "2 outcomes for its 1 objectives"),
        (Verdict((Scored(1.0),), spans=(TextSpan(0, 1, 1.0, 1),)), "an objective that it has not"),
    ):
        with pytest.raises(ValueError, match=words):
            verdicts_of(Named("a", said), asked)
    with pytest.raises(ValueError, match="each named apart"):
        scales_of(Named("a", Verdict(()), (RIGHT, RIGHT)))


def test_rewards_of_one_answer_together_are_their_sum():
    one = Reward("a", "t", Scored(0.5, 0.4), tampering=Tampering("flip", 1.0, True))
    other = Reward("b", "t", Scored(2.0, 0.9), correction=Correction("backward", 1.5))
    both = together((one, other))
    assert both.outcome == Scored(2.5, 0.4) and both.source == "a+b"
    assert both.tampering == Tampering("flip", 2.5, True)  # clean 1.0 and, as it was said, 1.5
    assert together((one,)) is one
    missing = together((one, Reward("b", "t", Failed("x"))))
    assert missing.outcome == Failed("x") and math.isnan(missing.clean_value)


def test_the_panel_compares_what_was_said_and_told_with_what_is_true():
    """Clean 1, said 0, told .75; clean 0, said 0, told 0: errors .5 before and .125 after, half changed."""
    found = gathered(Verdicts(even, "v"), samples=2)
    names = [t.trajectory_id for g in found.groups for t in g.trajectories][:2]
    rewards = (
        Reward("v", names[0], Scored(0.75), tampering=Tampering("flip", 1.0, True), correction=Correction("x", 0.0)),
        Reward("v", names[1], Scored(0.0), tampering=Tampering("flip", 0.0, False), correction=Correction("x", 0.0)),
    )
    group = found.groups[0]
    batch = tokenize((group,))
    told = place(rewards, batch, Evidence(), Placement(), RIGHT)
    values = GroupMean().build(CriticContext(BigramPolicy(), 0, 0.0, 1.0)).predict(batch, told, Evidence())
    panel = measure(batch, rewards, told, values, Outcome().estimate(batch, told, values, Evidence()))
    assert panel["correction/changed_share"] == 0.5
    assert (panel["correction/error_said"], panel["correction/error_told"]) == (0.5, 0.125)
    assert panel["reward/clean"] == 0.5 and panel["reward/told"] == pytest.approx(0.375)
