"""The verifiers bench: how often both math checkers are wrong on labeled answers, and verifications a second.

The labels are ours (`assets/math_pairs.jsonl`), a category at a time, see `verifier_pairs.CATEGORIES` for why each is
right or wrong. The strict checker was mended until it agreed with the `tuned` half; the `fresh` half was written after
that, and what it showed at first sight is in docs/log.md.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from critica.benches.base import Bench, Order, say
from critica.benches.machine import machine_facts
from critica.benches.verifier_pairs import Pair, read_pairs
from critica.benches.verifiers_table import verifiers_table
from critica.environments.chain import Chain
from critica.functional.statistics import Interval, wilson_interval
from critica.recipes.config import apply_sets
from critica.records.supervision import Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.math_verifiers import MathVerify, StrictMath
from critica.rewards.verifiers import Exact, Numeric, RegexExtract, Verifier
from critica.rewards.workers import WorkerLimits

CHECKERS: Mapping[str, Verifier] = {"math:strict": StrictMath(), "math": MathVerify()}
IN_PROCESS_FLOOR, WORKERS_FLOOR = 10_000.0, 2_000.0  # a second, promised: trusted built-ins; batches, two cores
SLOW = 20  # times fewer items for math-verify


@dataclass(frozen=True, slots=True)
class VerifiersSettings:
    """`items` of a batch, `rounds` of each speed reading after one that is not counted, and the workers."""

    items: int = 4096
    rounds: int = 5
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """Over some pairs: wrong answers accepted, right ones rejected, each of how many; and those it failed to judge."""

    checker: str
    slice: str
    accepted: int
    wrong: int
    rejected: int
    right: int
    failed: int

    @property
    def false_accept(self) -> Interval | None:
        """Wilson; None without wrong answers."""
        return wilson_interval(self.accepted, self.wrong) if self.wrong else None

    @property
    def false_reject(self) -> Interval | None:
        """Wilson; None without right answers."""
        return wilson_interval(self.rejected, self.right) if self.right else None


@dataclass(frozen=True, slots=True)
class Speed:
    """Verifications a second: the median of the rounds; `floor` 0 promises nothing."""

    verifier: str
    place: str
    per_second: float
    floor: float


def rates_of(checker: str, part: str, pairs: Sequence[Pair], said: Sequence[Outcome]) -> Rates:
    """Count what a checker said about pairs whose truth is known."""
    judged = [(pair.right, outcome.value >= 0.5) for pair, outcome in zip(pairs, said, strict=True)
              if isinstance(outcome, Scored)]  # fmt: skip
    wrong, right = [yes for truth, yes in judged if not truth], [yes for truth, yes in judged if truth]
    return Rates(checker, part, sum(wrong), len(wrong), right.count(False), len(right), len(pairs) - len(judged))


def judge(verifier: Verifier, requests: Sequence[ScoreRequest], limits: WorkerLimits) -> list[Outcome]:
    """What a verifier says, through the source that training uses."""
    source = verifier.build(Chain(length=2).build(0), limits)
    try:
        return source.scores(requests)
    finally:
        source.close()


def sliced(checker: str, pairs: Sequence[Pair], said: Sequence[Outcome]) -> list[Rates]:
    """All pairs, both halves, each category."""
    slices = {"all": lambda pair: True}
    slices |= {half: lambda pair, half=half: pair.split == half for half in ("tuned", "fresh")}
    slices |= {name: lambda pair, name=name: pair.category == name for name in dict.fromkeys(p.category for p in pairs)}
    found = []
    for name, belongs in slices.items():
        rows = [(pair, outcome) for pair, outcome in zip(pairs, said, strict=True) if belongs(pair)]
        found.append(rates_of(checker, name, [pair for pair, _ in rows], [outcome for _, outcome in rows]))
    return found


def speed_of(name: str, verifier: Verifier, settings: VerifiersSettings, in_process: bool) -> Speed:
    """Verifications a second of worked answers of three hundred characters, half of them right."""
    items = settings.items // (SLOW if isinstance(verifier, MathVerify) else 1)
    thought = "Let me see what is asked for here. " * 8
    requests = [
        ScoreRequest(
            Task(f"task{i // 8}", "sums", (Message("user", f"What is 17 + {i}?"),), str(17 + i), {}), f"row{i}",
            f"{thought}17 + {i} = {17 + i + i % 2}",
        )
        for i in range(items)
    ]  # fmt: skip
    limits = WorkerLimits(workers=settings.workers, in_process=in_process)
    source = verifier.build(Chain(length=2).build(0), limits)
    seconds = []
    try:
        for _ in range(settings.rounds + 1):
            start = time.perf_counter()
            said = source.scores(requests)
            seconds.append(time.perf_counter() - start)
            assert all(isinstance(outcome, Scored) for outcome in said), said[0]
    finally:
        source.close()
    trusted = in_process and verifier.bounded
    floor = IN_PROCESS_FLOOR if trusted else 0.0 if isinstance(verifier, MathVerify) else WORKERS_FLOOR
    place = "this process" if trusted else f"{settings.workers} workers"
    return Speed(name, place, items / median(seconds[1:]), floor)


def speeds(settings: VerifiersSettings) -> list[Speed]:
    """Trusted built-ins in this process, and everything through workers."""
    fast = {"exact": Exact(), "numeric": Numeric(), "regex": RegexExtract(r"= (\d+)$")}
    found = [speed_of(name, fast[name], settings, True) for name in ("exact", "numeric")]
    found += [speed_of(name, verifier, settings, False) for name, verifier in {**fast, **CHECKERS}.items()]
    for one in found:
        say(f"  {one.verifier} in {one.place}: {one.per_second:,.0f} a second")
    return found


def run_verifiers(order: Order) -> Path:
    """Measure, write verifiers.json and verifiers.md."""
    settings = apply_sets(VerifiersSettings(), order.settings, {})
    pairs = read_pairs()
    requests = [
        ScoreRequest(Task(f"pair{i}", "pairs", (Message("user", "Solve."),), pair.gold, {}), f"row{i}", pair.response)
        for i, pair in enumerate(pairs)
    ]
    limits = WorkerLimits(workers=settings.workers)
    rates, mistakes = [], []
    for name, verifier in CHECKERS.items():
        said = judge(verifier, requests, limits)
        rates += sliced(name, pairs, said)
        mistakes += [
            {"checker": name, "said": outcome.value if isinstance(outcome, Scored) else "failed", **asdict(pair)}
            for pair, outcome in zip(pairs, said, strict=True)
            if not isinstance(outcome, Scored) or (outcome.value >= 0.5) != pair.right
        ]
        say(f"  {name}: judged {len(pairs)} pairs")
    readings = speeds(settings)
    machine = machine_facts(settings.workers)
    content = {
        "command": "critica bench verifiers", "machine": machine, "settings": asdict(settings),
        "rates": [asdict(one) for one in rates], "speeds": [asdict(one) for one in readings], "mistakes": mistakes,
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "verifiers.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    page = order.out / "verifiers.md"
    page.write_text(verifiers_table(f"{machine['processor']}; commit {machine['commit']}", len(pairs), rates, readings))
    return page


VERIFIERS = Bench(
    "verifiers", "how often math checkers are wrong, and verifications a second", VerifiersSettings, run_verifiers,
    quick=("items=512", "rounds=1"),
)  # fmt: skip
