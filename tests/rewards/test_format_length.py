"""Form and length as rewards, thinking left out of what is judged, and the specs that name them."""

import pytest

from critica.environments.answers import answer_start, extract_answer
from critica.environments.digit_sum import DigitSum
from critica.records.supervision import Abstained, Failed, Scale, Scored, TextSpan, Verdict
from critica.records.words import Message, Task
from critica.rewards.answer_only import AnswerOnly, AnswerSource
from critica.rewards.base import ScoreRequest, VerdictSource
from critica.rewards.catalogue import RewardProblem, parse_reward
from critica.rewards.format import Format
from critica.rewards.format_check import built
from critica.rewards.length import Length
from critica.rewards.several import Several
from critica.rewards.verifiers import EnvironmentScorer, Exact
from critica.rewards.workers import WorkerLimits

R1 = ("think", "answer")
TASK = Task("t", "e", (Message("user", "?"),), "4")


def asked(text: str, tokens: int = 0) -> ScoreRequest:
    return ScoreRequest(TASK, "0.0.0", text, tokens=tokens)


@pytest.mark.parametrize(
    ("text", "whole", "partial"),
    [
        ("<think>a</think><answer>4</answer>", 1, 1),
        ("  <think>a\nb</think>\n<answer>4</answer>\n", 1, 1),
        ("so <think>a</think><answer>4</answer>", 0, 1),
        ("<think>a</think> so <answer>4</answer>", 0, 1),
        ("<think>a</think><answer>4</answer> done", 0, 1),
        ("<answer>4</answer><think>a</think>", 0, 1),
        ("<think>a<answer>4</answer></think>", 0, 1),
        ("<think> </think><answer>4</answer>", 0, 1),
        ("<think>a</think><answer>4</answer><answer>5</answer>", 0, 0.5),
        ("<think>a</think><answer>4", 0, 0.75),
        ("4", 0, 0),
        ("", 0, 0),
    ],
)
def test_form(text: str, whole: float, partial: float) -> None:
    assert built(text, R1) == whole and built(text, R1, partial=True) == partial


def test_a_form_whose_first_tag_the_template_writes() -> None:
    assert built("a</think><answer>4</answer>", R1, opened=True) == 1
    assert built("<think>a</think><answer>4</answer>", R1, opened=True) == 1, "a second opening tag is text inside"
    assert built("</think><answer>4</answer>", R1, opened=True) == 0
    assert built("a</think><answer>4</answer>", R1) == 0
    assert built("a</think><answer>4", R1, partial=True, opened=True) == pytest.approx(2 / 3)


def test_form_in_a_worker_says_the_same() -> None:
    texts = ["<think>a</think><answer>4</answer>", "4"]
    for limits in (WorkerLimits(), WorkerLimits(in_process=False, workers=1)):
        source = Format().build(DigitSum().build(0), limits)
        try:
            assert source.scores([asked(text) for text in texts]) == [Scored(1.0), Scored(0.0)]
        finally:
            source.close()


@pytest.mark.parametrize(
    ("part", "costs"),
    [
        (Length(most=10, buffer=4), {0: 0, 6: 0, 7: -0.25, 8: -0.5, 10: -1, 50: -1}),  # DAPO's ramp
        (Length(most=10), {10: 0, 11: -1}),
        (Length(0, least=4), {0: -1, 1: -0.75, 4: 0, 99: 0}),
        (Length(most=10, buffer=4, least=2), {1: -0.5, 2: 0, 6: 0, 9: -0.75}),
    ],
)
def test_length_costs(part: Length, costs: dict[int, float]) -> None:
    for length, cost in costs.items():
        assert part.cost(length) == pytest.approx(cost)


def test_length_is_counted_in_its_unit_and_never_guessed() -> None:
    environment = DigitSum().build(0)
    units = ("words", "characters", "tokens")
    words, letters, tokens = (Length(most=3, unit=unit).build(environment) for unit in units)
    item = asked("a bb ccc dddd", 3)
    said = [source.scores([item])[0] for source in (words, letters, tokens)]
    assert said == [Scored(-1.0), Scored(-1.0), Scored(0.0)]
    assert words.scores([asked("a  b c")]) == [Scored(0.0)]
    assert isinstance(tokens.scores([asked("a")])[0], Failed)


def test_the_ramp_is_that_of_the_placement() -> None:
    import torch

    from critica.rollout.place import SoftOverlong

    lengths = torch.arange(40).float()
    theirs = SoftOverlong(limit_tokens=30, buffer_tokens=12).cost(lengths)
    assert theirs.tolist() == pytest.approx([Length(most=30, buffer=12).cost(n) for n in range(40)])


