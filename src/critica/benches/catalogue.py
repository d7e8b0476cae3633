"""The benchmarks by name, in the order in which `critica bench all` runs them."""

from collections.abc import Mapping
from types import MappingProxyType

from critica.benches.base import Bench
from critica.benches.continuations import CONTINUATIONS
from critica.benches.counted_cost import COUNTED_COST
from critica.benches.critics import CRITICS
from critica.benches.espo import ESPO_EVIDENCE
from critica.benches.estimators import ESTIMATORS_BENCH
from critica.benches.import_time import IMPORT
from critica.benches.memory import MEMORY
from critica.benches.mutants import MUTANTS
from critica.benches.noise import NOISE
from critica.benches.noise_tuning import NOISE_TUNING
from critica.benches.packing import PACKING
from critica.benches.payback import PAYBACK
from critica.benches.quantile_count import QUANTILE_COUNT
from critica.benches.recipes import RECIPES_BENCH
from critica.benches.safeguards import SAFEGUARDS
from critica.benches.sandbox import SANDBOX
from critica.benches.seeds import SEEDS
from critica.benches.slow_judge import SLOW_JUDGE
from critica.benches.speed import SPEED
from critica.benches.stop_rule import STOP_RULE
from critica.benches.torture import TORTURE
from critica.benches.trl_parity import TRL_PARITY
from critica.benches.verifiers import VERIFIERS

ALL = (
    IMPORT, SPEED, SANDBOX, VERIFIERS, SEEDS, SAFEGUARDS, COUNTED_COST, QUANTILE_COUNT, STOP_RULE,
    CONTINUATIONS, SLOW_JUDGE, TORTURE, CRITICS, PAYBACK, NOISE_TUNING, NOISE, ESTIMATORS_BENCH, RECIPES_BENCH,
    ESPO_EVIDENCE, MUTANTS, TRL_PARITY, PACKING, MEMORY,
)  # fmt: skip
BENCHES: Mapping[str, Bench] = MappingProxyType({bench.name: bench for bench in ALL})
