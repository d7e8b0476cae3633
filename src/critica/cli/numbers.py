"""Numbers on the command line: what is no such number is refused with a sentence."""

from collections.abc import Callable
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec


def _whole(least: int) -> Callable[[list[str]], int]:
    def read(words: list[str]) -> int:
        try:
            number = int(words[0])
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"expected a whole number of at least {least}, got {words[0]!r}")
        return number

    return read


def _spec(least: int, default: str) -> PrimitiveConstructorSpec:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="N",
        instance_from_str=_whole(least),
        is_instance=lambda value: value is None or isinstance(value, int),
        str_from_instance=lambda value: [default if value is None else str(value)],
    )


Count = Annotated[int | None, _spec(1, "config")]  # absent: what the recipe or the run says
Step = Annotated[int | None, _spec(0, "newest")]  # of a checkpoint
Seed = Annotated[int | None, _spec(0, "config")]
Every = Annotated[int | None, _spec(0, "terminal: 20, log: 0")]  # steps; absent: by where it is said
Positive = Annotated[int, _spec(1, "")]
Natural = Annotated[int, _spec(0, "")]
