"""Data on stdout, words on stderr."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def say(text: str) -> None:
    """Words for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """The answer, on stdout."""
    print(text, flush=True)


def show_json(content: Any) -> None:
    """The answer for a program: strict JSON; a number that is not finite becomes null."""
    show(json.dumps(_strict(content), indent=2, ensure_ascii=False, allow_nan=False))


def _strict(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _strict(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [_strict(value) for value in content]
    return content


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by blanks, the first row the heads."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def quiet_libraries() -> None:
    """No bars for reading and writing local weights; downloads keep theirs."""
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()
    enable_progress_bars()
