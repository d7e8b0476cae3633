"""Noise as one word of the command line, and back: every model's name is a spec that reads as that model."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn, cast

from critica.records.names import odd_letter
from critica.rewards.noise import Flip, NoNoise
from critica.rewards.noise_base import UNITS, NoiseModel, NoiseProblem, Unit
from critica.rewards.noise_labels import ExploitableBug, Missing, ScorerOfAccuracy, Spurious
from critica.rewards.noise_values import Additive, Favor, Saturation
from critica.rewards.noise_wrong_labels import MajorityLabels, WrongLabels

NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
FORMS = (
    "none, flip:0.2:group (or :sample; :prompt, the same whenever a prompt comes back; :batch), flip:0.1/0.3:group for"
    " false positives and false negatives, accuracy:0.72, normal:0.5:sample, student:0.5:sample, missing:0.1:sample,"
    " favor:0.3:length:256, favor:0.3:pattern:REGEX, saturation:5:0.3, random:0.5, inverse, format:REGEX, bug:REGEX,"
    " wrong_labels:0.2, majority:8;"
    " confusion and drift have fields of their own (--set noise=confusion)"
)


def parse_noise(spec: str) -> NoiseModel:
    """The model that a spec means (see `FORMS`). Raises `NoiseProblem` with what to write."""
    kind, _, rest = spec.partition(":")
    if kind not in READERS:
        _refuse(spec, f"{kind!r} is no kind of noise{odd_letter(kind)}")
    return READERS[kind](spec, rest)


def _nothing(spec: str, rest: str) -> NoiseModel:
    if rest or spec.endswith(":"):
        _refuse(spec, f"nothing follows {spec.partition(':')[0]!r}")
    return NoNoise() if spec == "none" else Spurious("inverse")


def _flip(spec: str, rest: str) -> NoiseModel:
    rate, unit = _parts(spec, rest, 2, "flips name a rate and a unit")
    rates = rate.split("/")
    if len(rates) > 2:
        _refuse(spec, "there are two rates at most: of false positives and of false negatives")
    numbers = [_share(spec, one) for one in rates]
    return Flip(numbers[0], numbers[-1], _unit(spec, unit))


def _missing(spec: str, rest: str) -> NoiseModel:
    rate, unit = _parts(spec, rest, 2, "missing verdicts name a rate and a unit")
    return Missing(_share(spec, rate), _unit(spec, unit))


def _additive(spec: str, rest: str) -> NoiseModel:
    scale, unit = _parts(spec, rest, 2, "additive noise names a scale and a unit")
    return Additive(_number(spec, scale), "normal" if spec.startswith("normal") else "student", unit=_unit(spec, unit))


def _favor(spec: str, rest: str) -> NoiseModel:
    bonus, _, taste = rest.partition(":")
    kind, _, what = taste.partition(":")
    if kind == "pattern" and what:
        return Favor(_number(spec, bonus), pattern=what)
    if kind == "length" and what.isascii() and what.isdigit():
        return Favor(_number(spec, bonus), length_tokens=int(what))
    _refuse(spec, "favor names a bonus, then length:TOKENS or pattern:REGEX")


def _saturation(spec: str, rest: str) -> NoiseModel:
    levels, band = _parts(spec, rest, 2, "saturation names its grades and its band")
    if not (levels.isascii() and levels.isdigit()):
        _refuse(spec, f"{levels!r} is no number of grades")
    return Saturation(int(levels), _share(spec, band))


READERS: Mapping[str, Callable[[str, str], NoiseModel]] = MappingProxyType(
    {
        "none": _nothing,
        "inverse": _nothing,
        "flip": _flip,
        "missing": _missing,
        "normal": _additive,
        "student": _additive,
        "favor": _favor,
        "saturation": _saturation,
        "accuracy": lambda spec, rest: ScorerOfAccuracy(_share(spec, rest)),
        "random": lambda spec, rest: Spurious("random", _share(spec, rest)),
        "format": lambda spec, rest: Spurious("format", pattern=_pattern(spec, rest)),
        "bug": lambda spec, rest: ExploitableBug(_pattern(spec, rest)),
        "wrong_labels": lambda spec, rest: WrongLabels(_share(spec, rest)),
        "majority": lambda spec, rest: MajorityLabels(_votes(spec, rest)),
    }
)


def _parts(spec: str, rest: str, count: int, reason: str) -> list[str]:
    parts = rest.split(":")
    if len(parts) != count:
        _refuse(spec, reason)
    return parts


def _number(spec: str, text: str) -> float:
    if not NUMBER.fullmatch(text):
        _refuse(spec, f"{text!r} is no number")
    return float(text)


def _share(spec: str, text: str) -> float:
    if not NUMBER.fullmatch(text) or not 0.0 <= float(text) <= 1.0 or text.startswith("-"):
        _refuse(spec, f"{text!r} is no rate: a rate is a probability, between 0 and 1")
    return float(text)


def _votes(spec: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text)):
        _refuse(spec, f"{text!r} is no number of votes: write one from 1 to 9999")
    return int(text)


def _unit(spec: str, text: str) -> Unit:
    if text not in UNITS:
        _refuse(spec, f"{text!r} is no unit")
    return cast(Unit, text)


def _pattern(spec: str, text: str) -> str:
    if not text:
        _refuse(spec, "a regular expression is missing")
    return text


def _refuse(spec: str, reason: str) -> NoReturn:
    raise NoiseProblem(f"noise {spec!r}: {reason}. Write {FORMS}")
