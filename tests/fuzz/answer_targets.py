"""What a model writes, through each extractor and scorer: an oracle of its own says what is right, and nothing hangs.

`test_fuzz_answers.py` runs each target in a process of its own under limits of time and memory.
"""

import os
import random
import resource
import signal
import sys
import unicodedata
import warnings
from collections.abc import Callable
from fractions import Fraction

from critica.environments.answers import extract_answer
from critica.environments.base import CORRECT, Environment
from critica.environments.catalogue import parse_environment
from critica.environments.matching import make_scorer
from critica.records.words import Task
from critica.rewards.judges import make_check
from critica.rewards.wire import TaskView
from fuzz.nasty import INPUTS, TEXTS, changed, text_like

BEFORE = (
    "",
    "The answer is ",
    "so ",
    "x = ",
    "2+2=4, thus 7. Answer: ",
    "Step 3: ",
    "**Answer:** ",
    "I think\n",
    "答案是",
    "=> ",
)
AFTER = ("", ".", "\n", " apples", "!", " ", "。", "%", " is it", '"')
HEDGES = ("or", "and", ",", ", ", ";", "|", " to ", " or maybe ", " / ")
GLUE = (
    "x",
    "v",
    "k",
    "_",
    "^",
    "*x",
    "²",
    "½",
    "π",
    "√",
    "\\pi",
    "(",
    " thousand",
    " million",
    " 000",
    ",5",
    ".5",
    "e3",
    "7",
    "-7",
    "/7",
)


def view(answer: str) -> TaskView:
    return TaskView("task", "none", "what?", (), answer, {}, 0)


def number_text(rng: random.Random, value: Fraction) -> str:
    """One of the ways to write a number that everybody reads alike."""
    sign, whole = ("-" if value < 0 else ""), abs(value)
    if whole.denominator != 1 and rng.random() < 0.5:
        return f"{sign}{whole.numerator}{rng.choice(('/', ' / '))}{whole.denominator}"
    text = str(whole.numerator) if whole.denominator == 1 else f"{float(whole):.6f}"
    forms = [
        text,
        text + ".0" if whole.denominator == 1 else text + "0",
        f"{int(whole):,}" if whole.denominator == 1 else text,
    ]
    text = rng.choice(forms)
    sign = rng.choice(("-", "−", "–")) if sign else rng.choice(("", "", "+"))
    return sign + (text.translate(str.maketrans("0123456789", "０１２３４５６７８９")) if rng.random() < 0.05 else text)


def wrapped(rng: random.Random, text: str) -> str:
    return rng.choice(
        (text, f"${text}$", rf"\boxed{{{text}}}", f"**{text}**", f"<answer>{text}</answer>", f"({text})", f"[{text}]")
    )


def number(rng: random.Random) -> Fraction:
    return rng.choice(
        (
            Fraction(rng.randrange(10)),
            Fraction(rng.randrange(-99, 100)),
            Fraction(rng.randrange(10**6)),
            Fraction(rng.randrange(-999, 999), rng.choice((2, 4, 5, 8, 10))),
        ),
    )


def wrong_number(rng: random.Random, value: Fraction) -> str:
    """A text that does not say `value`: another number, a piece of a longer one, part of a term, a list of guesses."""
    other = value + rng.choice((1, -1, 10, -10, Fraction(1, 2), 1000))
    right, no = number_text(rng, value), number_text(rng, other)
    digits = str(abs(value.numerator))
    while other in (value, -value):
        other += 1
    return rng.choice(
        (
            wrapped(rng, no),
            f"{right} no, {number_text(rng, other)}",
            number_text(rng, -value) if value else no,
            f"{rng.choice('123456789')}{digits}{rng.choice('0123456789')}" if value.denominator == 1 else no,
            f"{number_text(rng, other)}{rng.choice(HEDGES)}{right}",
            f"{right} or {no}",
            f"{rng.choice(GLUE[:2])}{digits}",
            f"{right}{rng.choice(GLUE[:-1])}" + ("x" if rng.random() < 0.3 else "") if value else no,
            f"{abs(int(other)) + 1}{rng.choice(('-', '+', '*', '^', '×', ' - ', ' + ', ' * ', ':', ' '))}{digits}",
            f"not {right}",
            f"minus {right}",
            f"- {right}",
            ",".join(digits) if len(digits) in (2, 3) else no,
            "_".join(digits) if len(digits) > 1 else no,
            rf"\frac{{1}}{{{digits}}}" if value != 1 else no,
            rf"\sqrt{{{digits}}}" if value not in (0, 1) else no,
            "what?",
            "",
        )
    )


