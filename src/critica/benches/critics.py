"""The critics bench: every critic's values against the truth on the same states, at equal data and at equal time."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from critica.benches.base import Bench, BenchFailed, Eta, Order, say
from critica.benches.critics_entries import Entry, read_entries, with_past
from critica.benches.critics_fields import FIELDS, TAUGHT, Field
from critica.benches.critics_figure import figure
from critica.benches.critics_page import page
from critica.benches.critics_player import Lessons, player
from critica.benches.critics_probe import PROBE, probe
from critica.benches.critics_rows import Heard, rows_of
from critica.benches.critics_score import DRAWS
from critica.benches.critics_settings import QUICK, CriticsSettings
from critica.benches.critics_states import States
from critica.benches.critics_store import get_said, get_states, put_said, put_states
from critica.benches.critics_trial import Said, references, run_entry
from critica.benches.critics_verdicts import verdicts
from critica.benches.critics_why import why_lines
from critica.benches.critics_world import World
from critica.benches.machine import machine_facts
from critica.evaluation.critic_panel import AuditedStates
from critica.policies.language_model import LanguagePolicy
from critica.recipes.config import apply_sets

MCS = "mcs"


class Study:
    """A run of the bench: what there is to do, and where it is kept."""

    def __init__(self, order: Order, settings: CriticsSettings) -> None:
        from critica.policies.numerics import configure

        configure(1)
        self.order, self.settings = order, settings
        self.pico = LanguagePolicy.load("pico", None, "cpu")
        parameters = sum(weight.numel() for _, weight in self.pico.trainable())
        self.entries, self.missing = read_entries((*settings.entries, *settings.also), parameters)
        curves = [entry for entry in self.entries if entry.spec in settings.curve.entries]
        self.curves = [with_past(entry, past) for entry in curves for past in settings.curve.answers]
        self.failed: dict[str, str] = {}

    @cached_property
    def player(self) -> LanguagePolicy:
        """Pico, taught to play; made once."""
        say("  teaching pico to play, once")
        return player(self.order.work / "critics" / "player", TAUGHT, Lessons())

    def entries_on(self, name: str) -> list[Entry]:
        """Who is measured on this field."""
        return [*self.entries, *(self.curves if name in self.settings.curve.fields else ())]

    def folder(self, name: str, seed: int) -> Path:
        """Where this field's world at this seed is kept: by all that its states depend on."""
        schooling = f"{Lessons()} {TAUGHT}" if FIELDS[name].policy == "player" else ""
        told = f"{FIELDS[name]} {self.settings.sizes} {self.settings.continuations} {schooling}"
        return self.order.work / "critics" / _digest(told) / f"{name}-{seed}"

    def path(self, name: str, seed: int, stem: str) -> Path:
        """What one critic said there."""
        told = f"{self.settings.budget} {self.settings.effort} {self.settings.references}"
        return self.folder(name, seed) / "said" / f"{stem}-{_digest(told)}.npz"

    def run(self) -> Path:
        """Measure what is missing, seed by seed, and write the page after every world."""
        worlds = [(name, seed) for seed in range(self.order.seeds) for name in self.settings.fields]
        waiting = sum(len(self.waiting(name, seed)) for name, seed in worlds)
        total = sum(len(self.entries_on(name)) + 1 for name, _ in worlds)
        say(f"{total} trials, {total - waiting} done before")
        eta = Eta(waiting)
        for name, seed in worlds:
            if self.waiting(name, seed):
                self.measure(FIELDS[name], seed, eta)
                self.write()
        return self.write()

    def waiting(self, name: str, seed: int) -> list[Entry | None]:
        """What is still to be done on this world; None stands for the Monte-Carlo references."""
        both = [*self.entries_on(name), None]
        return [entry for entry in both if not self.path(name, seed, _stem(entry)).is_file()]

    def measure(self, spot: Field, seed: int, eta: Eta) -> None:
        """Every trial of a world that is still to be done. A critic that fails is named on the page and not kept."""
        policy = self.pico if spot.policy == "pico" else self.player
        folder = self.folder(spot.name, seed)
        world = World(spot, seed, self.settings.sizes, policy, folder)
        states = States(world, self.settings.continuations, self.settings.references)
        if get_states(folder) is None:
            put_states(folder, states.truth())
        for entry in self.waiting(spot.name, seed):
            said = self.tried(entry, states)
            what = "references" if entry is None else entry.spec
            if said and entry is not None:
                put_said(self.path(spot.name, seed, entry.stem), entry.spec, said)
            say(f"  {spot.name} seed {seed} {what}: {said[0].seconds if said else math.nan:.1f} s, {eta.after(1)}")

    def tried(self, entry: Entry | None, states: States) -> list[Said]:
        """What this critic says; nothing, and a note, if it cannot."""
        if entry is None:
            for name, item in references(states, self.settings.budget):
                put_said(self.path(states.world.spot.name, states.world.seed, f"{MCS}-{name}"), name, [item])
            truth = get_states(states.world.folder)
            assert truth is not None
            put_said(self.path(states.world.spot.name, states.world.seed, PROBE), PROBE, [probe(states, truth)])
            done = self.path(states.world.spot.name, states.world.seed, MCS)
            done.write_bytes(b"")
            return []
        try:
            return run_entry(entry, states, self.settings.budget, self.settings.effort)
        except Exception as error:  # a critic that cannot be measured must not stop the others
            self.failed[entry.spec] = f"`{entry.spec}` on {states.world.spot.name}: {type(error).__name__}: {error}"
            return []

    def heard(self) -> list[Heard]:
        """Everything that is on disk. Of a critic whose code has changed since, the newest of the older results."""
        found = []
        for seed in range(self.order.seeds):
            for name in self.settings.fields:
                states = get_states(self.folder(name, seed))
                if states is not None:
                    found.append(self.heard_in(name, seed, states))
        return found

    def heard_in(self, name: str, seed: int, states: AuditedStates) -> Heard:
        """Everything about one world."""
        said, names, older = {}, {}, set()
        folder, ending = self.path(name, seed, "").parent, self.path(name, seed, "").name
        paths = [(path, MCS) for path in sorted(folder.glob(f"{MCS}-*{ending}"))]
        paths.append((self.path(name, seed, PROBE), PROBE))
        for entry in self.entries_on(name):
            path = self.path(name, seed, entry.stem)
            before = sorted(folder.glob(f"{entry.root}-*{ending}"), key=lambda item: item.stat().st_mtime)
            if not path.is_file() and before:
                path = before[-1]
                older.add(entry.spec)
            paths.append((path, entry.name))
        for path, who in paths:
            if path.is_file():
                spec, items = get_said(path)
                names[spec] = who
                said |= {(spec, item.condition): item for item in items}
        return Heard(name, seed, states, said, names, frozenset(older))

    def write(self) -> Path:
        """critics.json, critics.svg and critics.md of what there is."""
        heard = self.heard()
        every = rows_of(heard)
        curves = {entry.spec for entry in self.curves} | {PROBE}
        rows = [row for row in every if row.spec not in curves]
        if not rows:
            raise BenchFailed(f"nothing could be measured: {'; '.join(self.failed.values()) or 'no critic'}")
        teachable = {row.field: row.ratio for row in every if row.spec == PROBE}
        found = verdicts(rows, {"numbers": _fields("numbers"), "shared": _fields("shared")}, teachable)
        facts = self.facts(sorted({item.seed for item in heard}))
        content = facts | {
            "settings": asdict(self.settings),
            "verdicts": [asdict(verdict) for verdict in found],
            "rows": [asdict(row) for row in every],
        }
        out = self.order.out
        out.mkdir(parents=True, exist_ok=True)
        (out / "critics.json").write_text(json.dumps(_plain(content), indent=1) + "\n")
        (out / "critics.svg").write_text(figure(rows, "data"))
        (out / "critics.md").write_text(page(facts, rows, found, why_lines(heard, self.curves, every)))
        return out / "critics.md"

    def facts(self, seeds: Sequence[int]) -> dict[str, Any]:
        """What was measured, how, and on what."""
        s, words = self.settings, " ".join(f"--set {item}" for item in self.order.settings)
        method = asdict(s.sizes) | asdict(s.budget) | {
            "continuations": s.continuations, "references": s.references, "draws": DRAWS, "seeds": len(seeds),
        }  # fmt: skip
        return {
            "command": f"critica bench critics --seeds {self.order.seeds} {words}".strip(),
            "machine": machine_facts(1),
            "seeds": list(seeds),
            "method": method,
            "missing": [*self.missing, *self.failed.values()],
        }


def _fields(trait: str) -> frozenset[str]:
    return frozenset(name for name, spot in FIELDS.items() if getattr(spot, trait))


def _stem(entry: Entry | None) -> str:
    return MCS if entry is None else entry.stem


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def _plain(content: Any) -> Any:
    if isinstance(content, float):
        return round(content, 6) if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return [_plain(value) for value in content] if isinstance(content, list | tuple) else content


def run_critics(order: Order) -> Path:
    """Measure what is missing, then write critics.json, critics.svg and critics.md. Cut off, it goes on."""
    return Study(order, apply_sets(CriticsSettings(), order.settings, {})).run()


CRITICS = Bench("critics", "how near to the truth every critic's values are", CriticsSettings, run_critics, QUICK)
