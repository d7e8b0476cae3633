"""`critica demo`: train the shipped policy with DVPO while rewards lie, and show before and after."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from critica.cli.choice import Choice, free_folder, resolve
from critica.cli.numbers import Natural
from critica.cli.output import quiet_libraries, say, show
from critica.cli.results import STOPPED, before_and_after, describe_result

if TYPE_CHECKING:
    from critica.training.run import TrainResult

# Many prompts with few samples each: a critic needs no siblings, and flips strike whole groups.
SETTINGS = (
    "steps=100",
    "sampling.prompts_per_step=64",
    "sampling.samples_per_prompt=4",
    "learner.policy.learning_rate=2e-4",
    "learner.critic_warmup_steps=5",
    "held_out.prompts=1500",
)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train the shipped policy with DVPO while the rewards of 20% of the prompt groups are flipped.

    Prints held-out accuracy before and after, at temperature 1 and greedy, and writes report.html.

    Examples:
      critica demo
      critica demo --noise flip:0.5:group      # the control: such rewards say nothing, so nothing is learned
    """

    # Reward noise on the training split.
    noise: Annotated[str, arg(metavar="SPEC")] = "flip:0.2:group"

    # Of every random draw.
    seed: Natural = 0

    # The run folder to make; by default a new one under runs/.
    run: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""

    # Change one value, e.g. steps=20.
    set: Annotated[tuple[str, ...], arg(metavar="PATH=VALUE")] = ()

    @property
    def folder(self) -> Path | None:
        """The run folder, when it was named."""
        return Path(self.run) if self.run else None

    def __call__(self) -> int:
        """Train with evaluation at both ends, write the report, print the table."""
        settings = (*SETTINGS, *self.set)
        recipe = resolve(Choice(recipe="dvpo", policy="pico", noise=self.noise, seed=self.seed, set=settings))
        from critica.training.progress import Lines
        from critica.training.run import train
        from critica.viewer.report import write_report

        say(f"training pico with DVPO, reward noise {self.noise}: Ctrl-C stops after a step, with a checkpoint")
        quiet_libraries()
        start = time.monotonic()
        result = train(recipe, self.folder or free_folder("demo", recipe.seed), reporter=Lines, notify=say)
        report = write_report(result.run)
        if result.before and result.after:
            show(before_and_after(result))
        else:
            say(describe_result(result))
        show(critic_and_speed(result))
        show(f"report    {report}")
        say(f"{time.monotonic() - start:.0f} s in all")
        return 0 if result.finished else STOPPED


def critic_and_speed(result: "TrainResult") -> str:
    """What the critic knew in the last tenth of the run, against the clean reward, and how fast the run went."""
    from critica.store.run_folder import RunFolder

    folder = RunFolder.open(result.run)
    lines = list(folder.metrics())
    tail = lines[-max(1, len(lines) // 10) :]
    seconds = sum(sum(line.values.values()) for line in folder.timing())

    def mean(name: str) -> float:
        return sum(line.get(name) for line in tail) / len(tail)

    speed = result.progress.sampled_tokens / seconds if seconds else float("nan")
    return (
        f"critic    explained variance {mean('critic/explained_variance'):.2f} of what was told,"
        f" {mean('critic/explained_variance_clean'):.2f} of the clean reward;"
        f" calibration error {mean('critic/ece_clean'):.3f} (last {len(tail)} steps)\n"
        f"speed     {speed:,.0f} tokens/s sampled and learned from ({result.progress.sampled_tokens:,} tokens)"
    )
