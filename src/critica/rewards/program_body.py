"""What runs in a program's own process, walls around it: the program, and the calls asked of it. None is trusted.

The job holds the program and what it is given, never what is expected of it. Values go back as plain data; whoever
reads them judges. Imports no torch.
"""

import json
import os
import random
import sys
import threading
import traceback
from types import ModuleType
from typing import Any, NoReturn

from critica.rewards.plain_values import decode, encode

OUT_OF_MEMORY = 77  # exit status
RAISED = 1


def run_job(job: int, result: int) -> NoReturn:
    """Read the job, do it, end the process with a status that says how it went."""
    with open(job, "rb") as file:
        order = json.loads(file.read())
    _own_streams()
    random.seed(0)  # a program that draws numbers draws the same ones in every run
    for name in [name for name in sys.modules if name.split(".")[0] == "critica"]:
        del sys.modules[name]
    if order["mode"] == "script":
        os.close(result)
        _finish(lambda: _execute(order["program"], "__main__"))
    _finish(lambda: _answer(order, result))


def _own_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - they live on
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _finish(step: Any) -> NoReturn:
    status = RAISED
    try:
        try:
            step()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0 if error.code is None else RAISED
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        threading._shutdown()  # type: ignore[attr-defined] - the interpreter's own end of threads, before output ends
        sys.stdout.flush()
    except MemoryError:
        status = OUT_OF_MEMORY
    except BaseException:
        status = status or RAISED
        traceback.print_exc(limit=-5)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status & 0xFF)


def _execute(program: str, name: str, setup: str = "") -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    if setup:
        exec(compile(setup, "<setup>", "exec"), module.__dict__)
    exec(compile(program, "<program>", "exec"), module.__dict__)
    return module


def _answer(order: dict[str, Any], result: int) -> None:
    """One line per question: `[0, value]`, or `[1, what was raised]`. The first line says that the program loaded."""
    module = _execute(order["program"], "program", order["setup"])
    _write(result, [0, ["n"]])
    for kind, content in order["questions"]:
        try:
            if kind == "call":
                value = _function(module, order["function"])(*content)
            else:
                names = module.__dict__ | {name: decode(data) for name, data in order["values"]}
                value = eval(compile(content, "<case>", "eval"), names)
            line = [0, encode(value)]
        except MemoryError:
            line = [1, "MemoryError"]
        except BaseException as error:
            line = [1, f"{type(error).__name__}: {error}"[:300]]
        _write(result, line)


def _function(module: ModuleType, name: str) -> Any:
    found = module.__dict__.get(name)
    if found is None and "Solution" in module.__dict__:
        found = getattr(module.__dict__["Solution"](), name)
    if found is None:
        raise NameError(f"the program defines no {name}")
    return found


def _write(result: int, line: list[Any]) -> None:
    data = json.dumps(line).encode() + b"\n"
    while data:
        data = data[os.write(result, data) :]
