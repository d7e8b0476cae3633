"""What every page shares: its assets, its skeleton filled in, tables, and JSON that cannot leave its script element."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

DIGITS = 5


@dataclass(frozen=True, slots=True)
class Table:
    """A table of words: its title, a sentence, its head, its rows; columns from `numbers_from` on hold numbers."""

    title: str
    says: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers_from: int = 99


def asset(*names: str) -> str:
    """Files that ship beside this module, one after the other."""
    return "\n".join((files("critica.viewer") / "page" / name).read_text(encoding="utf-8") for name in names)


def plotly() -> str:
    """The library that draws."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def fill(skeleton: str, parts: Mapping[str, str]) -> str:
    """The skeleton with each `%%NAME%%` replaced, once: a `%%NAME%%` inside the run's own text stays text."""
    pieces = asset(skeleton).split("%%")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def strict_json(content: Any) -> str:
    """JSON that cannot end its script element; NaN becomes null, floats keep five digits."""
    text = json.dumps(_short(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _short(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _short(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_short(value) for value in content]
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written to the page
    if isinstance(content, bool) or not isinstance(content, float):
        return content
    return float(f"{content:.{DIGITS}g}") if math.isfinite(content) else None


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int, raw: Sequence[int] = ()) -> str:
    """A table that scrolls sideways where it is too wide; columns in `raw` hold HTML that the caller has escaped."""

    def cell(tag: str, index: int, text: str) -> str:
        number = ' class="n"' if index >= numbers_from and index not in raw else ""
        return f"<{tag}{number}>{text if tag == 'td' and index in raw else escape(text)}</{tag}>"

    top = "".join(cell("th", i, text) for i, text in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, text) for i, text in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<div class="card scroll" tabindex="0" role="region" aria-label="{escape(head[0])} table"><table>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(share: float) -> str:
    """A horizontal bar of this share of its cell."""
    return f'<i class="share" style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i>'


def number(value: float, form: str = ".3f") -> str:
    """A number, or a dash where there is none; never a minus sign before zero."""
    return "–" if math.isnan(value) else format(float(format(value, form)) + 0.0, form)


def percent(share: float) -> str:
    """0.4731 -> '47.3%'."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}%"


def clock(seconds: float) -> str:
    """93 -> '1 min 33 s'; 0.0931 -> '93 ms'."""
    if seconds < 0.995:
        return f"{1000 * seconds:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s" if seconds >= 10 else f"{seconds:.1f} s"
