"""Several objectives under correction: each has a live correction of its own, of the same kind or of different ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from critica.environments.base import Environment
from critica.records.arrays import Metric
from critica.records.protocols import Stateful
from critica.records.supervision import Reward, Scale
from critica.rewards.base import Scope
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, LiveCorrection, Said, Uncorrected
from critica.rewards.rates import CorrectionProblem
from critica.rewards.workers import WorkerLimits


@dataclass(frozen=True, slots=True)
class EachObjective(CorrectionPart):
    """One correction an objective, in the order of the sources: they err at rates of their own (2510.18924).

    Any other correction is applied to all objectives alike, with counts and rates of its own for each. Write `none`
    for an objective whose word is taken.
    """

    corrections: tuple[CorrectionPart, ...]

    def __post_init__(self) -> None:
        if len(self.corrections) < 2 or any(isinstance(one, EachObjective) for one in self.corrections):
            raise CorrectionProblem(
                "correction.corrections must name one correction for each of two objectives or more; with a single"
                " objective take the correction itself"
            )

    @property
    def scope(self) -> Scope:
        """The widest of theirs."""
        return "group" if any(one.scope != "sample" for one in self.corrections) else "sample"

    @property
    def affine(self) -> bool:
        """Each of them; they may stretch their objectives differently."""
        return all(one.affine for one in self.corrections)

    @property
    def shifts(self) -> bool:
        return all(one.shifts for one in self.corrections)

    def of(self, objective: int) -> CorrectionPart:
        if objective >= len(self.corrections):
            raise CorrectionProblem(
                f"correction.corrections has {len(self.corrections)} entries, and there are more objectives: give one"
                " each, in the order of the sources"
            )
        return self.corrections[objective]

    def build(self, context: CorrectionContext) -> LiveCorrection:
        raise CorrectionProblem("correction=each_objective is for several objectives: take a single one as it is")


def live_correction(
    part: CorrectionPart, environment: Environment, limits: WorkerLimits, said: tuple[Scale, ...]
) -> LiveCorrection:
    """The live correction of objectives that are said on these scales (noise included). If one cannot be built the
    others are closed again. Raises `CorrectionProblem` for another number of corrections than of objectives."""
    if isinstance(part, EachObjective) and len(part.corrections) != len(said):
        raise CorrectionProblem(
            f"correction.corrections has {len(part.corrections)} entries for {len(said)} objectives"
            f" ({', '.join(scale.name for scale in said)}): give one each, in the order of the sources"
        )
    if len(said) == 1 or isinstance(part, Uncorrected):
        return part.build(CorrectionContext(environment, limits, said[0]))
    live: dict[str, LiveCorrection] = {}
    try:
        for j, scale in enumerate(said):
            live[scale.name] = part.of(j).build(CorrectionContext(environment, limits, scale))
        return CorrectingEach(live)
    except BaseException:
        for one in live.values():
            one.close()
        raise


class CorrectingEach:
    """Each objective goes to its own."""

    def __init__(self, live: Mapping[str, LiveCorrection]) -> None:
        self.live = live

    def correct(self, said: Said) -> list[Reward]:
        """By the objective's name."""
        return self.live[said.scale.name].correct(said)

    def reports(self) -> tuple[Metric, ...]:
        """Theirs, under the objective's name."""
        return tuple(
            replace(one, name=f"correction/objective/{name}/{one.name.removeprefix('correction/')}")
            for name, live in self.live.items()
            for one in live.reports()
        )

    def close(self) -> None:
        """All of them."""
        for live in self.live.values():
            live.close()

    def state_dict(self) -> dict[str, Any]:
        """The memories of those that have some, by objective."""
        return {name: live.state_dict() for name, live in self.live.items() if isinstance(live, Stateful)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        for name, live in self.live.items():
            if isinstance(live, Stateful):
                live.load_state_dict(state[name])
