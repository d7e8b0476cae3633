"""The speed bench: Critica beside HF generate and TRL in one run, in turns; every reading and the table are written."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from critica.benches.base import Bench, BenchFailed, Eta, Order, say
from critica.benches.contest import Match, run_match, settled
from critica.benches.machine import machine_facts, source_digest
from critica.benches.matches import PEERS, Field, matches_of, promises_of
from critica.benches.peer_environments import GRPO_PEER, PPO_PEER, ensure
from critica.benches.policies import FACTS, bench_policy
from critica.benches.ratios import Verdict, judge
from critica.benches.readings import Journal
from critica.benches.speed_table import scaling_of, speed_table, splits_of
from critica.recipes.config import apply_sets


@dataclass(frozen=True, slots=True)
class SpeedSettings:
    """How the speed bench runs.

    `rounds`: undisturbed rounds wanted of each match. `only`: matches whose names begin with one of these, such as
    `grpo-1m`. `policy_steps`: supervised steps of the shared policies, 0 for each size's own number.
    """

    rounds: int = 5
    sizes: tuple[str, ...] = ("1m", "5m")
    only: tuple[str, ...] = ()
    peers: bool = True
    threads: int = 2
    policy_steps: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.threads < 1:
            raise ValueError("rounds and threads must be at least 1")


def run_speed(order: Order) -> Path:
    """Run what is missing, then write speed.json and speed.md. Cut off, it goes on from the last reading."""
    settings = apply_sets(SpeedSettings(), order.settings, {})
    work = order.work / "speed"
    matches, policies = plan(settings, order.work / "policies")
    journals = {match.name: Journal(work / f"{match.name}.jsonl", signature(match)) for match in matches}
    waiting = [match for match in matches if not settled(match, journals[match.name], settings.rounds)]
    eta = Eta(len(waiting))
    failures: list[str] = []
    for match in waiting:
        say(f"{match.name}: {', '.join(match.names)}")
        try:
            run_match(match, journals[match.name], settings.rounds, settings.threads, work / "logs", say)
        except BenchFailed as error:  # the other matches still count
            say(f"  {error}")
            failures.append(f"{match.name}: {str(error).splitlines()[0]}")
        say(f"  {eta.after(1)}")
        write(order.out, settings, matches, journals, policies, failures)
    return write(order.out, settings, matches, journals, policies, failures)


def plan(settings: SpeedSettings, folder: Path) -> tuple[list[Match], dict[str, Any]]:
    """The matches that were asked for, and facts of the policies they run on."""
    grpo = ensure(GRPO_PEER, say) if settings.peers else None
    ppo = ensure(PPO_PEER, say) if settings.peers else None
    matches: list[Match] = []
    facts: dict[str, Any] = {}
    for size in settings.sizes:
        policy = bench_policy(size, folder, settings.threads, say, settings.policy_steps)
        facts[size] = json.loads((policy / FACTS).read_text())
        field = Field(size, policy.absolute(), settings.threads, grpo, ppo, settings.peers)
        matches += [m for m in matches_of(field) if not settings.only or m.name.startswith(settings.only)]
    return matches, facts


def signature(match: Match) -> str:
    """What its readings depend on: our code, the contenders' scripts, their commands."""
    scripts = "".join(path.read_text() for path in sorted([*PEERS.glob("*.py"), *PEERS.parent.glob("*_contender.py")]))
    commands = repr([(c.name, c.command, c.units) for c in match.contenders])
    own = hashlib.blake2b((scripts + commands).encode(), digest_size=6).hexdigest()
    return f"{source_digest()}-{own}"


def verdicts_of(sizes: Iterable[str], journals: dict[str, Journal]) -> list[tuple[str, Verdict]]:
    """Every promise that was measured, with its size."""
    found = []
    for size in sizes:
        for promise in promises_of(size):
            verdict = judge(promise, journals[promise.match]) if promise.match in journals else None
            if verdict:
                found.append((size, verdict))
    return found


def write(
    out: Path,
    settings: SpeedSettings,
    matches: list[Match],
    journals: dict[str, Journal],
    policies: dict[str, Any],
    failures: list[str],
) -> Path:
    """speed.json with every raw reading, and the table made from it."""
    out.mkdir(parents=True, exist_ok=True)
    verdicts = verdicts_of(settings.sizes, journals)
    scaling, splits = scaling_of(journals), splits_of(journals, settings.sizes)
    content = {
        "command": "critica bench speed",
        "machine": machine_facts(settings.threads),
        "settings": asdict(settings),
        "policies": policies,
        "failures": failures,
        "ratios": [
            {"size": size, **asdict(v.promise), "ratio": v.ratio, "low": v.low, "high": v.high, "of_median": v.of,
             "to_median": v.to, "rounds": v.rounds, "disturbed_rounds": v.disturbed, "kept": v.kept}
            for size, v in verdicts
        ],
        "seconds_per_token": asdict(scaling) if scaling else None,
        "matches": {
            match.name: {
                "contenders": journals[match.name].facts,
                "readings": [asdict(reading) for reading in journals[match.name].readings],
            }
            for match in matches
        },
    }  # fmt: skip
    (out / "speed.json").write_text(json.dumps(content, indent=1) + "\n")
    table = out / "speed.md"
    table.write_text(speed_table(content["machine"], settings.rounds, policies, verdicts, scaling, splits, failures))
    return table


SPEED = Bench("speed", "decoding and whole training steps beside HF generate and TRL", SpeedSettings, run_speed)
