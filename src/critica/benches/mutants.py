"""The mutants bench: do the tests notice a flipped sign or a dropped factor in a formula?

Every wrong that `mutation.py` can make in functional/, advantages/ and objectives/ is put into a copy of the sources,
one at a time and in an order drawn once, and the tests nearest to its module are run until one fails. What was judged
is kept and not judged again while module and tests stay as they are, so that the bench can be cut off anywhere, and the
share of what was judged so far is an unbiased estimate of the whole.
"""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from critica.benches.base import Bench, BenchFailed, Eta, Order, child_environment, say
from critica.benches.mutant_reasons import reason_for
from critica.benches.mutation import Mutant, mutants
from critica.recipes.config import apply_sets

PACKAGE = Path("src/critica")
JUDGE = Path(__file__).with_name("mutant_judge.py")
PROMISED = 0.95


@dataclass(frozen=True, slots=True)
class MutantsSettings:
    """`rooms` and `only` (parts of paths) say where; at most `most` mutants (0: all) are judged in this run, in an
    order drawn with `seed`. A mutant is stopped, and counts as noticed, after half a minute and `patience` times what
    its tests take without one; those are given `seconds`.
    """

    rooms: tuple[str, ...] = ("functional", "advantages", "objectives")
    only: tuple[str, ...] = ()
    most: int = 0
    seconds: float = 600.0
    patience: float = 8.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a test failed. `digest` names the version of the module and of its tests."""

    name: str
    path: str
    killed: bool
    stopped: bool
    digest: str
    seconds: float


def nearest_tests(path: str, root: Path) -> list[str]:
    """Test files that import the module by name, or whose helpers do; those named like it come first.

    Tests of formulas, credit and losses where there are any, else of those parts that use them.
    """
    module = "critica." + path.removesuffix(".py").replace("/", ".")
    room, stem = path.split("/")[0], Path(path).stem
    pattern = re.compile(rf"\b{re.escape(module)}\b")
    texts = {file: file.read_text() for file in sorted((root / "tests").rglob("*.py"))}
    direct = {file for file, text in texts.items() if pattern.search(text)}
    helpers = {f"{file.parent.name}.{file.stem}" for file in direct if not file.name.startswith("test_")}
    found = {
        file for file, text in texts.items()
        if file.name.startswith("test_") and (file in direct or any(helper in text for helper in helpers))
    }  # fmt: skip
    for rooms in (
        ("functional", "advantages", "objectives"),
        ("critics", "rollout", "updaters", "policies", "training"),
    ):
        near = [file for file in found if file.parent.name in rooms]
        if near:
            break
    else:
        near = sorted(found)[:3]
    near += [file for file in (root / "tests" / room).glob("test_*.py") if room in ("advantages", "objectives")]
    order = sorted(set(near), key=lambda file: (file.stem != f"test_{stem}", file.parent.name != room, str(file)))
    return [str(file.relative_to(root)) for file in order]


def digest_of(path: str, tests: Sequence[str], root: Path) -> str:
    """Of the module and its tests."""
    parts = [(root / PACKAGE / path).read_bytes(), *((root / test).read_bytes() for test in tests)]
    return hashlib.blake2b(b"\0".join(parts), digest_size=8).hexdigest()


def every(settings: MutantsSettings, root: Path) -> list[Mutant]:
    """All mutants that are asked for, in drawn order."""
    found: list[Mutant] = []
    for room in settings.rooms:
        for file in sorted((root / PACKAGE / room).glob("*.py")):
            path = str(file.relative_to(root / PACKAGE))
            if not settings.only or any(part in path for part in settings.only):
                found += mutants(file.read_text(), path)
    random.Random(settings.seed).shuffle(found)
    return found


class Bar:
    """A copy of the repository and a process that judges what is put into it."""

    def __init__(self, copy: Path, process: subprocess.Popen) -> None:
        self.copy, self.process = copy, process

    def judge(self, file: str, text: str, tests: Sequence[str], seconds: float) -> dict:
        """The exit code of the tests with this text in this file; no file: as everything is."""
        assert self.process.stdin is not None and self.process.stdout is not None
        job = {"file": file, "text": text, "tests": list(tests), "seconds": seconds}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchFailed("the process that judges mutants ended by itself")
        return json.loads(answer)

    @property
    def reason(self) -> str:
        """The first failure that pytest spoke of last."""
        lines = (self.copy / "judged.txt").read_text().strip().splitlines()
        return next((line for line in lines if line.startswith(("E  ", "FAILED", "ERROR"))), "no reason given")


@contextmanager
def bar(root: Path) -> Iterator[Bar]:
    """Open for as long as it is needed; nothing of the repository itself is touched."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        ignored = shutil.ignore_patterns("__pycache__")
        for folder in ("src", "tests"):
            shutil.copytree(root / folder, copy / folder, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "Makefile"):
            shutil.copy(root / name, copy / name)
        process = subprocess.Popen(
            [sys.executable, str(JUDGE)], cwd=copy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**child_environment(1), "PYTHONPATH": ""},
        )  # fmt: skip
        try:
            yield Bar(copy, process)
        finally:
            process.kill()
            process.wait()


