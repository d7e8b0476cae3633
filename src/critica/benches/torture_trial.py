"""One trial of the torture bench: a run that is struck again and again until it ends, beside one that never was."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from critica.benches.base import BenchFailed, child_environment
from critica.benches.torture_compare import Verdict, compare_runs
from critica.benches.torture_stable import Stable
from critica.benches.torture_strikes import carry_out, life_left, phase_of, plan_strike, standing
from critica.environments.digit_sum import DigitSum
from critica.recipes.base import Checkpoints, HeldOut, Recipe, Sampling
from critica.recipes.catalogue import RECIPES
from critica.records.journal import Answer
from critica.records.supervision import Outcome
from critica.rewards.base import FailurePolicy
from critica.rewards.noise_specs import parse_noise
from critica.rewards.verifiers import Function

HERE = Path(__file__).parent
COMMAND = (sys.executable, "-c", "from critica.cli.main import entry; entry()")
PATIENCE_SECONDS = 120.0  # the longest attempt takes a few seconds; past this it hangs
POLITE_SECONDS = 30.0  # within which SIGTERM and SIGINT must have stopped a run
STOPPED = 1
PROGRAM = "critica.benches.torture_rewards"


@dataclass(frozen=True, slots=True)
class System:
    """What is tortured: a recipe, whether its reward can be repeated (`coin` cannot), and how it saves."""

    recipe: str
    reward: str = "parity"
    background: bool = False

    @property
    def name(self) -> str:
        """As it is called in the table."""
        chance = ", reward by chance" if self.reward == "coin" else ""
        return f"{self.recipe}{chance}{', saved in the background' if self.background else ''}"

    @property
    def stem(self) -> str:
        """As its files are called."""
        return f"{self.recipe}-{self.reward}{'-background' if self.background else ''}"


SYSTEMS = (
    System("ppo"), System("dvpo"), System("grpo"), System("vc_ppo"),
    System("ppo", background=True), System("vc_ppo", background=True),
    System("dvpo", "coin"), System("grpo", "coin", background=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long the runs are, how often they save, how often each is struck at most."""

    steps: int = 18
    every: int = 3
    kills_per_run: int = 8


@dataclass(frozen=True, slots=True)
class Strike:
    """One signal that reached a live run."""

    number: str
    aim: str
    phase: str
    seconds: float
    status: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial that came to its end: its strikes, and what it differs by. `problem` is empty if all is well."""

    trial: int
    system: str
    seed: str
    strikes: tuple[Strike, ...]
    verdict: Verdict
    answers_kept: int
    answers_changed: int
    survivors: int
    problem: str = ""


@dataclass(slots=True)
class Reference:
    """The undisturbed run of a system, and how long a run and its start take in a fork."""

    toml: Path
    warmup: int
    run: Path
    seconds: float
    start_seconds: float


@dataclass(slots=True)
class Told:
    """What journals showed at the deaths of a run; the same question must not be answered twice in two ways."""

    answers: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    changed: int = 0

    def look(self, run: Path) -> None:
        """Read every whole line of the journal as it is now."""
        for path in (run / "journal").glob("step_*.jsonl"):
            for line in path.read_bytes().split(b"\n")[:-1]:
                answer = Answer.from_json(json.loads(line))
                key = (answer.trajectory_id, answer.digest)
                self.changed += self.answers.setdefault(key, answer.verdict.total) != answer.verdict.total

    def check(self, final: Mapping[str, Outcome]) -> None:
        """Compare with what the finished run was told."""
        self.changed += sum(final.get(name) != outcome for (name, _), outcome in self.answers.items())


def recipe_of(system: System, sizes: Sizes) -> Recipe:
    """The published recipe on pico, cut down to steps of 50 ms; two thirds pretrain the critic if any do."""
    recipe = RECIPES[system.recipe]
    warmup = sizes.steps * 2 // 3 if recipe.learner.critic_warmup_steps else 0
    return replace(
        recipe, environment=DigitSum(), sampling=Sampling(3, 4, 1.0, 6), noise=parse_noise("flip:0.2:group"),
        reward=Function(f"{PROGRAM}:{system.reward}"), failures=FailurePolicy(1.0), steps=sizes.steps, seed=3,
        checkpoint=Checkpoints(sizes.every, 2, system.background), threads=1, held_out=HeldOut(4, 1),
        learner=replace(recipe.learner, critic_warmup_steps=warmup),
    )  # fmt: skip


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """As `critica train` reads it."""
    from critica.training.run import config_text

    path.write_text(config_text(recipe))
    return path


def run_command(words: list[str], log: Path) -> None:
    """The command in a fresh interpreter, to its end. Raises `BenchFailed`."""
    with log.open("ab") as file:
        done = subprocess.run(
            [*COMMAND, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=child_environment(1),
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
    if done.returncode:
        raise BenchFailed(f"critica {' '.join(words)} ended with status {done.returncode}: {tail(log)}")


def tail(log: Path) -> str:
    """The last words of a log."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-6:])


