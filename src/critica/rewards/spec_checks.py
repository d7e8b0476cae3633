"""Small checks written for one prompt: `def check(response): ...`, run in a killable worker. Imports no torch."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from critica.rewards.wire import Declined, Item, Judge

NAME = "check"
LONGEST = 20_000  # characters of one check


def make_spec_checks(settings: dict[str, Any]) -> Judge:
    """The judge: the share of a task's `info[key]` checks that hold."""
    key, common = str(settings["key"]), tuple(settings.get("common", ()))
    return Judge("spec_checks", False, lambda items: [share_held(items[0], key, common)])


def share_held(item: Item, key: str, common: Sequence[str] = ()) -> float | Declined:
    """The mean of the checks that return a truth value; one that raises is left out, for it says nothing."""
    sources = (*common, *item.task.info.get(key, ()))
    if not sources:
        return Declined("has no checks for this task")
    held, errors = [], []
    for source in sources:
        try:
            said = compiled(str(source))(item.text)
            if not isinstance(said, bool):
                raise TypeError(f"returned {type(said).__name__}, not True or False")
            held.append(said)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    if not held:
        raise ValueError(f"none of {len(errors)} checks works, the first {errors[0]}")
    return sum(held) / len(held)


@lru_cache(maxsize=4096)
def compiled(source: str) -> Callable[[str], object]:
    """The function `check` that a source defines. Raises ValueError if it defines none."""
    if len(source) > LONGEST:
        raise ValueError(f"a check of {len(source):,} characters: at most {LONGEST:,}")
    space: dict[str, Any] = {"__name__": "spec_check"}
    exec(compile(source, "<check>", "exec"), space)
    if not callable(space.get(NAME)):
        raise ValueError(f"a check defines no function {NAME}(response)")
    return space[NAME]


def works_on(sources: Sequence[str], texts: Sequence[str]) -> list[bool]:
    """Which checks run on every text and say True or False: for drafts, before they are kept."""
    return [all(_runs(source, text) for text in texts) for source in sources]


def _runs(source: str, text: str) -> bool:
    try:
        return isinstance(compiled(source)(text), bool)
    except Exception:
        return False
