"""`critica new`: a part of one's own, as a small file that runs, with its test."""

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from critica.cli.output import show
from critica.recipes.coercion import ConfigError

TEMPLATES = Path(__file__).resolve().parent.parent / "assets" / "new"
Kind = Literal["critic", "reward", "environment", "advantage", "objective", "recipe"]


@dataclass(frozen=True, kw_only=True)
class New:
    """Write a part of your own: NAME.py, a small commented example that runs as it is, and test_NAME.py.

    The first lines of the file say how to train with it. Nothing that exists is overwritten.

    Examples:
      critica new critic patient && critica train ppo --set critic=patient.py:Patient --steps 20
      critica new reward politeness --into parts
    """

    # What it is.
    kind: Annotated[Positional[Kind], arg(metavar="KIND")]
    # What you call it, as a Python name: my_critic.
    name: Annotated[Positional[str], arg(metavar="NAME")]
    # The folder to write into.
    into: Annotated[str, arg(metavar="DIR")] = "."

    def __call__(self) -> int:
        """Both files, or neither."""
        check_name(self.name)
        folder = Path(self.into)
        files = [folder / f"{self.name}.py", folder / f"test_{self.name}.py"]
        there = [str(file) for file in files if file.exists()]
        if there:
            raise ConfigError(f"{' and '.join(there)} exist{'s' if len(there) == 1 else ''}: choose another name, or"
                              " another folder with --into.")  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        for file, template in zip(files, (f"{self.kind}.py", f"test_{self.kind}.py"), strict=True):
            file.write_text(renamed((TEMPLATES / template).read_text(), self.kind, self.name))
        show("\n".join(map(str, files)))
        return 0


def check_name(name: str) -> None:
    """Raises `ConfigError` for what cannot be the name of a Python file that others import."""
    plain = name.isidentifier() and name.isascii() and name == name.lower() and not keyword.iskeyword(name)
    if not plain or name.startswith(("_", "test_")):
        raise ConfigError(f"{name!r} cannot be a part's name: write a lower-case Python name, such as my_critic.")


def renamed(text: str, kind: str, name: str) -> str:
    """The template with `my_KIND`, `MyKIND` and `MY_KIND` replaced."""
    camel = "".join(word.capitalize() for word in name.split("_"))
    for old, new in ((f"my_{kind}", name), (f"My{kind.capitalize()}", camel), (f"MY_{kind.upper()}", name.upper())):
        text = text.replace(old, new)
    return text
