"""What the critics bench has found so far, on disk: states with their truth, and what each critic said of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from critica.benches.critics_lesson import Moment
from critica.benches.critics_trial import Said
from critica.evaluation.critic_panel import AuditedStates, Predicted

STATES = "states.npz"


def put_states(folder: Path, states: AuditedStates) -> None:
    """Write the states: whole or not at all."""
    _put(folder / STATES, {item.name: np.asarray(getattr(states, item.name)) for item in fields(states)})


def get_states(folder: Path) -> AuditedStates | None:
    """The states of this world; None if they are not known yet."""
    if not (folder / STATES).is_file():
        return None
    with np.load(folder / STATES, allow_pickle=False) as kept:
        found = {name: kept[name] for name in kept.files}
    return AuditedStates(
        **found | {"sampled": bool(found["sampled"]), "low": float(found["low"]), "high": float(found["high"])}
    )


def put_said(path: Path, spec: str, said: Sequence[Said]) -> None:
    """Write what one critic said under its conditions."""
    arrays, told = {}, []
    for number, item in enumerate(said):
        told.append(
            {
                "condition": item.condition, "about": item.predicted.about, "seconds": item.seconds,
                "answers": item.answers, "samples": item.samples, "silent": item.silent, "own": item.own,
                "course": [asdict(moment) for moment in item.course],
            }
        )  # fmt: skip
        for name in ("value", "points", "shares"):
            arrays[f"{name}{number}"] = getattr(item.predicted, name)
    _put(path, arrays | {"told": np.array(json.dumps({"spec": spec, "said": told}))})


def get_said(path: Path) -> tuple[str, list[Said]]:
    """(spec, what it said)."""
    with np.load(path, allow_pickle=False) as kept:
        told = json.loads(str(kept["told"]))
        found = [
            Said(
                item["condition"],
                Predicted(told["spec"], item["about"], *(kept[f"{name}{n}"] for name in ("value", "points", "shares"))),
                item["seconds"], item["answers"], item["samples"], item["silent"], item["own"],
                tuple(Moment(**moment) for moment in item["course"]),
            )
            for n, item in enumerate(told["said"])
        ]  # fmt: skip
    return told["spec"], found


def _put(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)