def make_reference(stable: Stable, system: System, sizes: Sizes, work: Path) -> Reference:
    """A fresh interpreter's run, and a fork's, which must be the same and says how long a run takes."""
    recipe = recipe_of(system, sizes)
    toml = write_recipe(recipe, work / f"{system.stem}.toml")
    whole, twin, log = (work / f"{toml.stem}-{what}" for what in ("undisturbed", "twin", "log"))
    if system.reward == "parity" and not (whole / "done").exists():
        shutil.rmtree(whole, ignore_errors=True)
        run_command(["train", str(toml), "--run", str(whole)], log)
        (whole / "done").touch()
    shutil.rmtree(twin, ignore_errors=True)
    attempt, started = stable.start(["train", str(toml), "--run", str(twin)], log), 0.0
    while not attempt.ended(0.01):
        if not started and (twin / "metrics.jsonl").exists():
            started = attempt.age
    seconds = attempt.age
    if stable.reap(attempt):
        raise BenchFailed(f"the undisturbed run of {system.name} failed: {tail(log)}")
    if system.reward == "parity":
        verdict = compare_runs(whole, twin)
        if not verdict.same:
            raise BenchFailed(f"two undisturbed runs differ ({verdict.first}): {whole} and {twin}")
    shutil.rmtree(twin)
    return Reference(toml, recipe.learner.critic_warmup_steps, whole, seconds, started)


def run_trial(
    stable: Stable, number: int, system: System, reference: Reference, sizes: Sizes, work: Path
) -> TrialResult:
    """Strike and resume until the run ends, then compare. Both folders are kept if anything differs."""
    seed = f"torture/{number}/{system.stem}"
    run, log = work / f"trial-{number}", work / f"trial-{number}.log"
    shutil.rmtree(run, ignore_errors=True)
    log.unlink(missing_ok=True)
    strikes: list[Strike] = []
    told = Told()
    problem = torment(stable, run, log, reference, sizes, random.Random(seed), strikes, told)
    survivors = stable.survivors()
    verdict = Verdict(0, 0, 0, 0, 0, "")
    whole = reference.run
    if not problem and system.reward == "coin":
        whole, problem = replay(run, reference.toml, work / f"trial-{number}-replayed", log, told)
    if not problem:
        apart_from = ("config.toml",) if system.reward == "coin" else ()  # it names another source of the same answers
        verdict = compare_runs(whole, run, apart_from)
        problem = "" if verdict.same else f"{verdict.first or 'prompts'} differs between {whole} and {run}"
    if told.changed:
        problem = problem or f"{told.changed} answers changed between a kill and the end of {run}"
    if survivors:
        problem = problem or f"{survivors} processes outlived the killed runs of {run}"
    result = TrialResult(
        number, system.name, seed, tuple(strikes), verdict, len(told.answers), told.changed, survivors, problem
    )
    if not problem:
        shutil.rmtree(run)
        if whole is not reference.run:
            shutil.rmtree(whole)
    return result


def torment(
    stable: Stable, run: Path, log: Path, reference: Reference, sizes: Sizes, dice: random.Random,
    strikes: list[Strike], told: Told,
) -> str:  # fmt: skip
    """Attempts until one finishes; returns what went wrong, empty if nothing did."""
    while True:
        before = standing(run)
        words = ["resume", str(run)] if before.exists else ["train", str(reference.toml), "--run", str(run)]
        attempt = stable.start(words, log)
        struck = False
        if len(strikes) < sizes.kills_per_run:
            left = sizes.steps - max(before.checkpoint, 0)
            life = life_left(reference.seconds, reference.start_seconds, sizes.steps - left, sizes.steps)
            plan = plan_strike(dice, life, reference.start_seconds, left - 1, min(3, left // sizes.every))
            struck = carry_out(plan, attempt, run)
            polite = struck and plan.number != signal.SIGKILL
        seconds = attempt.age
        over = attempt.ended(POLITE_SECONDS if struck else PATIENCE_SECONDS)
        if not over:
            attempt.strike(signal.SIGKILL)
        status = stable.reap(attempt)
        after = standing(run)
        told.look(run)
        if not over:
            return f"`critica {words[0]}` of {run} did not end within its time; {tail(log)}"
        if struck:
            phase = phase_of(before, after, words[0] == "resume", sizes.steps, reference.warmup)
            strikes.append(Strike(plan.number.name, plan.aim, phase, round(seconds, 4), status))
        if status == 0:
            return ""
        allowed = {-plan.number, STOPPED} if struck and polite else {-signal.SIGKILL} if struck else set()
        if status not in allowed:
            return f"`critica {words[0]}` of {run} ended with status {status}: {tail(log)}"


def replay(run: Path, toml: Path, whole: Path, log: Path, told: Told) -> tuple[Path, str]:
    """A run that nobody disturbs and that is told what this one was told; and what went wrong."""
    from critica.benches.torture_replay import answers_of, write_answers
    from critica.recipes.catalogue import PARTS
    from critica.recipes.config import from_tables
    from critica.recipes.toml import read_toml
    from critica.recipes.user_parts import load_object
    from critica.store.run_folder import RunFolder

    answers = answers_of(RunFolder.open(run), "coin")
    told.check({answer.trajectory_id: answer.verdict.total for answer in answers})
    said = whole.with_suffix(".json")
    write_answers(answers, said)
    recorded = load_object(f"{HERE / 'torture_replay.py'}:Recorded")
    recipe = replace(from_tables(read_toml(toml), Recipe, PARTS), reward=recorded(str(said.resolve())))
    shutil.rmtree(whole, ignore_errors=True)
    try:
        run_command(["train", str(write_recipe(recipe, whole.with_suffix(".toml"))), "--run", str(whole)], log)
    except BenchFailed as error:
        return whole, str(error)
    return whole, ""
