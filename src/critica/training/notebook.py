"""Progress in a notebook: one display that is rewritten, however many steps there are."""

import importlib
import io
import sys
from typing import Any

from critica.training.progress import SAMPLES_EVERY, Lines, Reporter, Silent

PAUSE = 0.5  # seconds between two updates, at least


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: IPython is loaded, and runs as one."""
    loaded = sys.modules.get("IPython")
    shell = loaded.get_ipython() if loaded is not None else None
    return shell is not None and "IPKernelApp" in shell.config


class Page(io.TextIOBase):
    """A stream whose every text replaces what a notebook shows: warnings, below them the newest line, then a table.

    Nothing is printed, so that nothing floods the page.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.line, self.table = "", ""
        self._display: Any = None

    def write(self, text: str) -> int:
        """One line, a warning, or a table of several lines."""
        said = text.rstrip("\n")
        if said.startswith("warning"):
            self.warnings.append(said)
        elif "\n" in said:
            self.table = said
        else:
            self.line = said
        shown = {"text/plain": "\n".join(filter(None, [*self.warnings, self.line, self.table]))}
        if self._display is None:
            self._display = importlib.import_module("IPython.display").display(shown, raw=True, display_id=True)
        else:
            self._display.update(shown, raw=True)
        return len(text)


def notebook(steps: int, done: int) -> Lines:
    """What a log would say, and the answers of every 20th step, on one `Page`."""
    return Lines(steps, done, Page(), PAUSE, SAMPLES_EVERY)


def automatic(steps: int, done: int) -> Reporter:
    """What the Python API shows unless told otherwise: progress in a notebook, nothing elsewhere."""
    return notebook(steps, done) if in_notebook() else Silent()
