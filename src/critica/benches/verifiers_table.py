"""The page of the verifiers bench."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from critica.benches.verifier_pairs import CATEGORIES
from critica.functional.statistics import Interval

if TYPE_CHECKING:
    from critica.benches.verifiers import Rates, Speed


def verifiers_table(head: str, pairs: int, rates: "Sequence[Rates]", speeds: "Sequence[Speed]") -> str:
    """Rates of both checkers side by side, then speeds against what is promised."""
    checkers = list(dict.fromkeys(one.checker for one in rates))
    lines = [
        "# Verifiers\n",
        f"Made by `critica bench verifiers`. {head}.\n",
        f"## How often they are wrong\n\n{pairs} labeled pairs of a task's answer and a response, written by"
        " hand (`src/critica/assets/math_pairs.jsonl`). False accept: the share of wrong responses called"
        " right; false reject: of right ones called wrong; 95% Wilson intervals. Failed: the checker could"
        " not read the task's own answer; such pairs are in neither share. The pairs are adversarial and no"
        " corpus has this mix: the shares say where a checker errs, not how often it would on your tasks. The"
        " strict checker was mended until it agreed with the `tuned` half, so its numbers there say only that"
        " it does; those of the `fresh` half, written afterwards, mean more, though some of what they showed"
        " was mended, too (first sight: docs/log.md). What counts as right is policy in places (an"
        " unevaluated sum, a unit left out), and `math` was written for another one.\n",
        "| | " + " | ".join(f"{name}: false accept | false reject | failed" for name in checkers) + " |",
        "|---" * (1 + 3 * len(checkers)) + "|",
    ]
    for part in dict.fromkeys(one.slice for one in rates):
        row = [one for name in checkers for one in rates if one.checker == name and one.slice == part]
        cells = [" | ".join(_cells(one)) for one in row]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    lines += ["\n| category | what is right in it |", "|---|---|"]
    lines += [f"| {name} | {why} |" for name, why in CATEGORIES.items()]
    lines += [
        "\n## Verifications a second\n",
        "Worked answers of about 300 characters, half of them right, in one batch; median of the rounds. Promised:"
        " 10,000 a second in this process for built-ins whose time is bounded, 2,000 through killable workers on two"
        " cores.\n",
        "| verifier | where | a second | promised | |",
        "|---" * 5 + "|",
    ]
    for one in speeds:
        mark = "" if not one.floor else "pass" if one.per_second >= one.floor else "FAIL"
        promised = f"{one.floor:,.0f}" if one.floor else ""
        lines.append(f"| {one.verifier} | {one.place} | {one.per_second:,.0f} | {promised} | {mark} |")
    return "\n".join(lines) + "\n"


def _cells(one: "Rates") -> tuple[str, str, str]:
    accepts = _share(one.false_accept, one.accepted, one.wrong)
    return accepts, _share(one.false_reject, one.rejected, one.right), str(one.failed)


def _share(interval: Interval | None, count: int, of: int) -> str:
    if interval is None:
        return ""
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}] ({count}/{of})"