def numeric(rng: random.Random) -> None:
    value = number(rng)
    answer = str(value) if rng.random() < 0.5 or value.denominator != 1 else f"{int(value):,}"
    check = make_check({"kind": "numeric", "tolerance": rng.choice((0.0, 1e-9))})
    exactly = rng.choice(BEFORE) + wrapped(rng, number_text(rng, value)) + rng.choice(AFTER)
    assert check(view(answer), exactly) == 1.0, (answer, exactly)
    bad = rng.choice(BEFORE[:3]) + wrong_number(rng, value)
    assert check(view(answer), bad) == 0.0, (answer, bad)
    noise = text_like(rng, (exactly, bad))
    if check(view(answer), noise):
        digits = "".join(c for c in unicodedata.normalize("NFKC", noise) if c.isdecimal() or c in "½¼¾")
        assert any(c.isdecimal() for c in digits), (answer, noise)


def exact(rng: random.Random) -> None:
    ignore_case = rng.random() < 0.5
    check = make_check({"kind": "exact", "ignore_case": ignore_case})
    answer = text_like(rng, ("Paris", "4", "a b", "ÄÖ", "yes\tno")).strip() or "x"
    text = rng.choice(
        (
            answer,
            f" {answer}\n",
            f"\u3000{answer}\r\n",
            changed(rng, answer),
            answer + ".",
            answer.upper(),
            f"{answer} or x",
            "",
        )
    )
    fold = (lambda s: s.casefold()) if ignore_case else (lambda s: s)
    assert check(view(answer), text) == float(fold(text.strip()) == fold(answer)), (answer, text)
    try:
        check(view(rng.choice(("", " ", "\n"))), text)
    except ValueError as error:
        assert "no answer" in str(error)
    else:
        raise AssertionError("an empty answer judged a text")


BOXED = {"kind": "regex", "pattern": r"\\boxed\{([^{}]*)\}", "then": {"kind": "exact", "ignore_case": False}}


def regex(rng: random.Random) -> None:
    check = make_check(BOXED)
    answer = rng.choice(("4", "12", "a+b", "−3"))
    boxes = [rng.choice((answer, answer + "0", "", " " + answer, "x")) for _ in range(rng.randrange(4))]
    text = "".join(
        rng.choice(("so ", "{", "}", r"\boxed", answer)) + rf" \boxed{{{box}}} " for box in boxes
    ) + rng.choice(AFTER)
    assert check(view(answer), text) == float(bool(boxes) and boxes[-1].strip() == answer), (answer, text)
    check(view(answer), text_like(rng, (text, r"\boxed{" * 300)))


def tags(rng: random.Random) -> None:
    """Every rule of extraction, by an oracle that walks through the text tag by tag."""
    pieces = [
        rng.choice(("<answer>", "</answer>", "<ANSWER>", "</Answer>", "=", "4", " 5 ", "a", "\n", "<answer", "İ", "ſ"))
        for _ in range(rng.randrange(9))
    ]
    text = "".join(pieces)
    held, start = None, None
    for number, piece in enumerate(pieces):
        if piece.lower() == "<answer>":
            start = number + 1
        elif piece.lower() == "</answer>" and start is not None:
            held, start = "".join(pieces[start:number]), None
    after = text.split("=")[-1].strip()
    assert extract_answer(text, "tags", "4") == (held or "").strip(), text
    assert extract_answer(text, "after_equals", "4") == after
    assert extract_answer(text, "whole", "4") == text.strip()
    assert extract_answer(text, "auto", "4") == (after if held is None else held.strip())
    assert extract_answer(text, "auto", "x=4") == (text.strip() if held is None else held.strip())
    match = make_scorer({"extract": rng.choice(("whole", "tags", "auto", "after_equals"))})
    assert match("4", {}, f"<answer>{text}") in (0.0, 1.0)


