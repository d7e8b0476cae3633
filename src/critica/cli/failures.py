"""From an exception to a sentence on stderr and an exit status: 2 for what the user can rewrite, 1 for what failed."""

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

FAILED, USAGE = 1, 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a known failure ends."""

    status: int
    traceback: bool = False


def explain(error: BaseException, verb: str, command: object) -> int:
    """Say what happened, where the run can be resumed, and return the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    verdict = judge(error)
    if verdict.traceback:
        traceback.print_exception(error)
    print(f"critica {verb}: {sentence(error)}", file=sys.stderr)
    if verdict.status == FAILED:
        hint = resume_hint(command)
        if hint and "critica resume" not in str(error):
            print(hint, file=sys.stderr)
    return verdict.status


def judge(error: BaseException) -> Verdict:
    """A known kind of failure, by its class; anything else is ours and shows its traceback."""
    from critica.recipes.coercion import ConfigError
    from critica.store.errors import NotARun, RunFolderBusy, StoreError

    if isinstance(error, ConfigError | NotARun | RunFolderBusy | FileNotFoundError | IsADirectoryError):
        return Verdict(USAGE)
    if isinstance(error, StoreError | KeyboardInterrupt | MemoryError | PermissionError):
        return Verdict(FAILED)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "critica").startswith("critica"):
        return Verdict(FAILED)
    if _explained(error):
        return Verdict(USAGE if isinstance(error, ValueError) else FAILED)
    return Verdict(FAILED, traceback=True)


def _explained(error: BaseException) -> bool:
    """Whether the error is of a class of ours: those are sentences written for the user."""
    return type(error).__module__.startswith("critica.") and not _is_record_error(error)


def _is_record_error(error: BaseException) -> bool:
    """A record that contradicts itself is a mistake of ours: its traceback is wanted."""
    return any(kind.__module__ == "critica.records.checks" for kind in type(error).__mro__)


def sentence(error: BaseException) -> str:
    """The error in words."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped at once."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name!r} is missing: run `make setup`; `critica doctor` says which extra brings it."
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"there is no file {error.filename}."
    if isinstance(error, MemoryError):
        return f"out of memory{': ' + str(error) if str(error) else ''}; `critica plan` estimates what a run needs."
    return str(error) or type(error).__name__


def resume_hint(command: object) -> str:
    """How the run that this command wrote can go on; empty when there is nothing to go on from."""
    run = folder_of(command)
    if run is None or not (run / "run.json").is_file():
        return ""
    where = "from its last checkpoint" if any((run / "checkpoints").glob("step_*")) else "from its beginning"
    return f"The run can go on {where}: critica resume {run}"


def folder_of(command: object) -> Path | None:
    """The run folder that a command writes to, if it is a command that does."""
    from critica.cli.demo import Demo
    from critica.cli.resume import Resume
    from critica.cli.train import Train

    if isinstance(command, Train | Demo | Resume):
        return command.folder
    return None
