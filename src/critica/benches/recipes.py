"""The recipes bench: every recipe raises the exact return of a twenty-thousand-parameter policy on a digit game.

The return is worked out by walking every continuation (`evaluation/critic_exact.py`), so before and after carry no
sampling noise: what varies between seeds is the training alone.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

from critica.benches.base import Bench, Eta, Order, say
from critica.benches.machine import machine_facts
from critica.benches.small_policy import make_small_policy
from critica.critics.reference_tail import ReferenceTail
from critica.critics.sentence_reward import SentenceReward
from critica.critics.success import SuccessCritic
from critica.environments.digit_sum import DigitSum
from critica.environments.exact import GameEnvironment
from critica.functional.statistics import mean_interval
from critica.functional.steps import Steps
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, Recipe
from critica.recipes.catalogue import RECIPES
from critica.recipes.config import apply_sets
from critica.records.words import Group
from critica.rewards.noise import Flip
from critica.rollout.guidance import ValueGuidance
from critica.updaters.gradient import Adam

if TYPE_CHECKING:
    from critica.policies.language_model import LanguagePolicy
    from critica.training.parts import Parts

GAME = DigitSum(min_length=2, max_length=2, max_offset=1, base=3)
REACH = 3  # tokens of an answer, its end included
REMEMBERED = 2  # digits that the policy's states tell, as many as an answer has
PROMPTS = 2  # all that the training split of this family has


CONTROL = "grpo told coin flips"
MARGIN = 0.05  # of return; coin flips never raise it

Measure = Literal["policy", "guided"]
# Recipes whose policy is left as it is: what rises is the return of what is written under their decode control.
MEASURES: Mapping[str, Measure] = MappingProxyType({"q_sharp": "guided"})
# Recipes that fit a critic of steps first and then regress the policy toward what it says: that takes them longer.
SLOWER: Mapping[str, int] = MappingProxyType({"q_sharp": 3, "direct_advantage": 3, "align_distil": 3})
# Recipes that are a reward: it reads what this game's tasks do not hold. See `UNSHOWN` of tests/matrix/test_recipes.py.
OTHER_TASKS = frozenset(("rewarding_doubt", "mul_dim_if", "post_time", "distraction_if", "cme", "sg_srl", "gapd"))
GUIDED_ROUNDS = 20  # steps whose answers are counted for a guided return


@dataclass(frozen=True, slots=True)
class Trial:
    """How long a recipe is tried, and how quickly it learns; the same for all.

    A recipe that warms its critic up does so for at most `warmup_steps`, before the `steps` in which the policy learns.
    """

    steps: int = 30
    prompts: int = 8
    samples: int = 8
    policy_rate: float = 2e-3
    critic_rate: float = 2e-3
    warmup_steps: int = 15


@dataclass(frozen=True, slots=True)
class Rise:
    """The mean return over the prompts before and after, and what was measured."""

    recipe: str
    seed: int
    before: float
    after: float
    measure: Measure = "policy"

    @property
    def gain(self) -> float:
        """After minus before."""
        return self.after - self.before


def cut_down(recipe: Recipe, folder: Path, seed: int, trial: Trial) -> Recipe:
    """The recipe's own method on the small game: sizes, rates and lengths are changed, and nothing else."""
    frozen = MEASURES.get(recipe.name) == "guided"
    warmup = min(trial.warmup_steps, recipe.learner.critic_warmup_steps)
    steps = trial.steps * SLOWER.get(recipe.name, 1) + (0 if frozen else warmup)
    own = recipe.learner.policy
    updater = Adam(trial.policy_rate) if isinstance(own, Adam) else own
    learner = replace(
        recipe.learner, policy=updater, critic=Adam(trial.critic_rate, head_factor=2.0),
        critic_warmup_steps=recipe.learner.critic_warmup_steps if frozen else warmup,
    )  # fmt: skip
    if isinstance(recipe.control, ValueGuidance) and isinstance(recipe.target, ReferenceTail):  # as long as answers are
        control, target = replace(recipe.control, roll_in=REACH), replace(recipe.target, roll_in=REACH)
        recipe = replace(recipe, control=control, target=target)
    if isinstance(recipe.critic, SuccessCritic | SentenceReward):  # their steps are longer than these answers
        recipe = replace(recipe, critic=replace(recipe.critic, steps=Steps("tokens", 1)))
    sampling = replace(
        recipe.sampling, prompts_per_step=trial.prompts, samples_per_prompt=trial.samples, max_new_tokens=0
    )
    return replace(
        recipe, policy=LocalPolicy(str(folder)), environment=GAME, learner=learner, sampling=sampling, seed=seed,
        threads=1, steps=steps, checkpoint=Checkpoints(every=10**6, keep=1),
    )  # fmt: skip


def exact_return(policy: "LanguagePolicy", environment: GameEnvironment) -> float:
    """The mean over the training prompts of the exact value under the policy, sampled at temperature 1."""
    from critica.evaluation.critic_exact import Spelling, exact_laws, vocabulary_texts

    texts = vocabulary_texts(policy)
    tasks = {task.prompt: task for task in islice(environment.tasks("train"), 20 * PROMPTS)}
    total = 0.0
    for task in tasks.values():
        spelling = Spelling(policy, environment.game(task), texts, policy.end_ids)
        start = (policy.encode(task.messages), 0)
        total += exact_laws(policy, spelling, [start], environment.max_new_tokens, least=1e-3)[0].mean
    return total / len(tasks)


