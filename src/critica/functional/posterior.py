"""What the verdicts about siblings say about each of them, when verdicts err at known rates: Bayes' rule, exactly.

The model of one prompt's G verdicts (low 0, high 1):

    theta ~ Beta(a, b)                       how often the policy is right on this prompt
    z_i | theta ~ Bernoulli(theta)           who is right
    u_i | z_i: 1 with probability rho0 if z_i = 0, 0 with probability rho1 if z_i = 1
    f ~ Bernoulli(swapped);  told_i = u_i, or 1 - u_i for the whole group if f = 1

All sums are finite: over f, the number s of right siblings, and how many j of those were told so.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.minimize import damped_newton

EDGE = 1e-6  # no rate and no pseudo-count leaves (EDGE, 1 - EDGE) or reaches 0


@dataclass(frozen=True, slots=True)
class Channel:
    """How verdicts err: false positives, false negatives, and the chance that a whole group is exchanged."""

    rho0: float = 0.0
    rho1: float = 0.0
    swapped: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rho0", "rho1", "swapped"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it is a probability, between 0 and 1")

    @property
    def signal(self) -> float:
        """J = (1 - rho0 - rho1) (1 - 2 swapped): the told means of right and wrong answers lie this far apart."""
        return (1 - self.rho0 - self.rho1) * (1 - 2 * self.swapped)


def binomial_table(size: int, chance: Tensor) -> Float[Tensor, "m k"]:
    """log P(k of m) for m, k in 0..size at one chance; -inf above the diagonal."""
    m, k = torch.meshgrid(*(torch.arange(size + 1, dtype=torch.float64),) * 2, indexing="ij")
    chance = chance.clamp(EDGE, 1 - EDGE)
    ways = torch.lgamma(m + 1) - torch.lgamma(k + 1) - torch.lgamma((m - k).clamp(min=0) + 1)
    log = ways + k * chance.log() + (m - k) * (1 - chance).log()
    return torch.where(k <= m, log, -torch.inf)


def beta_binomial(size: int, a: Tensor, b: Tensor) -> Float[Tensor, "s"]:
    """log P(s of `size`) when the chance is Beta(a, b)."""
    s = torch.arange(size + 1, dtype=torch.float64)
    ways = math.lgamma(size + 1.0) - torch.lgamma(s + 1) - torch.lgamma(size - s + 1)
    return ways + _log_beta(s + a, size - s + b) - _log_beta(a, b)


def joint_law(
    size: int, prior: tuple[Tensor, Tensor], rates: tuple[Tensor, Tensor, Tensor]
) -> Float[Tensor, "f k s j"]:
    """log P(f, k, s, j): exchanged or not, k told high before that, s right, j of these told high.

    With f = 1 the group is seen with size - k told high. `rates` are rho0, rho1 and swapped; differentiable.
    """
    rho0, rho1, swapped = (rate.clamp(EDGE, 1 - EDGE) for rate in rates)
    right = beta_binomial(size, *prior)
    kept = binomial_table(size, 1 - rho1)  # [s, j]
    risen = binomial_table(size, rho0)  # [size - s, k - j]
    k, s, j = torch.meshgrid(*(torch.arange(size + 1),) * 3, indexing="ij")
    possible = (j <= s) & (k >= j) & (k - j <= size - s)
    log = right[s] + kept[s, j] + risen[size - s, (k - j).clamp(min=0)]
    log = torch.where(possible, log, -torch.inf)
    return torch.stack(((1 - swapped).log() + log, swapped.log() + log))


def count_law(joint: Float[Tensor, "f k s j"]) -> Float[Tensor, "k"]:
    """log P(k told high), as seen."""
    plain, turned = joint[0].flatten(1).logsumexp(-1), joint[1].flatten(1).logsumexp(-1).flip(0)
    return torch.logaddexp(plain, turned)


def expected_truth(
    size: int, a: float, b: float, channel: Channel
) -> tuple[Float[Tensor, "k"], Float[Tensor, "k"], Float[Tensor, "k"]]:
    """(P(right | told high, k), P(right | told low, k), P(exchanged | k)) for k = 0..size of the siblings told high.

    The entries that cannot occur (told high with k = 0, told low with k = size) are 0. Rates of 0 and 1 count as
    `EDGE` and 1 - `EDGE`, so that no pattern is impossible.
    """
    return _expected_truth(size, a, b, channel)


@lru_cache(maxsize=512)
def _expected_truth(size: int, a: float, b: float, channel: Channel) -> tuple[Tensor, Tensor, Tensor]:
    rates = tuple(torch.tensor(rate, dtype=torch.float64) for rate in (channel.rho0, channel.rho1, channel.swapped))
    prior = (torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    joint = joint_law(size, prior, (rates[0], rates[1], rates[2]))
    j = torch.arange(size + 1, dtype=torch.float64)
    s = j[:, None]
    rows = []
    for f in (0, 1):
        law = joint[f].exp()
        mass = law.sum((1, 2))
        told_high = (law * j).sum((1, 2))  # right ones that the channel told high
        told_low = (law * (s - j)).sum((1, 2))
        rows.append((mass, told_high, told_low) if f == 0 else (mass.flip(0), told_low.flip(0), told_high.flip(0)))
    mass = rows[0][0] + rows[1][0]
    k = torch.arange(size + 1, dtype=torch.float64)
    high = (rows[0][1] + rows[1][1]) / (mass * k).clamp(min=1e-300)
    low = (rows[0][2] + rows[1][2]) / (mass * (size - k)).clamp(min=1e-300)
    return high, low, rows[1][0] / mass


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted channel and, for each kind of prompt, the Beta law of how often the policy is right."""

    channel: Channel
    priors: tuple[tuple[float, float], ...]
    mean_log_likelihood: float


