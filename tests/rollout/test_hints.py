"""Hints: a judge may begin while answers are still written, and nothing but time may depend on it."""

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from critica.curricula.base import Budget
from critica.curricula.stream import Stream
from critica.environments.digit_sum import DigitSum
from critica.records.supervision import Scale, Scored, Verdict
from critica.rewards.base import VerdictSource
from critica.rewards.evo_rubric import EvoRubric
from critica.rewards.hindsight import Hindsight
from critica.rewards.in_context import Demonstration, InContextReward
from critica.rewards.judge_base import Asking, JudgePart, JudgeReply, JudgeTrouble
from critica.rewards.judge_criteria import Criterion
from critica.rewards.judge_ranking import JudgeRanking
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.judge_text import sections_of
from critica.rewards.noise import NoNoise
from critica.rewards.prompt_spec import PromptSpec
from critica.rewards.rubric import Rubric
from critica.rewards.several import Several
from critica.rewards.source_relevance import SourceRelevance
from critica.rewards.step_rubric import StepRubric
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.budget import Allocator
from critica.rollout.gather import Supervision, gather
from critica.store.journal import StepJournal
from fakes import BigramPolicy
from rollout.test_gather import LIMITS, request
from rollout.test_waves import Fixed

GOOD, SHORT = Criterion("good", "Is it good?"), Criterion("short", "Is it short?")
SOURCES = {
    "judge": (JudgeReward, {"criteria": (GOOD, SHORT), "per_call": 1}),
    "apart": (JudgeReward, {"criteria": (GOOD, SHORT), "apart": True}),
    "ranking": (JudgeRanking, {}),
    "taste": (InContextReward, {"demonstrations": (Demonstration("a", "b", "c"),)}),
    "hindsight": (Hindsight, {"criteria": (GOOD,)}),
    "rubric": (Rubric, {"criteria": (GOOD, SHORT), "verifier": SourceRelevance()}),
    "spec": (PromptSpec, {"criteria": (GOOD,), "checkers": ()}),
    "steps": (StepRubric, {"separator": "a", "outcome": SourceRelevance()}),
    "written": (StepRubric, {"separator": "a", "outcome": SourceRelevance(), "written": 2}),
    "evolving": (EvoRubric, {"criteria": (GOOD,)}),
}


def die(*named):
    """A number in [0, 1) named by these."""
    return int.from_bytes(hashlib.blake2b(repr(named).encode(), digest_size=4).digest(), "big") / 2**32


@dataclass
class Fickle:
    """Answers any question of this library by a hash of what it is shown; some it garbles, some it refuses at first."""

    garbage: float = 0.0
    trouble: float = 0.0
    identity: str = "fickle"
    asked: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, messages, draw, seconds):
        shown = "\n".join(message.content for message in messages)
        with self.lock:
            self.asked[shown, draw] += 1
            attempt = self.asked[shown, draw]
        if die("trouble", shown, draw, attempt) < self.trouble:
            raise JudgeTrouble("busy", again=True)
        if die("garbage", shown, draw) < self.garbage:
            return JudgeReply("mm", 3)
        sections = sections_of(messages)
        form = next(section.content for section in sections if section.tag == "answer_format")
        criteria = [s for s in sections if s.tag == "criterion" and s.get("choices")]
        said = {
            "verdicts": {
                c.get("id"): (some := c.get("choices").split("|"))[int(die(c.get("id"), shown) * len(some))]
                for c in criteria
            },
            "scores": {s.get("name"): int(10 * die(s.content, s.get("name"))) for s in sections if s.tag == "response"},
            "outcome": f"It ended in {die(shown):.2f}.",
            "criteria": [f"Is it {int(4 * die(shown, k))}?" for k in range(2)],
            "flags": {"atomic": "yes", "checkable": "yes", "relevant": "yes", "length_only": "no"},
        }
        return JudgeReply(json.dumps({key: value for key, value in said.items() if f'"{key}"' in form}), 5 + draw)

    def close(self):
        return None


