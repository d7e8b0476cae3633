"""Corrections as one word of the command line."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

from critica.records.names import odd_letter
from critica.rewards.answer_posterior import AnswerPosterior
from critica.rewards.audited_corrections import Appeal, AuditedValue
from critica.rewards.correction_base import CorrectionPart, Uncorrected
from critica.rewards.corrections import Backward, Forward, Watched
from critica.rewards.posterior import Posterior
from critica.rewards.rates import Audited, CorrectionProblem, Stated
from critica.rewards.value_corrections import Soften

FORMS = (
    "none; answer_posterior (siblings' answers and verdicts together); posterior (rates estimated from the verdicts),"
    " posterior:0.2:group, posterior:0.2:sample or posterior:0.3/0.1:sample (rates stated); backward:0.2/0.1 (false"
    " positives/negatives), backward:audit:0.05 (rates from audits of that share); forward:0.1; audit:0.2 (that share"
    " is checked); watch:0.05 (that share is checked, nothing is changed: live error rates); appeal:0.5 (that share of"
    " the low verdicts is checked again); soften:0.1; others have fields of their own (--set correction=winsorize)"
)


def parse_correction(spec: str) -> CorrectionPart:
    """The correction that a spec means (see `FORMS`). Raises `CorrectionProblem` with what to write."""
    kind, _, rest = spec.partition(":")
    if kind not in READERS:
        _refuse(spec, f"{kind!r} is no kind of correction{odd_letter(kind)}")
    return READERS[kind](spec, rest)


def _nothing(spec: str, rest: str) -> CorrectionPart:
    if rest or spec != "none":
        _refuse(spec, "nothing follows 'none'")
    return Uncorrected()


def _answers(spec: str, rest: str) -> CorrectionPart:
    if rest or spec.endswith(":"):
        _refuse(spec, "nothing follows 'answer_posterior'; --set correction.exchanged_groups=0.2 states a rate")
    return AnswerPosterior()


def _backward(spec: str, rest: str) -> CorrectionPart:
    if rest.startswith("audit:"):
        return Backward(Audited(_share(spec, rest.removeprefix("audit:"))))
    return Backward(Stated(*_rates(spec, rest)))


def _posterior(spec: str, rest: str) -> CorrectionPart:
    if not rest:
        return Posterior()
    rate, _, unit = rest.partition(":")
    if unit == "group":
        return Posterior(exchanged_groups=_share(spec, rate), estimate=())
    if unit == "sample":
        wrong, right = _rates(spec, rate)
        return Posterior(wrong, right, estimate=())
    _refuse(spec, "a stated rate is followed by :group or :sample")


READERS: Mapping[str, Callable[[str, str], CorrectionPart]] = MappingProxyType(
    {
        "none": _nothing,
        "answer_posterior": _answers,
        "posterior": _posterior,
        "backward": _backward,
        "forward": lambda spec, rest: Forward(Stated(0.0, _share(spec, rest))),
        "audit": lambda spec, rest: AuditedValue(_share(spec, rest)),
        "appeal": lambda spec, rest: Appeal(_share(spec, rest)),
        "watch": lambda spec, rest: Watched(Audited(_share(spec, rest))),
        "soften": lambda spec, rest: Soften(_share(spec, rest)),
    }
)


def _rates(spec: str, text: str) -> tuple[float, float]:
    parts = text.split("/")
    if len(parts) > 2:
        _refuse(spec, "there are two rates at most: of false positives and of false negatives")
    numbers = [_share(spec, one) for one in parts]
    return numbers[0], numbers[-1]


def _share(spec: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        _refuse(spec, f"{text!r} is no number")
    if not 0.0 <= value <= 1.0:
        _refuse(spec, f"{text!r} is no probability")
    return value


def _refuse(spec: str, reason: str) -> NoReturn:
    raise CorrectionProblem(f"correction {spec!r}: {reason}. Write {FORMS}")
