"""Minimal exposure: a source sees the task fields that it declared, and the rest is not there."""

from dataclasses import replace

from critica.records.words import EMPTY, Task

Needs = frozenset[str] | None  # names of task fields, `info.KEY` for one entry of info; None: everything
FIELDS = frozenset({"task_id", "environment", "prompt", "answer", "info", "seed"})
WITHHELD = "withheld"  # in place of a task id


def read_needs(names: tuple[str, ...]) -> Needs:
    """What these names declare; none: everything. Raises ValueError for a name that is no field."""
    for name in names:
        if name not in FIELDS | {"text"} and not (name.startswith("info.") and name != "info."):
            raise ValueError(
                f"needs names {name!r}, which is no field of a task: write some of {', '.join(sorted(FIELDS))},"
                " info.KEY for one entry, or text alone (the answer's text is always seen)"
            )
    return frozenset(names) - {"text"} if names else None


def withheld(needs: Needs) -> frozenset[str]:
    """Fields that are not to be seen. `info` is there as a whole or by its entries."""
    if needs is None:
        return frozenset()
    partly = any(name.startswith("info.") for name in needs)
    return FIELDS - needs - ({"info"} if partly else frozenset())


def visible(task: Task, needs: Needs) -> Task:
    """The task with everything else emptied: no field of it holds what was not declared."""
    hidden = withheld(needs)
    changes: dict[str, object] = {}
    if "prompt" in hidden:
        changes["messages"] = tuple(
            replace(message, content="", tool_calls=(), tool_call_id="") for message in task.messages
        )
    for name, instead in (("answer", ""), ("task_id", WITHHELD), ("environment", "")):
        if name in hidden:
            changes[name] = instead
    if "seed" in hidden:
        changes["seed"] = 0
    if needs is not None and "info" not in needs:
        changes["info"] = {key: task.info[key] for key in task.info if f"info.{key}" in needs} or EMPTY
    return replace(task, **changes)  # type: ignore[arg-type]
