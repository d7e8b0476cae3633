"""A file of specifications: for each prompt its criteria and its checks, written before training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from critica.environments.base import Environment
from critica.environments.splits import normalize
from critica.records.words import Task
from critica.rewards.judge_criteria import criteria_from
from critica.rewards.verifiers import Verifier
from critica.rewards.wire import Program

CRITERIA, CHECKS = "rubric", "checks"


class SpecProblem(ValueError):
    """A file of specifications cannot be used; the text says where and why."""


@dataclass(frozen=True)
class SpecChecks(Verifier):
    """The share of the task's checks, `info["checks"]`, and of `common` ones that hold.

    Each is the source of a function `def check(response) -> bool`. They run in the killable workers of all reward
    code, without network: whoever writes them can slow a run down, and should be trusted as far as a reward function.
    """

    key: str = CHECKS
    common: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for source in self.common:
            try:
                compile(source, "<check>", "exec")
            except SyntaxError as error:
                raise ValueError(f"a check in `common` is no Python: {error}") from error

    def settings(self) -> Mapping[str, Any]:
        """See `spec_checks.make_spec_checks`."""
        return {"kind": "spec_checks", "key": self.key, "common": list(self.common)}

    def program(self, environment: Environment) -> Program:
        """Found by name."""
        return Program("critica.rewards.spec_checks", "make_spec_checks", self.settings())


@dataclass(frozen=True, slots=True)
class SpecFile:
    """Specifications by normalized prompt. One JSON object a line: {"prompt", "rubric": […], "checks": […]}."""

    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str) -> "SpecFile":
        """The file's. Raises `SpecProblem` naming the line."""
        return cls(_read(str(Path(path).absolute())))

    def equipped(self, task: Task) -> Task:
        """The task with its prompt's specification in its info; what the task itself says comes first."""
        found = self.specs.get(normalize(task.prompt))
        return task if found is None else replace(task, info={**found, **task.info})


def write_specs(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write specifications that `SpecFile.read` reads. Raises `SpecProblem` for one that it would refuse."""
    lines = [json.dumps(dict(row), ensure_ascii=False) for row in rows]
    _parse("specifications", lines)
    Path(path).write_text("".join(f"{line}\n" for line in lines))


@lru_cache(maxsize=16)
def _read(path: str) -> Mapping[str, Mapping[str, Any]]:
    file = Path(path)
    if not file.is_file():
        raise SpecProblem(f"there is no file {path}")
    return _parse(path, file.read_text().splitlines())


def _parse(path: str, lines: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            prompt, criteria, checks = row["prompt"], row.get(CRITERIA, []), row.get(CHECKS, [])
            criteria_from(criteria)
            for source in checks:
                compile(source, "<check>", "exec")
        except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
            raise SpecProblem(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        if normalize(prompt) in found:
            raise SpecProblem(f"{path}, line {number}: this prompt stands there twice")
        found[normalize(prompt)] = {CRITERIA: criteria, CHECKS: checks}
    return found