def fit_channel(
    counts: tuple[tuple[int, Float[Tensor, "_"]], ...],
    start: Fit,
    free: tuple[str, ...],
    strength: float = 2.0,
    rounds: int = 40,
) -> Fit:
    """The rates named in `free` and all priors that make these counts likeliest (maximum a posteriori).

    counts are pairs (kind of prompt, how often, possibly faded, k = 0..size of a group's siblings were told high).
    The kinds share the channel and have priors of their own, which is what tells a wrong verdict from a hard prompt.
    Penalties keep what the data leave open where it started: `strength` imagined groups at the start's rates for each
    free rate, and a normal law in log a and log b around 0 with standard deviation 2 / sqrt(strength). Rates stay
    below one half: the mirror image (every verdict exchanged, every prompt mirrored) explains the counts equally
    well. Damped Newton steps in fp64 from `start`; deterministic; the loss never rises. `mean_log_likelihood` is a
    group's, penalties included.
    """
    names = [name for name in ("rho0", "rho1", "swapped") if name in free]
    if len(names) != len(free):
        raise ValueError(f"free names {free}, of which rho0, rho1 and swapped can be fitted")
    begin = [_inverse_half(getattr(start.channel, name)) for name in names]
    begin += [float(torch.tensor(value).log()) for prior in start.priors for value in prior]
    point = torch.tensor(begin, dtype=torch.float64)
    total = sum(float(count.sum()) for _, count in counts)
    anchors = {name: getattr(start.channel, name) for name in names}

    def parts(theta: Tensor) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        rates = {n: torch.tensor(getattr(start.channel, n), dtype=torch.float64) for n in ("rho0", "rho1", "swapped")}
        rates |= {name: torch.sigmoid(theta[i]) / 2 for i, name in enumerate(names)}
        logs = theta[len(names) :].view(-1, 2)
        return rates, [(row[0].exp(), row[1].exp()) for row in logs]

    def loss(theta: Tensor) -> Tensor:
        rates, priors = parts(theta)
        value = torch.zeros((), dtype=torch.float64)
        for kind, count in counts:
            law = count_law(
                joint_law(count.numel() - 1, priors[kind], (rates["rho0"], rates["rho1"], rates["swapped"]))
            )
            value = value - (count.double() * law).sum()
        for name in names:
            rate, at = 2 * rates[name], min(max(2 * anchors[name], 0.02), 0.98)
            value = value - strength * (at * rate.clamp(min=EDGE).log() + (1 - at) * (1 - rate).clamp(min=EDGE).log())
        return value + 0.5 * strength * theta[len(names) :].square().sum() / 4

    point = damped_newton(loss, point, rounds)
    rates, priors = parts(point)
    channel = replace(start.channel, **{name: float(rates[name]) for name in names})
    likelihood = -float(loss(point)) / max(total, 1.0)
    return Fit(channel, tuple((float(a), float(b)) for a, b in priors), likelihood)


def _inverse_half(rate: float) -> float:
    """theta with sigmoid(theta) / 2 = rate."""
    inner = min(max(2 * rate, 0.02), 0.98)
    return float(torch.logit(torch.tensor(inner, dtype=torch.float64)))


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
