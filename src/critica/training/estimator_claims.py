"""What each group estimator is said to weigh prompts by, in closed form, and which estimators there are to compare."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb, sqrt
from types import MappingProxyType

from critica.advantages.best_only import BestOnly
from critica.advantages.count_weighted import CountWeighted, PassAt, PowerWeights, WeightCurve
from critica.advantages.outcome import Outcome
from critica.advantages.sign_weighted import SignWeighted
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.critics.greedy_answer import GreedyAnswer
from critica.critics.length_weighted import LengthWeighted
from critica.functional.success_counts import power_weights, prompt_weight, raised
from critica.recipes.base import Recipe


@dataclass(frozen=True, slots=True)
class Claim:
    """W(p) for groups of n, as a formula to read and as a function (p, n)."""

    text: str
    weight: Callable[[float, int], float]


def claim_of(recipe: Recipe) -> Claim | None:
    """The closed form of a recipe's weight for answers of one token; None where its outcomes of other prompts have a
    say, or no closed form is known to us."""
    rule, critic = recipe.advantage, recipe.critic
    if isinstance(rule, CountWeighted) and isinstance(critic, NoBaseline):
        return _by_count(rule)
    if isinstance(rule, BestOnly):
        return Claim("(1 - p)^(n-1)", lambda p, n: (1 - p) ** (n - 1))
    blame, inner = (rule.alpha, rule.inner) if isinstance(rule, SignWeighted) else (1.0, rule)
    if not isinstance(inner, Outcome) or recipe.placement.combination != type(recipe.placement)().combination:
        return None
    own = isinstance(critic, GroupMean | LengthWeighted)
    if inner.scale == "group" and isinstance(critic, GroupMean):
        text = "(1/n) sum_k Bin(k; n, p) (k (1 - m) / p + a (n - k) m / (1 - p)) / s, m = k/n, s their deviation"
        return Claim(text.replace("a (n", f"{blame:g} (n" if blame != 1 else "(n"), _standardized(inner.epsilon, blame))
    if inner.scale == "mean" and isinstance(critic, GroupMean) and not inner.epsilon:
        return Claim("(1 - (1 - p)^(n-1)) / p", lambda p, n: (1 - (1 - p) ** (n - 1)) / p)
    if inner.scale != "none" or blame != 1:
        return None
    if own:
        return Claim("1 - 1/n", lambda p, n: 1 - 1 / n)
    return Claim("1", lambda p, n: 1.0) if isinstance(critic, NoBaseline | LeaveOneOut | GreedyAnswer) else None


def _standardized(epsilon: float, blame: float) -> Callable[[float, int], float]:
    def weight(p: float, n: int) -> float:
        total = 0.0
        for k in range(1, n):
            mean = k / n
            spread = sqrt(n / (n - 1) * mean * (1 - mean)) + epsilon
            chance = comb(n, k) * p**k * (1 - p) ** (n - k)
            total += chance * (k * (1 - mean) / p + blame * (n - k) * mean / (1 - p)) / spread
        return total / n

    return weight


def _by_count(rule: CountWeighted) -> Claim | None:
    weights = rule.weights
    if rule.baseline == "siblings":
        return None
    if isinstance(weights, PassAt):
        k = weights.tries
        return Claim(f"{k} (1 - p)^{k - 1}", lambda p, n: k * (1 - p) ** (k - 1))
    if isinstance(weights, PowerWeights) and weights.power == 1:
        return Claim("(1 - (1 - p)^n) / p", lambda p, n: (1 - (1 - p) ** n) / p)
    if isinstance(weights, PowerWeights):
        text = f"sum_j Bin(j; n-1, p) (n / (j + 1))^{weights.power:g}"
        return Claim(text, lambda p, n: prompt_weight([0.0, *power_weights(n, weights.power)], [0.0] * (n + 1), p))
    if isinstance(weights, WeightCurve):
        degree = len(weights.coefficients) - 1
        text = f"sum_j c_j Bin(j; {degree}, p), c = {', '.join(f'{c:g}' for c in weights.coefficients)}"
        return Claim(
            text, lambda p, n: prompt_weight([0.0, *raised(weights.coefficients, n - 1)], [0.0] * (n + 1), p)
        )  # fmt: skip
    return None


# Estimators that no recipe of the catalogue takes as it stands: a recipe and the changes to it.
VARIANTS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "max_rl as released": ("max_rl", ("critic=group_mean", 'advantage={use="outcome", scale="mean", epsilon=0.0}')),
        "max_rl against the others": ("max_rl", ("advantage.baseline=others",)),
        "max_rl without baseline": ("max_rl", ("advantage.baseline=none",)),
        "pkpo against the others": ("pkpo", ("advantage.baseline=others",)),
        "pkpo as released": ("pkpo", ("advantage.baseline=siblings",)),
        "best_only": ("pkpo", ("advantage=best_only",)),
        "rl2ml, power 0": ("rl2ml", ("advantage.weights.power=0",)),
        "rl2ml, power 2": ("rl2ml", ("advantage.weights.power=2",)),
        "W(p) = p": ("rl2ml", ('advantage.weights={use="curve", coefficients=[0.0, 1.0]}',)),
        "hpo, alpha 0": ("hpo", ("advantage.alpha=0",)),
    }
)