@dataclass(frozen=True)
class FickleJudge(JudgePart):
    """The part whose client is this one."""

    client: object = field(hash=False)

    def build(self, environment, limits):
        return self.client


class Scattered(BigramPolicy):
    """Tells of its rows in an order of its own, after `before` was called."""

    def __init__(self, order=lambda row: row, before=None):
        super().__init__()
        self.order, self.before = order, before

    def sample(self, requests, limits, seed, control=None, ended=None):
        told = []
        hear = None if ended is None else lambda *row: told.append(row)
        written = super().sample(requests, limits, seed, control, hear)
        for row, tokens in sorted(told, key=lambda one: self.order(one[0])):
            ended(row, tokens)
        if self.before is not None:
            self.before()
        return written


def built(kind, client, asking):
    part, changes = SOURCES[kind]
    return part(judge=FickleJudge(client), asking=asking, **changes).build(DigitSum().build(0), WorkerLimits())


def told(source, policy, journal=None, steps=(1, 2), waves=None):
    """What two steps are told, in rounds or waves of samples."""
    stream = Stream().build(DigitSum().build(0), Budget(3, 4, LIMITS, 0, False))
    kept = {} if journal is None else {"journal": journal}
    supervision = Supervision(source, NoNoise(), 0, **kept)
    allocator = None if waves is None else Allocator(Fixed(waves))
    rows = []
    for step in steps:
        found = gather(policy, stream, supervision, AcceptAll(), request(step, 3, 4), None, allocator)
        rows += [(one.trajectory_id, one.outcome, dict(one.parts), one.cost, one.spans) for one in found.rewards]
    return rows


@pytest.fixture(autouse=True)
def anything_may_fail(monkeypatch):
    """Answers may all be missing here: what is compared is what is told of them."""
    monkeypatch.setattr("critica.rewards.base.FailurePolicy.check", lambda *_: None)


@pytest.mark.parametrize("kind", list(SOURCES))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    questions=st.sampled_from([0, 0, 7, 12, 13, 24, 30, 60]),
    tokens=st.sampled_from([0, 0, 40, 90]),
    retries=st.integers(0, 2),
    trouble=st.sampled_from([0.0, 0.4]),
    garbage=st.sampled_from([0.0, 0.3]),
    concurrency=st.integers(1, 5),
    turn=st.integers(0, 11),
    waves=st.sampled_from([None, ((2, 1, 1), (1, 0, 3), (0, 2, 0))]),
)
def test_nothing_that_is_told_asked_or_paid_depends_on_hints(
    kind, questions, tokens, retries, trouble, garbage, concurrency, turn, waves
):
    """Values, costs, budgets, memory, and each single request to the judge, in whatever order the rows end."""
    asking = Asking(concurrency=concurrency, retries=retries, questions=questions, tokens=tokens, backoff_seconds=0.001)
    said, states, requests = [], [], []
    for hinted in (True, False):
        client = Fickle(garbage, trouble)
        source = built(kind, client, asking)
        source.takes_hints = hinted
        said.append(told(source, Scattered(lambda row: (row * 7 + turn) % 12), waves=waves))
        states.append(source.state_dict())
        requests.append(client.asked)
        source.close()
    assert said[0] == said[1]
    assert states[0] == states[1] and requests[0] == requests[1]
    if questions:
        assert len(requests[0]) <= questions


class Gate(Fickle):
    """Notes that it was asked, and answers only once it may."""

    def __init__(self):
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def complete(self, messages, draw, seconds):
        self.begun.set()
        assert self.go.wait(20.0)
        return super().complete(messages, draw, seconds)


