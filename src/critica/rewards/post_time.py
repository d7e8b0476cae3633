"""A forecast paid for what it adds to a prior one (PostTime)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critica.rewards.verifiers import Verifier


@dataclass(frozen=True)
class RelativeForecast(Verifier):
    """clip(1 - err(said) / (err(prior) + epsilon), -1, 1) + `parsed`, or `unparsed` for a text without a forecast.

    err is the mean absolute error against `info["truth"]`; `info["prior"]` is the forecast that the prompt gave. Both
    are a number or a list; the response's is the last [...] or, for one number, the last number. Copying the prior pays
    `parsed` and nothing more. The paper (PostTime, arXiv 2605.29401) gives no formula: this one is ours.
    """

    epsilon: float = 1e-6
    parsed: float = 0.1
    unparsed: float = -1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.epsilon < float("inf"):
            raise ValueError(f"RelativeForecast.epsilon is {self.epsilon}: it must be above 0, in the forecast's unit")
        if not self.unparsed <= self.parsed - 1.0:
            raise ValueError(
                f"RelativeForecast.unparsed is {self.unparsed:g}: above {self.parsed - 1:g}, what the worst forecast"
                " gets, stating none would pay"
            )

    @property
    def value_range(self) -> tuple[float, float]:
        """From a text without a forecast to the truth."""
        return self.unparsed, 1.0 + self.parsed

    def settings(self) -> Mapping[str, Any]:
        """See `forecast_check.relative_forecast`."""
        return {"kind": "post_time", "epsilon": self.epsilon, "parsed": self.parsed, "unparsed": self.unparsed}