@pytest.mark.parametrize(
    ("text", "opened", "answer"),
    [
        ("<think>is it 5?</think> 4", False, " 4"),
        ("is it 5?</think> 4", True, " 4"),
        ("<think>a</think>b<think>c</think>d", False, "d"),
        ("<think>never done 4", False, ""),
        ("never done 4", True, ""),
        ("4", False, "4"),
    ],
)
def test_where_the_answer_begins(text: str, opened: bool, answer: str) -> None:
    assert text[answer_start(text, opened=opened) :] == answer


@pytest.mark.parametrize("rule", ("auto", "tags", "after_equals", "after_thinking", "whole"))
def test_thinking_is_no_answer_but_for_whole(rule) -> None:
    said = extract_answer("<think><answer>5</answer> x = 5</think><answer>4</answer>", rule, "4")
    assert said == {"auto": "4", "tags": "4"}.get(rule, said)
    assert ("5" in said) == (rule == "whole")
    assert extract_answer("<think>= 4", rule, "4") == ("<think>= 4" if rule == "whole" else "")
    assert extract_answer("<think>so</think>\n\n4", "after_thinking", "4") == "4"
    assert extract_answer("2 + 2 = 4", rule, "4") == {"tags": "", "whole": "2 + 2 = 4"}.get(
        rule, "2 + 2 = 4" if rule == "after_thinking" else "4"
    )


class Reads(VerdictSource):
    """Remembers what it was shown, and names a span of it."""

    name, scales = "reads", (Scale("reads", 0.0, 1.0),)

    def __init__(self) -> None:
        self.shown: list[str] = []

    def judge(self, items) -> list[Verdict]:
        self.shown += [item.text for item in items]
        return [Verdict((Scored(1.0),), spans=(TextSpan(0, len(i.text), 1.0),) if i.text else ()) for i in items]


def test_the_source_inside_sees_the_answer_alone_and_its_spans_stay_in_place() -> None:
    inner = Reads()
    source = AnswerSource(AnswerOnly(), inner)
    text = "<think>x</think>four"
    said = source.verdicts([asked(text), asked("<think>x"), asked("bare")])
    assert inner.shown == ["four", "", "bare"]
    (span,) = said[0].spans
    assert text[span.start : span.end] == "four" and said[2].spans[0].start == 0
    assert (source.name, source.scales) == (inner.name, inner.scales)


def test_a_thought_that_never_ends_may_be_left_unjudged() -> None:
    inner = Reads()
    source = AnswerSource(AnswerOnly(unfinished="abstain"), inner)
    said = source.verdicts([asked("<think>x"), asked("<think>x</think>y"), asked("")])
    assert isinstance(said[0].outcomes[0], Abstained) and inner.shown == ["y", ""]
    assert said[1].outcomes == said[2].outcomes == (Scored(1.0),)


def test_around_a_verifier_the_end_of_the_thought_decides() -> None:
    with_thinking = AnswerOnly(Exact()).build(DigitSum().build(0))
    bare = Exact().build(DigitSum().build(0))
    try:
        item = asked("<think>2 + 2</think>4")
        assert (with_thinking.scores([item]), bare.scores([item])) == ([Scored(1.0)], [Scored(0.0)])
    finally:
        with_thinking.close()
        bare.close()


def test_specs() -> None:
    assert parse_reward("format") == Format() and parse_reward("format:plan,code") == Format(("plan", "code"))
    assert parse_reward("length:256:64") == Length(256, 64) and parse_reward("length:256") == Length(256)
    assert parse_reward("answer:exact") == AnswerOnly(Exact())
    assert parse_reward("environment + format + length:9:3") == Several((EnvironmentScorer(), Format(), Length(9, 3)))
    assert parse_reward("regex:a + b").pattern == "a + b"
    for wrong in ("length:x", "length:0", "length:5:6", "format:<a>", "answer:nothing", "exact + nothing"):
        with pytest.raises(RewardProblem):
            parse_reward(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Format(()), lambda: Format(("a", "a")), lambda: Length(0), lambda: Length(most=-1),
        lambda: Length(most=5, buffer=4, least=2), lambda: AnswerOnly(opening=""),
        lambda: AnswerOnly(Several((Exact(), Format()))), lambda: AnswerOnly(AnswerOnly()),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(make) -> None:
    with pytest.raises(ValueError, match=r"Format|Length|AnswerOnly"):
        make()


def test_specs_stand_among_several_in_a_file() -> None:
    from critica.recipes.catalogue import PARTS, RECIPES
    from critica.recipes.config import from_tables
    from critica.recipes.resolve import SPECS

    tables = {"reward": {"use": "several", "sources": ["environment", "format:partial", {"use": "length", "most": 9}]}}
    made = from_tables(tables, RECIPES["grpo"], PARTS, None, SPECS)
    assert made.reward == Several((EnvironmentScorer(), Format(partial=True), Length(most=9)))
