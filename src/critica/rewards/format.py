"""The form of an answer as a reward of its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from critica.rewards.verifiers import Verifier


@dataclass(frozen=True)
class Format(Verifier):
    """1 if the text is <think>…</think><answer>…</answer> and nothing else, else 0; `tags` names others.

    Each tag once, in order, holding something, white space between them. `partial` pays the share of the tags that are
    there exactly once instead, so that a policy that knows none of them has something to climb (TRL's and GRPO demos'
    "tag count"). `opened`: the chat template writes the first opening tag, as those of reasoning models do; the
    policy's text then begins inside it.

    Use it beside what says whether the answer is right (`--reward "environment + format"`), not in its place: it pays
    for form, whatever stands inside. A regular expression of your own is `regex:PATTERN`, or a function. Source:
    DeepSeek-R1's format reward (arXiv 2501.12948, 2.2.2).
    """

    bounded: ClassVar[bool] = True
    tags: tuple[str, ...] = ("think", "answer")
    partial: bool = False
    opened: bool = False

    def __post_init__(self) -> None:
        if not self.tags or len(set(self.tags)) < len(self.tags):
            raise ValueError(f"Format.tags is {self.tags}: name one tag or more, each once, such as think and answer")
        odd = [tag for tag in self.tags if not re.fullmatch(r"[\w-]+", tag)]
        if odd:
            raise ValueError(f"Format.tags holds {odd[0]!r}: write the name alone, without < and >")

    def settings(self) -> Mapping[str, Any]:
        """See `format_check.built`."""
        return {"kind": "format", "tags": list(self.tags), "partial": self.partial, "opened": self.opened}