@pytest.mark.parametrize("kind", list(SOURCES))
def test_the_judge_is_at_work_before_the_last_answer_is_written(kind):
    """The policy returns its answers only after the judge was asked about one of them and has answered."""
    client = Gate()
    source = built(kind, client, Asking(concurrency=2))

    def before():
        assert client.begun.wait(20.0)
        client.go.set()

    hinted = told(source, Scattered(before=before), steps=(1,))
    plain = built(kind, Fickle(), Asking(concurrency=2))
    plain.takes_hints = False
    assert hinted == told(plain, BigramPolicy(), steps=(1,))


def test_one_of_several_sources_is_hinted_and_the_others_are_not_asked():
    client = Gate()
    parts = (SourceRelevance(), JudgeReward(judge=FickleJudge(client), criteria=(GOOD,)))
    source = Several(parts).build(DigitSum().build(0), WorkerLimits())
    assert source.takes_hints
    client.go.set()
    hinted = told(source, Scattered(before=lambda: client.begun.wait(20.0) or pytest.fail("nobody was asked")))
    plain = Several((parts[0], JudgeReward(judge=FickleJudge(Fickle()), criteria=(GOOD,))))
    live = plain.build(DigitSum().build(0), WorkerLimits())
    live.takes_hints = False
    assert hinted == told(live, BigramPolicy())
    assert not Several((parts[0], parts[0])).build(DigitSum().build(0), WorkerLimits()).takes_hints


class Eager(VerdictSource):
    """Notes what it is told of beforehand, and fails at that."""

    name, scales, takes_hints, needs = "eager", (Scale("eager", 0.0, 1.0),), True, frozenset({"prompt"})

    def __init__(self, fails=False):
        self.fails, self.hinted, self.judged = fails, [], []

    def prepare(self, item, among):
        self.hinted.append((item, among))
        if self.fails:
            raise OSError("no connection")

    def judge(self, items):
        self.judged += items
        return [Verdict((Scored(die(item.text)),)) for item in items]


def test_a_hint_is_the_item_that_will_be_judged_and_shows_no_more():
    """The same record, letter by letter, with nothing of the task that was not declared; each once, all counted."""
    source = Eager()
    told(source, Scattered(lambda row: -row), steps=(1,))
    assert [item for item, _ in source.hinted] == source.judged[::-1] and len(source.judged) == 12
    assert {among for _, among in source.hinted} == {12} and {item.task.answer for item in source.judged} == {""}


def test_a_hint_that_fails_hurts_nobody():
    broken, whole = Eager(fails=True), Eager()
    assert told(broken, BigramPolicy()) == told(whole, BigramPolicy()) and len(broken.hinted) == 24


def test_what_the_journal_knows_is_not_begun_again(tmp_path):
    """A step done again is told the same and nobody is asked; of a torn one, only what is missing is hinted."""
    journal = StepJournal(tmp_path / "journal", tmp_path)
    first = told(Eager(), BigramPolicy(), journal, steps=(1,))
    again = Eager()
    assert told(again, BigramPolicy(), journal, steps=(1,)) == first and not again.hinted and not again.judged
    lines = journal.path_of(1).read_text().splitlines(keepends=True)
    journal.path_of(1).write_text("".join(lines[:5]))
    torn = Eager()
    assert told(torn, BigramPolicy(), journal, steps=(1,)) == first
    assert [item.trajectory_id for item, _ in torn.hinted] == [item.trajectory_id for item in torn.judged]
    assert len(torn.judged) == 7


def test_a_budget_that_may_end_within_the_wave_is_left_to_the_first_answers():
    """12 answers, one question each: with 12 questions left all are begun early, with 11 none is."""
    for budget, early in ((12, True), (11, False)):
        client = Gate()
        client.go.set()
        source = built("taste", client, Asking(questions=budget))
        begun = []
        policy = Scattered(
            before=lambda client=client, begun=begun, patience=20.0 * early: begun.append(client.begun.wait(patience))
        )
        told(source, policy, steps=(1,))
        assert begun == [early] and sum(client.asked.values()) <= budget
