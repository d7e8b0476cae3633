"""From a path to a live critic beside its policy: a run folder's checkpoint, or a folder that `critic fit` wrote."""

import json
from dataclasses import dataclass
from pathlib import Path

from critica.critics.base import CriticContext, CriticPart, Trainable, ValueCritic
from critica.critics.learned import LearnedCritic
from critica.environments.base import Environment
from critica.environments.catalogue import parse_environment
from critica.functional.random import stream_key
from critica.policies.language_model import LanguagePolicy
from critica.recipes.base import Recipe
from critica.records.protocols import Stateful
from critica.rewards.base import RewardSource, scales_of
from critica.store.run_folder import RunFolder
from critica.training.critic_folder import CriticFolder, is_critic_folder
from critica.training.saved_recipe import recipe_of

HELD_OUT_SEED = 0  # the held-out prompts do not depend on the run's seed


class NoCriticHere(ValueError):
    """The path holds nothing that has a critic."""


@dataclass(frozen=True, slots=True)
class CriticTarget:
    """A critic with its weights, the policy whose answers it is asked about, and what both were trained by."""

    critic: ValueCritic
    part: CriticPart
    policy: LanguagePolicy
    recipe: Recipe
    environment: Environment
    source: RewardSource
    critic_step: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a critic's weights and memory are, and the policy that was trained with it."""

    recipe: Recipe
    weights: Path
    memory: Path
    policy: str
    step: int
    policy_version: int


def open_target(target: str | Path, policy: str = "", environment: str = "", step: int | None = None) -> CriticTarget:
    """The critic of a run (newest good checkpoint, or `step`) or of a fitted folder.

    `policy` and `environment` replace the run's own. The reward source is the environment's scorer in workers, unless
    the run's own tasks are asked: then it is the run's. Close it when done. Raises `NoCriticHere`.
    """
    kept = _find(Path(target), step)
    recipe = kept.recipe
    if policy:
        chosen = _open_policy(policy, recipe)
    else:
        chosen = LanguagePolicy.load(kept.policy, recipe.policy.lora, "cpu", system=recipe.policy.system)
        chosen.version = kept.policy_version
    config = parse_environment(environment) if environment else recipe.environment
    where = config.build(HELD_OUT_SEED)
    where.fit(chosen.encode)
    source = recipe.reward.build(where, recipe.workers)
    try:
        low, high = recipe.told_range(scales_of(source))  # as when trained: a head may be made for this range
        context = CriticContext(chosen, stream_key(recipe.seed, "critic") % 2**63, low, high)
        critic = recipe.critic.build(context)
        _restore(critic, kept)
    except BaseException:
        source.close()
        raise
    return CriticTarget(critic, recipe.critic, chosen, recipe, where, source, kept.step)


def _find(path: Path, step: int | None) -> Kept:
    if (path / "run.json").is_file():
        store = RunFolder.open(path)
        found = store.checkpoints.verify(step) if step is not None else store.checkpoints.latest(allow_fallback=True)
        progress = json.loads((found.path / "progress.json").read_text())["progress"]
        return Kept(
            recipe_of(store), found.path / "critic", found.path / "progress.json", str(found.path / "policy"),
            found.step, int(progress["policy_version"]),
        )  # fmt: skip
    if is_critic_folder(path):
        folder = CriticFolder.open(path)
        return Kept(folder.recipe, folder.weights, folder.memory, folder.manifest.policy, 0, 0)
    raise NoCriticHere(
        f"{path} holds no critic: name a run folder (it has a run.json) or a folder that `critica critic fit` wrote"
        " (it has a critic.json)"
    )


def _open_policy(name: str, recipe: Recipe) -> LanguagePolicy:
    """A run folder's newest policy with its version, a model folder, or a name."""
    path = Path(name)
    if not (path / "run.json").is_file():
        return LanguagePolicy.load(name, None, "cpu")
    store = RunFolder.open(path)
    found, made = store.checkpoints.latest(allow_fallback=True), recipe_of(store).policy
    policy = LanguagePolicy.load(str(found.path / "policy"), made.lora, "cpu", system=made.system)
    policy.version = found.step
    return policy


def _restore(critic: ValueCritic, kept: Kept) -> None:
    """Weights if it has some, memory if it has some."""
    if isinstance(critic, Trainable):
        critic.load(kept.weights)
    if isinstance(critic, Stateful) and kept.memory.is_file():
        memory = json.loads(kept.memory.read_text()).get("critic")
        if memory is not None:
            critic.load_state_dict(memory)
    if isinstance(critic, LearnedCritic):
        critic.tokens = kept.recipe.learner.tokens_per_microbatch
