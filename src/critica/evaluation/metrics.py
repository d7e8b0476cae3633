"""Metrics by their declared names only: the glossary lives in `records.metrics`, so that the viewer can read it."""

from collections.abc import Sequence

from critica.records.arrays import Metric, merge_metrics
from critica.records.metrics import GLOSSARY, MetricDefinition, UndeclaredMetric, definition, require_declared

__all__ = ["GLOSSARY", "MetricDefinition", "UndeclaredMetric", "declared", "definition", "metric"]


def metric(name: str, total: float | int, count: float | int = 1.0) -> Metric:
    """A metric of a declared name. Raises `UndeclaredMetric` otherwise."""
    definition(name)
    return Metric(name, float(total), float(count))


def declared(parts: Sequence[Metric]) -> tuple[Metric, ...]:
    """Merge by name; every name must be declared."""
    require_declared(part.name for part in parts)
    return merge_metrics(parts)
