"""Whether an answer is right, given who gave the same answer and what all of them were told: Bayes' rule, exactly.

Siblings that give one answer are right or wrong together, and no two different answers are right. The model of a
prompt's G siblings, partitioned into classes of equal answers:

    theta ~ Beta(a, b)                        how often the policy is right on this prompt
    k of G are right, and share one class     (none if k = 0)
    the wrong ones fall into classes by a Chinese restaurant process with concentration alpha
    u_i | z_i: told high with probability 1 - rho1 if right, rho0 if wrong
    f ~ Bernoulli(swapped);  told_i = u_i, or 1 - u_i for the whole group if f = 1

so that the only unknowns are which class is right, or none, and f: both are summed over. Two answers that are both
told right betray a group that was told the wrong way round, and a crowd of equal answers outvotes a single lie.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.functional.posterior import Channel

EDGE = 1e-6
RATES = ("rho0", "rho1", "swapped")


@dataclass(frozen=True, slots=True)
class Answers:
    """Groups as counts: `sizes[n, c]` siblings gave answer c of group n, `high[n, c]` of them were told high.

    Rows are padded with zeros. `mute[n]` siblings gave no answer and are wrong, `mute_high` of them told high. `kind`
    numbers the kind of prompt.
    """

    sizes: Float[Tensor, "n c"]
    high: Float[Tensor, "n c"]
    mute: Float[Tensor, "n"]
    mute_high: Float[Tensor, "n"]
    kind: Int[Tensor, "n"]


@dataclass(frozen=True, slots=True)
class AnswerModel:
    """The channel, for each kind of prompt the Beta law of how often the policy is right, and the concentration."""

    channel: Channel
    priors: tuple[tuple[float, float], ...]
    concentration: float = 2.0


def joint(
    answers: Answers,
    rates: tuple[Tensor, Tensor, Tensor],
    a: Float[Tensor, "n"],
    b: Float[Tensor, "n"],
    alpha: Tensor,
) -> Float[Tensor, "n r f"]:
    """log P(partition, what was told, which class is right, f); the last r is that none is. Differentiable."""
    sizes, high = answers.sizes, answers.high
    real = sizes > 0
    total = sizes.sum(-1) + answers.mute
    count = real.sum(-1).to(sizes.dtype)
    spread = torch.where(real, torch.lgamma(sizes.clamp(min=1.0)), 0.0)
    wrong = total[:, None] - sizes - answers.mute[:, None]  # who is wrong with an answer, were this class right
    restaurant = (
        (count - 1)[:, None] * alpha.log() + torch.lgamma(alpha) - torch.lgamma(alpha + wrong)
        + spread.sum(-1, keepdim=True) - spread
    )  # fmt: skip
    right = log_beta(a[:, None] + sizes, b[:, None] + total[:, None] - sizes) - log_beta(a, b)[:, None] + restaurant
    speaking = sizes.sum(-1)
    nobody = log_beta(a, b + total) - log_beta(a, b) + count * alpha.log() + torch.lgamma(alpha)
    nobody = nobody - torch.lgamma(alpha + speaking) + spread.sum(-1)
    prior = torch.cat((torch.where(real, right, -torch.inf), nobody[:, None]), 1)
    all_high, all_low = high.sum(-1) + answers.mute_high, (sizes - high).sum(-1) + answers.mute - answers.mute_high
    rho0, rho1, swapped = (rate.clamp(EDGE, 1 - EDGE) for rate in rates)
    laws = []
    for seen_high, seen_low, chance in ((high, sizes - high, 1 - swapped), (sizes - high, high, swapped)):
        turned = chance is swapped
        risen, kept = (all_low, all_high) if turned else (all_high, all_low)
        wrongs = risen * rho0.log() + kept * (1 - rho0).log()
        gain = seen_high * ((1 - rho1).log() - rho0.log()) + seen_low * (rho1.log() - (1 - rho0).log())
        told = torch.cat((wrongs[:, None] + gain, wrongs[:, None]), 1)
        laws.append(prior + told + chance.log())
    return torch.stack(laws, -1)


def chance_right(answers: Answers, model: AnswerModel) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n"]]:
    """(P(class is right | everything), P(told the wrong way round | everything))."""
    rates, a, b, alpha = tensors(answers, model)
    law = joint(answers, rates, a, b, alpha)
    law = (law - law.flatten(1).logsumexp(-1)[:, None, None]).exp()
    return law[:, :-1].sum(-1), law[..., 1].sum(-1)


def fit_answers(
    answers: Answers,
    weight: Float[Tensor, "n"],
    start: AnswerModel,
    free: tuple[str, ...],
    anchor: Channel,
    strength: float = 2.0,
    sweeps: int = 3,
) -> AnswerModel:
    """`sweeps` steps of expectation maximization from `start`: the rates in `free`, priors and concentration.

    `weight` fades old groups. No sweep lowers the penalized likelihood: `strength` imagined verdicts (and groups) at
    the rates of `anchor`, and a normal of standard deviation 2 / sqrt(strength) in the logs of a, b and alpha.
    Rates stay below one half: the mirror image, every verdict and group turned, would explain verdicts equally well.
    """
    unknown = [name for name in free if name not in RATES]
    if unknown:
        raise ValueError(f"free names {', '.join(unknown)}, and there are {', '.join(RATES)}")
    model = start
    for _ in range(sweeps):
        model = _maximized(answers, weight, model, anchor, free, strength)
    return model


def _maximized(
    answers: Answers, weight: Tensor, model: AnswerModel, anchor: Channel, free: tuple[str, ...], strength: float
) -> AnswerModel:
    rates_now, a, b, alpha = tensors(answers, model)
    law = joint(answers, rates_now, a, b, alpha)
    law = (law - law.flatten(1).logsumexp(-1)[:, None, None]).exp() * weight[:, None, None]
    zero = torch.zeros(len(weight), 1, dtype=torch.float64)
    sizes, high = torch.cat((answers.sizes, zero), 1), torch.cat((answers.high, zero), 1)  # the last class is nobody
    total, risen = answers.sizes.sum(-1) + answers.mute, answers.high.sum(-1) + answers.mute_high
    plain, turned = law.unbind(-1)
    wrong = total[:, None] - sizes
    wrong_high = risen[:, None] - high
    right_low = sizes - high
    counts = {
        "rho0": ((plain * wrong_high + turned * (wrong - wrong_high)).sum(), (law.sum(-1) * wrong).sum()),
        "rho1": ((plain * right_low + turned * (sizes - right_low)).sum(), (law.sum(-1) * sizes).sum()),
        "swapped": (turned.sum(), weight.sum()),
    }
    rates = {}
    for name in free:
        errors, all_of_them = counts[name]
        rate = (float(errors) + strength * getattr(anchor, name)) / (float(all_of_them) + strength)
        rates[name] = min(rate, 0.5 - EDGE)
    who = law.sum(-1)
    priors = tuple(
        _beta_step(sizes[rows], wrong[rows], who[rows], prior, strength)
        for prior, rows in ((prior, answers.kind == kind) for kind, prior in enumerate(model.priors))
    )
    given = (answers.sizes > 0).sum(-1).double()
    tables = torch.cat(((given - 1)[:, None].expand_as(answers.sizes), given[:, None]), 1)
    seated = wrong - answers.mute[:, None]
    concentration = _restaurant_step(tables, seated, who, model.concentration, strength)
    return AnswerModel(replace(model.channel, **rates), priors, concentration)


def _beta_step(
    right: Tensor, wrong: Tensor, weight: Tensor, at: tuple[float, float], strength: float
) -> tuple[float, float]:
    """A Newton step in (log a, log b) for counts of right and wrong, shortened until the likelihood does not fall."""

    def value(logs: Tensor) -> Tensor:
        a, b = logs.exp()
        return (weight * (log_beta(a + right, b + wrong) - log_beta(a, b))).sum() - strength / 8 * logs.square().sum()

    logs = torch.tensor(at, dtype=torch.float64).log()
    a, b = logs.exp()
    both = a + b + right + wrong
    rest = torch.digamma(both) - torch.digamma(a + b)
    first = torch.stack((
        (weight * (torch.digamma(a + right) - torch.digamma(a) - rest)).sum() * a,
        (weight * (torch.digamma(b + wrong) - torch.digamma(b) - rest)).sum() * b,
    ))  # fmt: skip
    slope = torch.polygamma(1, both) - torch.polygamma(1, a + b)
    cross = -(weight * slope).sum()
    second = torch.stack((
        torch.stack((
            ((weight * (torch.polygamma(1, a + right) - torch.polygamma(1, a))).sum() + cross) * a * a + first[0],
            cross * a * b,
        )),
        torch.stack((
            cross * a * b,
            ((weight * (torch.polygamma(1, b + wrong) - torch.polygamma(1, b))).sum() + cross) * b * b + first[1],
        )),
    ))  # fmt: skip
    first = first - strength / 4 * logs
    second = second - strength / 4 * torch.eye(2, dtype=torch.float64)
    found = _uphill(value, logs, first, second)
    return float(found[0].exp()), float(found[1].exp())


def _restaurant_step(tables: Tensor, seated: Tensor, weight: Tensor, at: float, strength: float) -> float:
    """The same in log alpha, for so many tables of so many guests."""

    def value(log: Tensor) -> Tensor:
        alpha = log.exp()
        whole = tables * log + torch.lgamma(alpha) - torch.lgamma(alpha + seated)
        return (weight * whole).sum() - strength / 8 * log.square().sum()

    log = torch.tensor([at], dtype=torch.float64).log()
    alpha = log.exp()
    slope = torch.digamma(alpha) - torch.digamma(alpha + seated)
    first = (weight * (tables + alpha * slope)).sum()
    bend = torch.polygamma(1, alpha) - torch.polygamma(1, alpha + seated)
    second = (weight * (alpha * slope + alpha * alpha * bend)).sum()
    first, second = first - strength / 4 * log[0], second - strength / 4
    return float(_uphill(value, log, first[None], second[None, None])[0].exp())


def _uphill(value: Callable[[Tensor], Tensor], point: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """A Newton step toward a maximum, at most 1 long in any coordinate, halved until the value does not fall."""
    values, vectors = torch.linalg.eigh(second)
    step = vectors @ ((vectors.T @ first) / values.abs().clamp(min=1e-9))
    step = step / step.abs().max().clamp(min=1.0)
    before = value(point)
    for _ in range(8):
        if float(value(point + step)) >= float(before):
            return point + step
        step = step / 2
    return point


def tensors(answers: Answers, model: AnswerModel) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor, Tensor]:
    """The model's numbers in fp64, priors spread over the groups."""
    rho0, rho1, swapped = (
        torch.tensor(rate, dtype=torch.float64)
        for rate in (model.channel.rho0, model.channel.rho1, model.channel.swapped)
    )
    a, b = torch.tensor(model.priors, dtype=torch.float64)[answers.kind].unbind(-1)
    return (rho0, rho1, swapped), a, b, torch.tensor(model.concentration, dtype=torch.float64)


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """log of the beta function."""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