def written_return(groups: Sequence[Group], environment: GameEnvironment) -> float:
    """The mean return of these answers, each prompt counting alike."""
    found: dict[str, list[float]] = {}
    for group in groups:
        for answer in group.trajectories:
            score = environment.score(group.task, answer.turns[-1].message.content)
            found.setdefault(group.task.prompt, []).append(score)
    return sum(sum(scores) / len(scores) for scores in found.values()) / len(found)


def guided_return(parts: "Parts", recipe: Recipe, environment: GameEnvironment) -> float:
    """The mean return of answers that the recipe's trained critic guided from their first token to their last."""
    from critica.rollout.control import ControlContext
    from critica.rollout.gather import gather

    state, groups = parts.state, []
    assert isinstance(recipe.control, ValueGuidance)
    control = replace(recipe.control, roll_in=0).build(ControlContext(state.critic, recipe.seed, state.policy))
    for step in range(recipe.steps + 1, recipe.steps + 1 + GUIDED_ROUNDS):
        request = state.curriculum.next(step)
        gathered = gather(state.policy, state.curriculum, parts.supervision, recipe.admission, request, control)
        groups += gathered.groups
    return written_return(groups, environment)


def rise_of(recipe: Recipe, folder: Path, seed: int, trial: Trial) -> Rise:
    """Train the recipe on the small game and measure."""
    from critica.policies.numerics import training_matmuls
    from critica.records.run import Progress
    from critica.store.run_folder import RunFolder
    from critica.training.assemble import assemble
    from critica.training.interrupt import Interrupt
    from critica.training.loop import run_loop
    from critica.training.parts import equip
    from critica.training.progress import Silent
    from critica.training.run import manifest_of

    made = cut_down(recipe, folder, seed, trial)
    measure = MEASURES.get(recipe.name, "policy")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        assembly = assemble(made)
        stack.callback(assembly.close)
        created = RunFolder.create(place / "run", manifest_of(made, assembly.environment.name), "# a benchmark\n")
        store = cast(RunFolder, stack.enter_context(created))
        stack.enter_context(training_matmuls())
        environment = cast(GameEnvironment, assembly.environment)
        policy = cast("LanguagePolicy", assembly.state.policy)
        before, parts = exact_return(policy, environment), equip(made, assembly, store, Silent())
        run_loop(made, parts, Progress(), Interrupt())
        after = exact_return(policy, environment) if measure == "policy" else guided_return(parts, made, environment)
    return Rise(recipe.name, seed, before, after, measure)


def control_recipe() -> Recipe:
    """GRPO whose every reward is a coin flip: what the policy drifts by when there is nothing to learn."""
    return replace(RECIPES["grpo"], name=CONTROL, noise=Flip(0.5, 0.5))


def run_recipes(order: Order) -> Path:
    """Every recipe at every seed, and the control, then recipes.json and recipes.md."""
    from critica.policies.numerics import configure

    trial = apply_sets(Trial(), order.settings, {})
    configure(1)
    everyone = [*(recipe for recipe in RECIPES.values() if recipe.name not in OTHER_TASKS), control_recipe()]
    rises, eta = [], Eta(len(everyone) * order.seeds)
    with tempfile.TemporaryDirectory() as place:
        folder = make_small_policy(Path(place), GAME.build(0), remembered=REMEMBERED)
        for recipe in everyone:
            for seed in range(order.seeds):
                rises.append(rise_of(recipe, folder, seed, trial))
                say(f"  {recipe.name}-{seed}: {rises[-1].before:.3f} to {rises[-1].after:.3f}, {eta.after(1)}")
    return write(order, trial, rises)


def verdict(rises: Sequence[Rise]) -> str:
    """Whether a recipe rises beyond chance: the lower end of its gain's interval over seeds is above the margin."""
    low = mean_interval([rise.gain for rise in rises]).low
    if rises[0].recipe == CONTROL:
        return "control"
    return "pass" if low > MARGIN else "FAIL"


def write(order: Order, trial: Trial, rises: Sequence[Rise]) -> Path:
    """The raw numbers and the page."""
    machine = machine_facts(1)
    content = {
        "command": "critica bench recipes", "machine": machine, "settings": asdict(trial), "margin": MARGIN,
        "rises": [asdict(rise) for rise in rises],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "recipes.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = []
    for name in dict.fromkeys(rise.recipe for rise in rises):
        own = [rise for rise in rises if rise.recipe == name]
        before, after = (sum(getattr(rise, end) for rise in own) / len(own) for end in ("before", "after"))
        gain = mean_interval([rise.gain for rise in own])
        interval = f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        lines.append(f"| {name} | {own[0].measure} | {before:.3f} | {after:.3f} | {interval} | {verdict(own)} |")
    page = order.out / "recipes.md"
    page.write_text(
        "# Every recipe raises return\n\n"
        f"Made by `critica bench recipes`: {trial.steps} steps of {trial.prompts} prompts x {trial.samples} samples of"
        " a policy of 20,000 parameters on a game of two digits that must meet a sum;"
        f" {len(rises) // len(lines)} seeds, commit {machine['commit']}. `policy`: the exact return by enumeration;"
        " `guided`: the return of answers written under the trained decode control, sampled, the policy itself being"
        f" left alone. A gain passes if its 95% interval (Student, over seeds) lies above {MARGIN}; the control is told"
        " coin flips.\n\n"
        "| recipe | measured | before | after | gain | verdict |\n|---|---|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )
    return page


RECIPES_BENCH = Bench("recipes", "every recipe raises return on an exact game", Trial, run_recipes)
