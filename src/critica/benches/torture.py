"""The torture bench: runs are killed, mostly without warning, until they end; then not one bit may differ."""

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from critica.benches.base import Bench, BenchFailed, Eta, Order, say
from critica.benches.machine import file_digest, machine_facts, source_digest
from critica.benches.torture_compare import Verdict
from critica.benches.torture_stable import Stable
from critica.benches.torture_table import torture_table
from critica.benches.torture_trial import SYSTEMS, Reference, Sizes, Strike, TrialResult, make_reference, run_trial
from critica.recipes.config import apply_sets

PACKAGE = Path(__file__).parents[1]
DECIDING = ("benches/torture_trial.py", "benches/torture_strikes.py", "benches/torture_rewards.py",
            "assets/pico/model.safetensors")  # fmt: skip


@dataclass(frozen=True, slots=True)
class TortureSettings:
    """How much the torture bench does.

    `kills` signals at least, in whole trials of at most `kills_per_run`; `jobs` trials at once, one thread each.
    No trial begins after `minutes`; the next call goes on where this one stopped.
    Trial t draws from the seed t, from `first_trial` on: other trials strike at other moments.
    """

    kills: int = 120
    jobs: int = 2
    steps: int = 18
    every: int = 3
    kills_per_run: int = 8
    first_trial: int = 0
    minutes: float = 18.0

    def __post_init__(self) -> None:
        if min(self.kills, self.jobs, self.every, self.kills_per_run) < 1 or self.steps < 3:
            raise ValueError("kills, jobs, every and kills_per_run must be at least 1, steps at least 3")


class Trials:
    """Hands out trial numbers until enough signals were sent and every system was tried; safe between threads."""

    def __init__(self, settings: TortureSettings, work: Path) -> None:
        self.settings, self.work = settings, work
        self.results: dict[int, TrialResult] = {}
        self._next = settings.first_trial
        self._lock = threading.Lock()
        self._end = time.monotonic() + 60 * settings.minutes
        self.eta = Eta(settings.kills)

    def take(self) -> int | None:
        """The next trial to do; None if there is none. Trials that were done before are read."""
        with self._lock:
            while True:
                number = self._next
                enough = self.struck >= self.settings.kills
                if (
                    self.failed
                    or time.monotonic() > self._end
                    or (enough and number - self.settings.first_trial >= len(SYSTEMS))
                ):
                    return None
                self._next += 1
                mark = self.work / f"trial-{number}.json"
                if not mark.exists():
                    return number
                self.results[number] = read_result(json.loads(mark.read_text()))

    def keep(self, result: TrialResult) -> None:
        """Write down a trial that is over. One that failed is done again by the next call of the bench."""
        with self._lock:
            self.results[result.trial] = result
            if not result.problem:
                (self.work / f"trial-{result.trial}.json").write_text(json.dumps(asdict(result)))
            eta = self.eta.after(max(1, len(result.strikes)))
            word = result.problem or "0 differing bits"
            say(f"  trial {result.trial}, {result.system}: {len(result.strikes)} signals, {word}; {eta}")

    @property
    def struck(self) -> int:
        """Signals that reached a live run."""
        return sum(len(result.strikes) for result in self.results.values())

    @property
    def failed(self) -> bool:
        """Whether any trial found something."""
        return any(result.problem for result in self.results.values())


def read_result(content: dict) -> TrialResult:
    """The inverse of `asdict`."""
    strikes = tuple(Strike(**strike) for strike in content["strikes"])
    return TrialResult(**{**content, "strikes": strikes, "verdict": Verdict(**content["verdict"])})


def run_torture(order: Order) -> Path:
    """Make the undisturbed runs, torment the others, write torture.json and torture.md. Cut off, it goes on.

    Raises `BenchFailed`, with everything kept, if anything differs.
    """
    settings = apply_sets(TortureSettings(), order.settings, {})
    work = order.work / "torture" / signature(settings)
    work.mkdir(parents=True, exist_ok=True)
    trials = torture(settings, work)
    results = [trials.results[number] for number in sorted(trials.results)]
    table = write(order.out, settings, results)
    wrong = [result.problem for result in results if result.problem]
    if wrong:
        raise BenchFailed("; ".join(wrong) + f"; see {table}. The next `critica bench torture` does these trials again")
    if trials.struck < settings.kills:
        raise BenchFailed(
            f"{trials.struck} of {settings.kills} signals in {settings.minutes:g} minutes, all well; see {table};"
            " `critica bench torture` goes on from here"
        )
    return table


def signature(settings: TortureSettings) -> str:
    """What a trial depends on: the code, its sizes, pico."""
    parts = [source_digest(), *(file_digest(PACKAGE / name) for name in DECIDING)]
    parts += [str(settings.steps), str(settings.every), str(settings.kills_per_run)]
    return hashlib.blake2b("/".join(parts).encode(), digest_size=6).hexdigest()


def torture(settings: TortureSettings, work: Path) -> Trials:
    """Every trial, `jobs` at a time. Raises what stopped a worker, such as `BenchFailed`."""
    trials, errors = Trials(settings, work), []
    sizes = Sizes(settings.steps, settings.every, settings.kills_per_run)
    references: dict[str, Reference] = {}
    lock = threading.Lock()

    def labor() -> None:
        try:
            with Stable() as stable:
                while not errors and (number := trials.take()) is not None:
                    system = SYSTEMS[number % len(SYSTEMS)]
                    with lock:  # one at a time: the others would wait for the same run
                        if system.name not in references:
                            references[system.name] = make_reference(stable, system, sizes, work)
                    trials.keep(run_trial(stable, number, system, references[system.name], sizes, work))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=labor) for _ in range(settings.jobs)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        errors.append(KeyboardInterrupt())  # the trials at hand come to their end; they are seconds long
        for worker in workers:
            worker.join()
    if errors:
        raise errors[0]
    return trials


def write(out: Path, settings: TortureSettings, results: Sequence[TrialResult]) -> Path:
    """torture.json with every strike, and the table."""
    machine = machine_facts(1)
    content = {
        "command": "critica bench torture",
        "machine": machine,
        "settings": asdict(settings),
        "trials": [asdict(result) for result in results],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "torture.json").write_text(json.dumps(content, indent=1) + "\n")
    table = out / "torture.md"
    table.write_text(torture_table(machine, settings.steps, settings.every, settings.jobs, results))
    return table


TORTURE = Bench(
    "torture", "runs killed at random, against runs that were not: 0 differing bits", TortureSettings, run_torture
)
