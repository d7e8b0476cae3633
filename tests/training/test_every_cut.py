"""No recipe's gradient feels how a step is cut: into micro-batches, by order, by padding, or over two ranks; fp64."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from types import MethodType
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from critica.benches.recipes import OTHER_TASKS
from critica.critics.base import Trainable
from critica.critics.gaussian import GaussianCritic
from critica.environments.arithmetic import Arithmetic
from critica.recipes.catalogue import RECIPES
from critica.records.evidence import Evidence
from critica.rewards.noise_specs import parse_noise
from critica.rewards.verifiers import EnvironmentScorer
from critica.training import run
from critica.training.learner import Learner
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer

EXEMPT = {
    "es_awd": "moves weights by told outcomes: there is no gradient to cut",
    "power_sampling": "nothing is learned",
}
FROZEN_LATER = ("direct_advantage", "align_distil")  # their critic learns in the warm-up, their policy after it
FIRST_OF_EQUALS = ("peo",)  # the first of a prompt's best answers against the first of its worst: order has a meaning


class Captured(BaseException):
    """Ends a run at its first update."""


def first_lesson(recipe, monkeypatch: pytest.MonkeyPatch, place) -> tuple[Learner, Lesson]:
    """The learner of a run and what it is given first."""
    found: list[tuple[Learner, Lesson]] = []

    def capture(self, lesson, stage, step):
        found.append((self, lesson))
        raise Captured

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "update", capture)
        with pytest.raises(Captured):
            run.train(recipe, place)
    return found[0]


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same records with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Evidence):
        return Evidence(*(mapped(item, change) for item in value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: mapped(getattr(value, f.name), change) for f in fields(value) if f.init})
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(mapped(item, change) for item in value)
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return value


def doubled(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def modules_of(thing: object, seen: set[int]) -> list[nn.Module]:
    """Every network that an object holds, however deep among Critica's own objects."""
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        return [thing]
    inside = list(thing.values()) if isinstance(thing, dict) else list(thing) if isinstance(thing, list | tuple) else []
    if isinstance(thing, MethodType):
        inside.append(thing.__self__)
    if type(thing).__module__.startswith(("critica", "tests")):
        inside += list(getattr(thing, "__dict__", {}).values())
        inside += [getattr(thing, name) for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())
                   if hasattr(thing, name)]  # fmt: skip
    return [module for item in inside for module in modules_of(item, seen)]


class Gradients(Optimizer):
    """Stands in for an optimizer: keeps what would have been applied."""

    def __init__(self, weights: list[tuple[str, nn.Parameter]]) -> None:
        self.weights, self.kept = weights, {}

    @property
    def rate(self) -> float:
        return 1.0

    def clip(self) -> float:
        self.kept = {name: w.grad.detach().clone() for name, w in self.weights if w.grad is not None}
        self.forget_gradients()
        return 1.0

    def apply(self) -> None:
        return None

    def forget_gradients(self) -> None:
        for _, weight in self.weights:
            weight.grad = None


def gradients(learner: Learner, lesson: Lesson, tokens: int, rows: Tensor | None = None) -> dict[str, Tensor]:
    """Of the policy and of the critic, with micro-batches of so many tokens, from these rows in this order."""
    learner.schedule = replace(learner.schedule, tokens_per_microbatch=tokens)
    order = torch.arange(lesson.batch.rows) if rows is None else rows
    trainable = learner.critic if isinstance(learner.critic, Trainable) and lesson.targets is not None else None
    policy, critic = cast(Gradients, learner.policy_optimizer), cast(Gradients | None, learner.critic_optimizer)
    joint = trainable is not None and not trainable.has_body
    learner._policy_step(lesson, order, trainable if joint else None, learns=True)
    if trainable is not None and not joint:
        learner._critic_step(lesson, order, trainable)
    return {**policy.kept, **{f"critic.{name}": g for name, g in (critic.kept if critic else {}).items()}}


def padded(lesson: Lesson, columns: int) -> Lesson:
    """The same with so many more columns that nobody sampled."""
    rows, width = lesson.batch.token_ids.shape

    def wider(tensor: Tensor) -> Tensor:
        if tensor.ndim < 2 or tensor.shape[:2] != (rows, width):
            return tensor
        return torch.cat([tensor, tensor.new_zeros(rows, columns, *tensor.shape[2:])], 1)

    return mapped(lesson, wider)


def same(found: dict[str, Tensor], wanted: dict[str, Tensor], what: str) -> None:
    assert found.keys() == wanted.keys()
    scale = max(float(g.abs().max()) for g in wanted.values())
    for name, gradient in wanted.items():
        gap = float((found[name] - gradient).abs().max())
        assert gap <= 1e-9 * scale, f"{what}: {name} differs by {gap:.2g} where gradients reach {scale:.2g}"


def changes_of(name: str) -> dict[str, Any]:
    """What the tiny policy's game must be for this recipe."""
    graded = RECIPES[name].wing == "supervision" and name != "answer_posterior"
    here: dict[str, Any] = {"noise": parse_noise("normal:0.5:sample")} if graded else {}
    if name in ("mmpo", "ladder"):
        here["environment"] = RECIPES[name].environment
    if name in OTHER_TASKS:
        here["reward"] = EnvironmentScorer()
    if name == "gapd":
        here["environment"] = Arithmetic()
    return here


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in EXEMPT])
def test_no_cut_changes_a_gradient(name, small, monkeypatch, tmp_path) -> None:
    recipe = small(name, steps=2, **changes_of(name))
    if name not in FROZEN_LATER:
        recipe = replace(recipe, learner=replace(recipe.learner, critic_warmup_steps=0))
    if isinstance(recipe.critic, GaussianCritic):
        recipe = replace(recipe, critic=replace(recipe.critic, dropout=0.0))  # each pass would draw its own
    learner, lesson = first_lesson(recipe, monkeypatch, tmp_path / "run")
    learner.kept.forget()
    for module in modules_of((learner, list(lesson.evidence)), set()):
        module.double()
    lesson = mapped(lesson, doubled)
    learner.policy_optimizer = Gradients(list(learner.policy.trainable()))
    if learner.critic_optimizer is not None:
        learner.critic_optimizer = Gradients(list(cast(Trainable, learner.critic).trainable()))
    whole = gradients(learner, lesson, 100_000)
    assert max(float(g.abs().max()) for g in whole.values()) > 1e-9, "nothing is learned here"
    same(gradients(learner, lesson, 1), whole, "a row at a time")
    same(gradients(learner, lesson, 60), whole, "some rows at a time")
    turned = torch.arange(lesson.batch.rows).flip(0)
    if name in FIRST_OF_EQUALS:
        groups = lesson.batch.group_index
        turned = torch.cat([(groups == group).nonzero().squeeze(-1) for group in groups.unique().flip(0)])
    same(gradients(learner, lesson, 60, turned), whole, "from the last row to the first")
    same(gradients(learner, padded(lesson, 7), 100_000), whole, "with empty columns")