def judged(one: Mutant, opened: Bar, tests: Sequence[str], digest: str, seconds: float) -> Verdict:
    """What the tests say of this mutant. An exit code other than 0 and 1 (no tests, wrong usage) is an error here."""
    file = PACKAGE / one.path
    source = (opened.copy / file).read_text()
    said = opened.judge(str(file), one.applied(source), tests, seconds)
    if said["code"] not in (0, 1, 2, -1) and said["code"] > 0:
        raise BenchFailed(f"the tests of {one.path} could not be run (exit code {said['code']}): {' '.join(tests)}")
    return Verdict(one.name, one.path, said["code"] != 0, said["code"] == -1, digest, round(said["seconds"], 2))


def run_mutants(order: Order) -> Path:
    """Judge what is not judged yet, write mutants.json and mutants.md."""
    settings = apply_sets(MutantsSettings(), order.settings, {})
    root = Path.cwd()
    store = order.work / "mutants.jsonl"
    store.parent.mkdir(parents=True, exist_ok=True)
    kept = {}
    if store.is_file():
        kept = {line["name"]: Verdict(**line) for line in map(json.loads, store.read_text().splitlines())}
    asked = every(settings, root)
    tests = {path: nearest_tests(path, root) for path in {one.path for one in asked}}
    digests = {path: digest_of(path, near, root) for path, near in tests.items()}
    missing = [one for one in asked if one.name not in kept or kept[one.name].digest != digests[one.path]]
    todo = [one for one in missing if tests[one.path]]
    todo = todo[: settings.most] if settings.most else todo
    say(f"  {len(asked)} mutants, {len(asked) - len(missing)} judged before, {len(todo)} to judge now")
    eta = Eta(max(1, len(todo)))
    usual: dict[str, float] = {}  # seconds that a module's tests take; 0: they fail by themselves
    with bar(root) as opened, store.open("a") as sink:
        for one in todo:
            if one.path not in usual:
                first = opened.judge("", "", tests[one.path], settings.seconds)
                usual[one.path] = 0.0 if first["code"] else first["seconds"]
                if first["code"]:
                    say(f"  left out: the tests of {one.path} fail without a mutant ({opened.reason})")
            if not usual[one.path]:
                eta.after(1)
                continue
            limit = 30.0 + settings.patience * usual[one.path]
            verdict = judged(one, opened, tests[one.path], digests[one.path], limit)
            kept[one.name] = verdict
            sink.write(json.dumps(asdict(verdict)) + "\n")
            sink.flush()
            if not verdict.killed:
                say(f"  survives: {one.name}")
            left = eta.after(1)
            if eta.done % 20 == 0:
                say(f"  {eta.done} of {len(todo)}, {left}")
    fresh = {one.name: kept[one.name] for one in asked
             if one.name in kept and kept[one.name].digest == digests[one.path]}  # fmt: skip
    return write(order, settings, asked, fresh, tests)


def write(
    order: Order, settings: MutantsSettings, asked: list[Mutant], found: dict[str, Verdict], tests: dict[str, list[str]]
) -> Path:
    """The verdicts and the page."""
    order.out.mkdir(parents=True, exist_ok=True)
    content = {
        "command": "critica bench mutants", "settings": asdict(settings), "mutants": len(asked),
        "verdicts": [asdict(one) for _, one in sorted(found.items())],
    }  # fmt: skip
    (order.out / "mutants.json").write_text(json.dumps(content, indent=1) + "\n")
    killed = sum(one.killed for one in found.values())
    survivors = [one for _, one in sorted(found.items()) if not one.killed]
    harmless = [one for one in survivors if reason_for(one.name)]
    share = killed / len(found) if found else float("nan")
    wrong = killed / (len(found) - len(harmless)) if len(found) > len(harmless) else float("nan")
    untested = sorted(path for path, near in tests.items() if not near)
    lines = [
        "# Wrongs that the tests notice", "",
        f"Made by `critica bench mutants`: of {len(asked)} flipped signs, dropped factors and turned comparisons in"
        f" {', '.join(settings.only or settings.rooms)}, {len(found)} were judged (in an order drawn with seed"
        f" {settings.seed}) by the tests nearest to their module. {killed} were noticed: {share:.1%}; of those that"
        f" change what is computed, {wrong:.1%}. Promised: {PROMISED:.0%}.", "",
        "| room | judged | noticed | share |", "|---|---|---|---|",
    ]  # fmt: skip
    for room in settings.rooms:
        of = [one for one in found.values() if one.path.startswith(f"{room}/")]
        if of:
            noticed = sum(one.killed for one in of)
            lines.append(f"| {room} | {len(of)} | {noticed} | {noticed / len(of):.1%} |")
    lines += ["", "## Survivors", ""]
    lines += [f"- `{one.name}`: {reason_for(one.name) or 'a hole in the tests'}" for one in survivors] or ["None."]
    if untested and not settings.only:
        lines += ["", f"No test is near: {', '.join(f'`{path}`' for path in untested)}."]
    page = order.out / "mutants.md"
    page.write_text("\n".join(lines) + "\n")
    return page


MUTANTS = Bench(
    "mutants", "whether the tests notice a flipped sign or a dropped factor in a formula", MutantsSettings, run_mutants,
    quick=("only=functional/success_counts",),
)  # fmt: skip
