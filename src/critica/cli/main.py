"""The command `critica`: one table of verbs; the chosen verb's module is the only one that is loaded."""

import dataclasses
import importlib
import inspect
import os
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from critica.cli.failures import explain
from critica.recipes.coercion import nearest


@runtime_checkable
class Verb(Protocol):
    """A parsed command line; calling it carries it out and returns the exit status."""

    def __call__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a verb lives and what it is for."""

    module: str
    command: str
    purpose: str


VERBS = {
    "demo": Entry("demo", "Demo", "train the shipped policy under flipped rewards and show before and after"),
    "train": Entry("train", "Train", "train a policy by a recipe and write a run folder"),
    "resume": Entry("resume", "Resume", "continue a run from its last checkpoint"),
    "inspect": Entry("inspect", "Inspect", "check a run folder: checkpoints, bad steps, and whether the books balance"),
    "replay": Entry("replay", "ReplayStep", "do a step of a run again and compare it bit for bit"),
    "evaluate": Entry("evaluate", "Evaluate", "measure held-out accuracy, with intervals"),
    "compare": Entry("compare", "Compare", "compare runs prompt by prompt, with intervals"),
    "plan": Entry("plan", "Plan", "say what a training run would do and need, without loading a model"),
    "critic audit": Entry("critic", "AuditCritic", "measure a critic on fresh states against their true values"),
    "critic fit": Entry("critic", "FitCritic", "fit a critic to stored rollouts, for `critica train … --critic-from`"),
    "critic route": Entry("route", "RoutePrompts", "choose between runs for each prompt, by likely success and cost"),
    "reward fit": Entry("reward", "FitReward", "train a reward model on preference pairs"),
    "reward audit": Entry("reward", "AuditReward", "measure a reward model by slices, and look for poisoned ones"),
    "reward bench": Entry("reward", "BenchReward", "score a reward model as RewardBench 2 does"),
    "recipes": Entry("recipes", "Recipes", "list the recipes, or show one with the origin of its values"),
    "new": Entry("new", "New", "write a critic, reward, environment or other part of your own, with its test"),
    "report": Entry("report", "Report", "write a run's report.html"),
    "policy make": Entry(
        "policy", "MakePolicy", "make a tiny policy: the one that ships, or one that plays the token games"
    ),
    "policy mix": Entry("mix", "MixPolicies", "mix policies of one base by their weights, between or beyond them"),
    "policy export": Entry("export", "ExportPolicy", "write a policy as a folder that transformers and peft open"),
    "bench": Entry("bench", "Bench", "run a benchmark"),
    "doctor": Entry("doctor", "Doctor", "check this machine and say what to fix"),
    "version": Entry("version", "Version", "print the versions that matter in a bug report"),
}

USAGE = 2


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Carry out one command line. 0: done. 1: it failed, stderr says why. 2: wrong usage, stderr says what to write."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else USAGE
    words = 2 if " ".join(arguments[:2]) in VERBS else 1
    name, rest = " ".join(arguments[:words]), list(arguments[words:])
    if name == "--version":
        name = "version"
    family = [verb for verb in VERBS if verb.startswith(f"{name} ")]
    if family:
        asked = rest[:1] in (["-h"], ["--help"])
        lines = "\n".join(f"  critica {verb}  {VERBS[verb].purpose}" for verb in family)
        print(f"`critica {name}` is the beginning of:\n{lines}", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else USAGE
    if name not in VERBS:
        verbs = ", ".join(VERBS)
        print(f"critica: there is no verb {name!r}{nearest(name, VERBS)}. There are: {verbs}.", file=sys.stderr)
        return USAGE
    if name == "bench" and (said := bench_help(rest)):
        print(said)
        return 0
    try:
        verb = parse(name, rest)
    except SystemExit as stop:  # --help, or a usage error that has been explained
        return stop.code if isinstance(stop.code, int) else USAGE
    try:
        return verb()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        return explain(error, name, verb)


def overview() -> str:
    """What `critica --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {item.purpose}" for name, item in VERBS.items())
    return (
        "Critica trains language models with reinforcement learning when the supervision is noisy.\n\n"
        f"usage: critica VERB …          critica VERB --help says more\n\n{verbs}\n\n"
        "Begin with:\n"
        "  critica demo\n"
        "  critica train dvpo --noise flip:0.2:group --steps 100 --run runs/first\n"
        "  critica report runs/first"
    )


def bench_help(arguments: Sequence[str]) -> str:
    """What `critica bench NAME --help` prints; empty if no benchmark is named there, or no help is asked for."""
    words = [word for word in arguments if not word.startswith("-")]
    if not words or not {"-h", "--help"} & set(arguments):
        return ""
    from critica.benches.catalogue import BENCHES
    from critica.cli.bench import about

    return about(BENCHES[words[0]]) if words[0] in BENCHES else ""


def parse(name: str, arguments: list[str]) -> Verb:
    """The verb's command line as its dataclass. Raises SystemExit after help or an explained usage error."""
    import tyro

    item = VERBS[name]
    command = vars(importlib.import_module(f"critica.cli.{item.module}"))[item.command]
    _refuse_unknown_flags(name, command, arguments)
    return tyro.cli(
        command,
        prog=f"critica {name}",
        description=inspect.cleandoc(command.__doc__ or ""),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.UseAppendAction, tyro.conf.OmitArgPrefixes),
    )


def _refuse_unknown_flags(name: str, command: type, arguments: list[str]) -> None:
    flags = [f"--{flag}" for flag in flag_names(command)]
    for argument in arguments:
        given = argument.partition("=")[0].replace("_", "-")
        if given == "--":
            return
        if given.startswith("--") and given not in (*flags, "--help"):
            listed = ", ".join(flags)
            print(f"critica {name} has no option {given}{nearest(given, flags)}. There are: {listed}.", file=sys.stderr)
            raise SystemExit(USAGE)


def flag_names(command: type) -> list[str]:
    """The options of a command, those of the groups inside it included; positional words are none."""
    from tyro.conf import Positional

    names = []
    hints = typing.get_type_hints(command, include_extras=True)
    for item in dataclasses.fields(command):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint):
            names += flag_names(hint)
        elif Positional not in typing.get_args(hint)[1:]:
            names.append(item.name.rstrip("_").replace("_", "-"))  # `from_`: Python keeps `from` for itself
    return names
