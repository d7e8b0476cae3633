"""The quantile-count bench: what 64 quantiles in place of 1 add to a PPO step, at one and at five million weights.

Both critics see the same batch: predict, credit, targets and the whole update, policy and critic, timed side by side
in one process, the order changing every round. Ratios are of one round, so that a busy machine slows both sides.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

from critica.benches.base import Bench, Order, say
from critica.benches.machine import machine_facts
from critica.functional.statistics import Interval, bootstrap_interval
from critica.recipes.base import Recipe
from critica.recipes.config import apply_sets

CEILING = 1.10
SIZES = {"1M": (), "5M": (224, 8)}  # () is the policy that ships; else width and layers of a random one like it


@dataclass(frozen=True, slots=True)
class QuantileCountSettings:
    """`rounds` of each side at this many prompts and samples, after one round that is not counted."""

    rounds: int = 20
    prompts: int = 8
    samples: int = 8
    quantiles: int = 64
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Count:
    """Processor seconds of a step with one quantile and with many, and their ratio over the rounds."""

    size: str
    parameters: int
    one: float
    many: float
    ratio: Interval

    @property
    def kept(self) -> bool:
        """Whether many quantiles stay within the promise."""
        return self.ratio.estimate <= CEILING


def larger_policy(folder: Path, width: int, layers: int) -> Path:
    """Random weights in the shape of the shipped policy, wider and deeper, with its tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from critica.policies.locate import resolve

    source = resolve("pico")
    config = AutoConfig.from_pretrained(source)
    config.update({
        "hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 3 * width,
        "layer_types": ["full_attention"] * layers,
    })  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def recipe_of(policy: str, quantiles: int, settings: QuantileCountSettings) -> Recipe:
    """DVPO's critic without the terms that need a law, so that one quantile is possible too."""
    from critica.critics.quantile import NO_TAIL, QuantileCritic
    from critica.recipes.named import recipe

    made = recipe(
        "dvpo", f"policy.path={policy}", f"sampling.prompts_per_step={settings.prompts}", "sampling.max_new_tokens=24",
        f"sampling.samples_per_prompt={settings.samples}", "learner.policy.learning_rate=1e-6",
        "learner.critic.learning_rate=1e-6", f"threads={settings.threads}",
    )  # fmt: skip
    return replace(made, critic=QuantileCritic(quantiles=quantiles, tail=NO_TAIL))


class Side:
    """One critic's step on answers that were gathered once."""

    def __init__(self, recipe: Recipe) -> None:
        from critica.rollout.gather import gather
        from critica.rollout.place import place
        from critica.rollout.tokenize import tokenize
        from critica.training.assemble import assemble

        self.recipe, self.assembly = recipe, assemble(recipe)
        state = self.assembly.state
        self.request = state.curriculum.next(1)
        gathered = gather(
            state.policy, state.curriculum, self.assembly.supervision, recipe.admission, self.request, state.control
        )
        self.groups, self.batch = gathered.groups, tokenize(gathered.groups)
        evidence = state.observer.observe(self.groups, self.batch)
        self.told = place(gathered.rewards, self.batch, evidence, recipe.placement, self.assembly.source)

    def seconds(self, step: int) -> float:
        """Processor seconds of observe, predict, estimate and update."""
        from critica.training.lesson import Lesson

        state, batch, told = self.assembly.state, self.batch, self.told
        start = process_time()
        evidence = state.observer.observe(self.groups, batch)
        values = state.critic.predict(batch, told, evidence)
        credit = self.recipe.advantage.estimate(batch, told, values, evidence)
        targets = self.recipe.target.build(batch, told, values)
        self.assembly.learner.update(Lesson(batch, told, credit, targets, values, evidence), self.request.stage, step)
        return process_time() - start


def measured(size: str, policy: str, settings: QuantileCountSettings) -> Count:
    """Both sides, round by round."""
    sides = [Side(recipe_of(policy, quantiles, settings)) for quantiles in (1, settings.quantiles)]
    rows: list[tuple[float, float]] = []
    for step in range(1, settings.rounds + 2):
        order = (0, 1) if step % 2 else (1, 0)
        found = {number: sides[number].seconds(step) for number in order}
        rows.append((found[0], found[1]))
    for side in sides:
        side.assembly.close()
    one, many = zip(*rows[1:], strict=True)
    ratios = [b / a for a, b in zip(one, many, strict=True)]
    policy_weights = sum(weight.numel() for _, weight in sides[0].assembly.state.policy.trainable())
    return Count(size, policy_weights, median(one), median(many), bootstrap_interval(ratios, median))


def run_quantile_count(order: Order) -> Path:
    """Both sizes, then quantile_count.json and quantile_count.md."""
    from critica.policies.numerics import configure, training_matmuls

    settings = apply_sets(QuantileCountSettings(), order.settings, {})
    configure(settings.threads)
    counts = []
    with TemporaryDirectory() as place, training_matmuls():
        for size, shape in SIZES.items():
            policy = str(larger_policy(Path(place) / size, *shape)) if shape else "pico"
            counts.append(measured(size, policy, settings))
            say(f"  {size}: {counts[-1].ratio.estimate:.3f}")
    return write(order, settings, counts)


def write(order: Order, settings: QuantileCountSettings, counts: Sequence[Count]) -> Path:
    """The readings and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench quantile_count", "machine": machine, "settings": asdict(settings),
        "counts": [asdict(count) for count in counts],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "quantile_count.json").write_text(json.dumps(content, indent=1) + "\n")
    rows = [
        f"| {count.size} | {count.parameters:,} | {1000 * count.one:.0f} | {1000 * count.many:.0f} |"
        f" {count.ratio.estimate:.3f} [{count.ratio.low:.3f}, {count.ratio.high:.3f}] |"
        f" {'pass' if count.kept else 'FAIL'} |"
        for count in counts
    ]
    page = order.out / "quantile_count.md"
    page.write_text(
        "# What more quantiles cost\n\n"
        f"Made by `critica bench quantile_count`: {settings.prompts} prompts x {settings.samples} samples,"
        f" {settings.rounds} rounds, {settings.threads} threads; {machine['processor']}, commit {machine['commit']}."
        " Processor seconds of a PPO step after sampling (observe, predict, estimate, update) with three heads of one"
        f" quantile and of {settings.quantiles}, and target=lambda_mixture with as many samples; sampling would only"
        f" dilute the ratio. Median ratio of the rounds, 95% bootstrap. Promised: at most {CEILING:.2f}.\n\n"
        "| policy | parameters | 1 quantile, ms | many, ms | ratio | verdict |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows) + "\n"
    )  # fmt: skip
    return page


QUANTILE_COUNT = Bench("quantile_count", "what more quantiles cost a step", QuantileCountSettings, run_quantile_count)