def long_texts(rng: random.Random) -> None:
    """Texts of a hundred thousand characters, made of what a backtracking reader chokes on."""
    piece = rng.choice(
        (*TEXTS[:90], "<answer>", "</answer>", "=", "1,", "1 ", "1/", "-", "1e", r"\boxed{", "1.", "((", "**", " ")
    )
    text = piece * (100_000 // max(1, len(piece))) + rng.choice(("", "4", "</answer>", "x"))
    for rule in ("tags", "auto", "whole", "after_equals"):
        extract_answer(text, rule, "4")
    make_check({"kind": "numeric", "tolerance": 0.0})(view("4"), text)
    make_check(BOXED)(view("4"), text)


class Scored:
    """An environment's tasks and scorer."""

    def __init__(self, spec: str, count: int = 40) -> None:
        self.environment: Environment = parse_environment(spec).build(3)
        self.tasks = [self.environment.candidate(index) for index in range(count)]

    def right(self, task: Task, text: str) -> bool:
        score = self.environment.score(task, text)
        assert 0.0 <= score <= 1.0, (task.prompt, text, score)
        return score >= CORRECT


def gym(rng: random.Random, family: Scored) -> None:
    """Whole-number answers after the last equals sign: right only if that number stands there, written as one."""
    task = rng.choice(family.tasks)
    value = int(task.answer)
    assert family.right(task, rng.choice(("", "1+1=2=", "=", "4 - 1=3=")) + rng.choice((str(value), f" {value}\n")))
    bad = wrong_number(rng, Fraction(value))
    assert not family.right(task, bad), (task.answer, bad)
    noise = text_like(rng, (str(value), f"3+4=7={value}", f"{value:,}"))
    if family.right(task, noise):
        said = unicodedata.normalize("NFKC", noise.split("=")[-1].strip())
        plain = said.replace(",", "")
        assert float(plain) == value and "_" not in said, (task.answer, noise)
        assert said.count(",") <= max(0, (len(plain.lstrip("+-").split(".")[0]) - 1) // 3), (task.answer, noise)


def worked(rng: random.Random, family: Scored) -> None:
    task = rng.choice(family.tasks)
    text = rng.choice(
        (
            task.answer,
            f"1+1=2;{task.answer}",
            f"={task.answer}",
            f"6,{task.answer} ",
            wrong_number(rng, Fraction(task.answer)),
            text_like(rng, (task.answer, f"3*2=6;1+6={task.answer}")),
        ),
    )
    last = text
    for mark in "=;,":
        last = last.rpartition(mark)[2]
    last = last.strip()
    bare = last.removeprefix("-")
    expected = bare.isascii() and bare.isdecimal() and len(bare) <= 18 and int(last) == int(task.answer)
    assert family.right(task, text) == expected, (task.prompt, text)


def played(rng: random.Random, family: Scored) -> None:
    """Exact games: only a whole, well-formed sequence counts, and it counts as the rules, worked out anew, say."""
    task = rng.choice(family.tasks)
    game = family.environment.game(task)  # type: ignore[attr-defined]
    length = {"digit_sum": "length", "binary_tree": "depth", "two_branch": "length"}.get(task.environment)
    size = task.info[length] if length else len(task.info["pattern"])
    said = "".join(rng.choice(game.vocabulary) for _ in range(size))
    if task.environment == "chain" and rng.random() < 0.5:
        said = task.info["pattern"]
    if task.environment == "digit_sum" and rng.random() < 0.5:
        rest, digits = task.info["target"] - task.info["offset"], []
        for left in range(size - 1, -1, -1):
            digits.append(max(0, min(9, rest - rng.randrange(left + 1) if left else rest)))
            rest -= digits[-1]
        said = "".join(map(str, digits))
    text = rng.choice(
        (said, f" {said}\n", " ".join(said), said + said[-1], said[:-1], changed(rng, said), text_like(rng, (said,)))
    )
    kept = "".join(c for c in text if not c.isspace())
    formed = len(kept) == size and all(c in game.vocabulary for c in kept)
    score = family.environment.score(task, text)
    assert score == (outcome(task, kept) if formed else 0.0), (task.prompt, text, score)


def outcome(task: Task, sequence: str) -> float:
    """The rules of each game, written a second time."""
    info = task.info
    if task.environment == "chain":
        return float(sequence == info["pattern"])
    if task.environment == "two_branch":
        return float(sequence[info["decisive"]] == info["winning"])
    if task.environment == "digit_sum":
        return float(info["offset"] + sum(map(int, sequence)) == info["target"])
    from critica.functional.random import uniforms

    draw = float(uniforms(info["tree"], "environments.binary_tree", info["depth"], sequence, count=1)[0])
    return float(draw < info["winning_share"])


def over(spec: str, target: Callable[[random.Random, Scored], None]) -> Callable[[], Callable[[random.Random], None]]:
    def make() -> Callable[[random.Random], None]:
        family = Scored(spec)
        return lambda rng: target(rng, family)

    return make


TARGETS: dict[str, tuple[Callable[[], Callable[[random.Random], None]], int]] = {
    "numeric": (lambda: numeric, INPUTS),
    "exact": (lambda: exact, INPUTS),
    "regex": (lambda: regex, INPUTS),
    "tags": (lambda: tags, INPUTS),
    "long_texts": (lambda: long_texts, 150),
    "pico": (over("pico", gym), INPUTS),
    "arithmetic": (over("arithmetic:3", worked), INPUTS),
    **{game: (over(game, played), INPUTS) for game in ("digit_sum", "binary_tree", "chain", "two_branch")},
}


def main() -> None:
    """Carry out the named targets; no single input may take a second."""
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in sys.argv[1:]:
        make, count = TARGETS[name]
        target, rng = make(), random.Random(name)
        for _ in range(count):
            signal.setitimer(
                signal.ITIMER_REAL, 2.0
            )  # ends the process: a reader that hangs says so by its exit status
            target(rng)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        print(name, count, flush=True)


if __name__ == "__main__":
    main()
