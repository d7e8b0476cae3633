"""The stop-rule bench: what ESPO's rule adds to decoding when it watches every token and never stops one.

The same prompts are decoded with the same dice, with the rule and without it, in one process, the order changing every
round; a threshold that nothing reaches keeps the tokens the same, so that the two sides differ in the rule alone.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time

from critica.benches.base import Bench, Order
from critica.benches.machine import machine_facts
from critica.functional.statistics import Interval, bootstrap_interval
from critica.recipes.config import apply_sets

CEILING = 1.03
NEVER = 1e9


@dataclass(frozen=True, slots=True)
class StopRuleSettings:
    """`rounds` of each side at this many prompts and samples, after one round that is not counted."""

    rounds: int = 30
    prompts: int = 16
    samples: int = 8
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Watched:
    """Processor seconds of decoding a step without and with the rule, their ratio, and the tokens of one side."""

    alone: float
    watched: float
    ratio: Interval
    tokens: int

    @property
    def kept(self) -> bool:
        """Whether the rule stays within the promise."""
        return self.ratio.estimate <= CEILING


def measured(settings: StopRuleSettings) -> Watched:
    """Both sides, round by round. Raises AssertionError if the rule changed a token."""
    from critica.policies.base import SampleRequest
    from critica.recipes.named import recipe
    from critica.rollout.early_stop import EarlyStop
    from critica.training.assemble import assemble

    made = recipe(
        "espo", f"sampling.prompts_per_step={settings.prompts}", f"sampling.samples_per_prompt={settings.samples}",
        f"control.threshold={NEVER}", "control.warmup_steps=0", f"threads={settings.threads}",
    )  # fmt: skip
    assert isinstance(made.control, EarlyStop)
    assembly = assemble(made)
    state = assembly.state
    request = state.curriculum.next(1)
    tasks = state.curriculum.draw(settings.prompts)
    rows: list[tuple[float, float]] = []
    tokens = 0
    try:
        for step in range(1, settings.rounds + 2):
            streams = [[(step, slot, index) for index in range(settings.samples)] for slot in range(len(tasks))]
            asked = [
                SampleRequest(state.policy.encode(task.messages), tuple(own))
                for task, own in zip(tasks, streams, strict=True)
            ]
            flat = [stream for own in streams for stream in own]
            found, written = {}, {}
            for side in (0, 1) if step % 2 else (1, 0):
                start = process_time()
                hand = state.control.begin(step, flat, request.limits.temperature) if side else None
                written[side] = state.policy.sample(asked, request.limits, made.seed, hand)
                found[side] = process_time() - start
            assert written[0] == written[1], "a rule that never stops must not change a token"
            tokens += sum(len(one.token_ids) for own in written[0] for one in own)
            rows.append((found[0], found[1]))
    finally:
        assembly.close()
    alone, watched = zip(*rows[1:], strict=True)
    ratios = [b / a for a, b in zip(alone, watched, strict=True)]
    return Watched(median(alone), median(watched), bootstrap_interval(ratios, median), tokens)


def run_stop_rule(order: Order) -> Path:
    """Measure, then stop_rule.json and stop_rule.md."""
    from critica.policies.numerics import configure

    settings = apply_sets(StopRuleSettings(), order.settings, {})
    configure(settings.threads)
    return write(order, settings, measured(settings))


def write(order: Order, settings: StopRuleSettings, found: Watched) -> Path:
    """The reading and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench stop_rule", "machine": machine, "settings": asdict(settings), "found": asdict(found),
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "stop_rule.json").write_text(json.dumps(content, indent=1) + "\n")
    page = order.out / "stop_rule.md"
    page.write_text(
        "# What the stop rule costs\n\n"
        f"Made by `critica bench stop_rule`: pico, {settings.prompts} prompts x {settings.samples} samples,"
        f" {settings.rounds} rounds, {settings.threads} threads; {machine['processor']}, commit {machine['commit']}."
        " Processor seconds of decoding with ESPO's rule watching every token and stopping none, over those without"
        f" it; median of the rounds, 95% bootstrap. Promised: at most {CEILING:.2f}.\n\n"
        "| without, ms | with, ms | ratio | verdict |\n|---|---|---|---|\n"
        f"| {1000 * found.alone:.0f} | {1000 * found.watched:.0f} |"
        f" {found.ratio.estimate:.3f} [{found.ratio.low:.3f}, {found.ratio.high:.3f}] |"
        f" {'pass' if found.kept else 'FAIL'} |\n"
    )
    return page


STOP_RULE = Bench(
    "stop_rule", "what the stop rule costs decoding", StopRuleSettings, run_stop_rule, quick=("rounds=6", "prompts=4")
)
