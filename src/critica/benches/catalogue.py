"""The benchmarks by name, in the order in which `critica bench all` runs them."""

from collections.abc import Mapping
from types import MappingProxyType

from critica.benches.base import Bench
from critica.benches.import_time import IMPORT
from critica.benches.seeds import SEEDS
from critica.benches.speed import SPEED

BENCHES: Mapping[str, Bench] = MappingProxyType({bench.name: bench for bench in (IMPORT, SPEED, SEEDS)})
