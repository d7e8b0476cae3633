"""Several sources about the same answers, each an objective of its own until the advantage."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from critica.environments.base import Environment
from critica.records.protocols import Stateful
from critica.records.supervision import Scale, Verdict
from critica.rewards.base import (
    RewardConfig,
    RewardSource,
    Scope,
    ScoreRequest,
    VerdictSource,
    scales_of,
    scope_of,
    verdicts_of,
)
from critica.rewards.workers import WorkerLimits


@dataclass(frozen=True)
class Several(RewardConfig):
    """All of `sources` are asked at once; `names` (by default their own) call their objectives.

    How they are added up is `placement.combination`: their weighted sum, or each standardized first.
    """

    sources: tuple[RewardConfig, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.sources) < 2:
            raise ValueError("reward.sources must name two sources or more; take a single one as the reward itself")
        if self.names and len(self.names) != len(self.sources):
            raise ValueError(f"reward.names has {len(self.names)} entries for {len(self.sources)} sources")
        if any(isinstance(source, Several) for source in self.sources):
            raise ValueError("reward.sources cannot hold several sources again: list them all at one level")

    @property
    def scope(self) -> Scope:
        """The widest of theirs."""
        scopes = {source.scope for source in self.sources}
        return "batch" if "batch" in scopes else "group" if "group" in scopes else "sample"

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "AskingSeveral":  # noqa: B008
        """All of them, live. If one cannot be built the others are closed again."""
        built: list[RewardSource] = []
        try:
            for source in self.sources:
                built.append(source.build(environment, limits))
            return AskingSeveral(tuple(built), self.names)
        except BaseException:
            for live in built:
                live.close()
            raise


class AskingSeveral(VerdictSource):
    """Asks each in a thread of its own, so that a slow one does not hold up the others; answers are put together by
    index. Two objectives of one name are told apart by a number."""

    def __init__(self, sources: tuple[RewardSource, ...], names: tuple[str, ...] = ()) -> None:
        self.sources = sources
        called: list[str] = []
        for i, source in enumerate(sources):
            called.append(unused(names[i] if names else source.name, called))
        self.called = tuple(called)
        scales: list[Scale] = []
        for source, name in zip(sources, called, strict=True):
            for scale in scales_of(source):
                wanted = name if len(scales_of(source)) == 1 else f"{name}/{scale.name}" if names else scale.name
                scales.append(replace(scale, name=unused(wanted, [one.name for one in scales])))
        self.scales = tuple(scales)
        self.name = "+".join(called)
        scopes = {scope_of(source) for source in sources}
        self.scope = "batch" if "batch" in scopes else "group" if "group" in scopes else "sample"
        self.takes_hints = any(isinstance(source, VerdictSource) and source.takes_hints for source in sources)

    def prepare(self, item: ScoreRequest, among: int) -> None:
        """Tell those that can use it."""
        for source in self.sources:
            if isinstance(source, VerdictSource):
                source.hint(item, among)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """Every source's outcomes, side by side."""
        with ThreadPoolExecutor(len(self.sources)) as pool:
            said = list(pool.map(lambda source: verdicts_of(source, items), self.sources))
        return [joined(rows, self.called) for rows in zip(*said, strict=True)]

    @property
    def busy_workers(self) -> int:
        """Of all of them."""
        return sum(source.busy_workers for source in self.sources)

    @property
    def waiting_for(self) -> str:
        """Of those that are asked something."""
        return "; ".join(source.waiting_for for source in self.sources if source.waiting_for)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each said once."""
        return tuple(dict.fromkeys(warning for source in self.sources for warning in source.warnings))

    def close(self) -> None:
        """End all."""
        for source in self.sources:
            source.close()

    def state_dict(self) -> dict[str, Any]:
        """The memories of those that have some, by their place."""
        return {str(i): source.state_dict() for i, source in enumerate(self.sources) if isinstance(source, Stateful)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        for i, source in enumerate(self.sources):
            if isinstance(source, Stateful) and str(i) in state:
                source.load_state_dict(state[str(i)])


def joined(verdicts: Sequence[Verdict], called: Sequence[str]) -> Verdict:
    """One verdict of several: outcomes in order, spans renumbered, parts under their source's name, costs added."""
    before = 0
    outcomes, spans, parts = [], [], {}
    for verdict, name in zip(verdicts, called, strict=True):
        spans += [replace(span, objective=span.objective + before) for span in verdict.spans]
        outcomes += verdict.outcomes
        parts |= {f"{name}/{key}": value for key, value in verdict.parts.items()}
        before += len(verdict.outcomes)
    return Verdict(tuple(outcomes), MappingProxyType(parts), tuple(spans), sum(verdict.cost for verdict in verdicts))


def unused(name: str, taken: Sequence[str]) -> str:
    """The name, with the first number that makes it new."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} {number}"
    return found
