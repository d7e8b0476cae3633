"""The torture bench's table: signals by kind and by what they met, and what came of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from critica.benches.torture_strikes import PHASES
from critica.benches.torture_trial import TrialResult

SIGNAL_NAMES = ("SIGKILL", "SIGTERM", "SIGINT")


def torture_table(machine: Mapping[str, Any], steps: int, every: int, jobs: int, results: Sequence[TrialResult]) -> str:
    """Markdown."""
    strikes = [strike for result in results for strike in result.strikes]
    bits = sum(result.verdict.differing_bits for result in results)
    lost = sum(result.verdict.lost_prompts for result in results)
    repeated = sum(result.verdict.repeated_prompts for result in results)
    wrong = [result for result in results if result.problem]
    lines = [
        "# Torture",
        "",
        "`make torture`: a run is killed again and again, resumed each time, and compared with one that never was.",
        "",
        f"**{len(strikes)} signals in {len(results)} runs: {bits} differing bits, {lost} lost and {repeated} repeated "
        f"prompts, {len(wrong)} runs with a problem.**",
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, torch "
        f"{machine['versions']['torch']}, commit {machine['commit']}; {jobs} runs at a time, one thread each. "
        f"Each run: pico, {steps} steps, a checkpoint every {every}, noise flip:0.2:group, held-out accuracy before "
        "and after; vc_ppo pretrains its critic for two thirds of the steps.",
        "",
        *by_phase(strikes),
        "",
        *by_system(results),
        "",
        "Compared bit for bit: every tensor of the last checkpoint (policy, critic, optimizers), its other files,",
        "metrics.jsonl, ledger.jsonl, every rollout file, the held-out reports. With a reward by chance (a coin, 3%",
        "errors, 2% silence, rare hangs) the undisturbed run is one that is told what the killed run was told;",
        "answers kept: those found in a journal at a death that the finished run still has, unchanged.",
        "",
        "The moments of trial t are drawn from the seed in torture.json:",
        "`critica bench torture --set first_trial=T --set kills=1` begins with trial T.",
    ]
    if wrong:
        lines += ["", "## Problems", "", *(f"- trial {result.trial}: {result.problem}" for result in wrong)]
    return "\n".join(lines) + "\n"


def by_phase(strikes: Sequence[Any]) -> list[str]:
    """Rows: what the run was doing; columns: signals."""
    counts = Counter((strike.phase, strike.number) for strike in strikes)
    rows = [f"| what it was doing | {' | '.join(SIGNAL_NAMES)} | all |", f"|---|{'---:|' * (len(SIGNAL_NAMES) + 1)}"]
    for phase in PHASES:
        row = [counts[phase, name] for name in SIGNAL_NAMES]
        rows.append(f"| {phase} | {' | '.join(map(str, row))} | {sum(row)} |")
    totals = [sum(counts[phase, name] for phase in PHASES) for name in SIGNAL_NAMES]
    rows.append(f"| all | {' | '.join(map(str, totals))} | {sum(totals)} |")
    return rows


def by_system(results: Sequence[TrialResult]) -> list[str]:
    """Rows: recipes."""
    rows = [
        "| system | runs | signals | tensors and files in a run | differing bits | lost | repeated | answers kept |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(result.system for result in results):
        own = [result for result in results if result.system == name]
        seen = own[0].verdict
        rows.append(
            f"| {name} | {len(own)} | {sum(len(result.strikes) for result in own)} | {seen.tensors} and {seen.files} | "
            f"{sum(result.verdict.differing_bits for result in own)} | "
            f"{sum(result.verdict.lost_prompts for result in own)} | "
            f"{sum(result.verdict.repeated_prompts for result in own)} | "
            f"{sum(result.answers_kept - result.answers_changed for result in own)} |"
        )
    return rows
