"""Who is measured: critics by specs such as `quantile:heads=1,target=monte_carlo`, and how each is set up."""

import ast
import hashlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from critica.critics.base import CriticPart
from critica.critics.counted import GroupMean
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaMixture, MonteCarlo, TargetRule
from critica.recipes.catalogue import PARTS
from critica.recipes.coercion import ConfigError
from critica.recipes.config import apply_sets
from critica.updaters.gradient import CRITIC_FACTOR, Adam, rate_by_size

OWN = ("target", "optimizer", "past")  # keys of a spec that are no field of the critic
GROUP_MEAN = "group_mean"
BETWEEN = re.compile(r",(?![^\[]*\])")  # commas outside of lists

# Critics as they are configured by default, and variants for answers as short as these fields'. Those made of other
# critics stand on the policy's own states, which spares them bodies of their own.
ENTRIES = (
    GROUP_MEAN,
    "leave_one_out",
    "beta_posterior",
    "prompt_value",
    "fused_value",
    "prefix_tree",
    "prefix_tree:shrinkage=8",
    "prefix_tree:shrinkage=8,leave_one_out=true",
    "number_sets",
    "number_sets:leave_one_out=true",
    "monte_carlo_rollouts:gap_tokens=2,nodes=6",
    "simulator",
    "hidden_neighbors",
    "hidden_neighbors:interval_tokens=2,window_tokens=1,most=12,fewest=6",
    "hidden_neighbors:interval_tokens=2,window_tokens=1,most=12,fewest=6,leave_one_out=true",
    "scalar",
    "scalar:body=shared,hidden=64",
    "quantile",
    "categorical",
    "gaussian",
    "bounded",
    "success:steps.unit=tokens,steps.tokens=1",
    "chunk:steps.unit=tokens,steps.tokens=4,backup=expectile,backup_level=0.5,target=chunk_backup",
    "outcome_classes:rewards=[0.0,1.0],target=monte_carlo",
    "token_values",
    "privileged",
    "surprise",
    "surprise:states=true",
    "ensemble:critic.body=shared,critic.hidden=64",
    "lagged:critic.body=shared,critic.hidden=64",
    "blend:second.body=shared,second.hidden=64",
)


# Why a critic of the catalogue is not among them.
NOT_ASKED: Mapping[str, str] = MappingProxyType(
    {
        "none": "says 0 everywhere: the ratio of a value that does not move inside prompts is 1",
        "sentence_reward": "its values are in log-odds and only their differences mean anything",
        "preference_models": "its values are log-ratios of two language models that pairs must teach first",
        "stated_value": "needs a language model that can judge; pico cannot",
        "taught_ends": "says what the critic inside says",
    }
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A critic with what teaches it. `past`: answers of earlier rounds, 0 for as many as everybody gets."""

    critic: CriticPart = field(default_factory=GroupMean)
    target: TargetRule = field(default_factory=MonteCarlo)
    optimizer: Adam = field(default_factory=lambda: Adam(head_factor=10.0))
    past: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A spec, the part's name in the catalogue, and what came of it."""

    spec: str
    name: str
    choice: Choice

    @property
    def code(self) -> str:
        """A digest of the file that defines the critic: results of other code are not taken for its own."""
        file = inspect.getsourcefile(type(self.choice.critic))
        return code_digest(Path(file).read_text()) if file else ""

    @property
    def stem(self) -> str:
        """A file name."""
        return f"{self.root}-{self.code}"

    @property
    def root(self) -> str:
        """What the file names of all versions of its code begin with."""
        return f"{self.name}-{hashlib.blake2b(self.spec.encode(), digest_size=5).hexdigest()}"


def code_digest(source: str) -> str:
    """A digest of what the source does: comments, layout and docstrings are left out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=6).hexdigest()


class Absent(ValueError):
    """The catalogue has no such critic."""


def read_entry(spec: str, parameters: int, critics: Mapping[str, type] = PARTS["critic"]) -> Entry:
    """`NAME` or `NAME:field=value,field=value`; `target`, `optimizer` and `past` are what teaches it.

    A critic that predicts a law learns from a mixture of laws, any other from Monte-Carlo returns, at the rate that
    `critica train` gives a critic beside a policy of `parameters`. Raises `Absent` and `ConfigError`.
    """
    name, _, rest = spec.partition(":")
    if name not in critics:
        raise Absent(f"the catalogue has no critic {name!r}")
    part = critics[name]
    if not issubclass(part, CriticPart):
        raise ConfigError(f"{name!r} is no critic")
    target = LambdaMixture() if part.distributional is True else MonteCarlo()
    rate = float(f"{CRITIC_FACTOR * rate_by_size(parameters):.1e}")
    start = Choice(ScalarCritic(), target, Adam(rate, head_factor=10.0))
    sets = [f"critic={name}", *(_path(item) for item in BETWEEN.split(rest) if item)]
    choice = apply_sets(start, sets, PARTS)
    choice.target.check(choice.critic)
    return Entry(spec, name, choice)


def _path(item: str) -> str:
    key = item.partition("=")[0].split(".")[0]
    return item if key in OWN else f"critic.{item}"


def read_entries(specs: tuple[str, ...], parameters: int) -> tuple[list[Entry], list[str]]:
    """Those that the catalogue has, the group mean first, and what is said about the others."""
    found, missing = [], []
    for spec in dict.fromkeys((GROUP_MEAN, *specs)):
        try:
            found.append(read_entry(spec, parameters))
        except Absent as error:
            missing.append(str(error))
    asked = {entry.name for entry in found} | {spec.partition(":")[0] for spec in ENTRIES}
    missing += [f"`{name}`: {NOT_ASKED.get(name, 'no entry')}" for name in PARTS["critic"] if name not in asked]
    return found, missing


def with_past(entry: Entry, past: int) -> Entry:
    """The same critic taught by so many answers."""
    joint = "," if ":" in entry.spec else ":"
    return replace(entry, spec=f"{entry.spec}{joint}past={past}", choice=replace(entry.choice, past=past))
