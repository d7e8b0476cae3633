"""The benchmarks by name, in the order in which `critica bench all` runs them."""

from collections.abc import Mapping
from types import MappingProxyType

from critica.benches.base import Bench
from critica.benches.counted_cost import COUNTED_COST
from critica.benches.import_time import IMPORT
from critica.benches.safeguards import SAFEGUARDS
from critica.benches.sandbox import SANDBOX
from critica.benches.seeds import SEEDS
from critica.benches.speed import SPEED
from critica.benches.torture import TORTURE

ALL = (IMPORT, SPEED, SANDBOX, SEEDS, SAFEGUARDS, COUNTED_COST, TORTURE)
BENCHES: Mapping[str, Bench] = MappingProxyType({bench.name: bench for bench in ALL})
