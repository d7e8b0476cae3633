"""Every test: the same examples each time, and shapes checked wherever the package declares them."""

import sys
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

import shape_checks

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")

# Before any test module imports the package: each xdist worker loads this file too.
assert not any(name == "critica" or name.startswith("critica.") for name in sys.modules)
jaxtyping.jaxtyped = shape_checks.jaxtyped  # what the hook writes above each function and class
jaxtyping.install_import_hook("critica", "shape_checks.check")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(autouse=True)
def one_thread_and_one_seed() -> None:
    """Two test processes on two cores: a second torch thread only gets in the way. A test may have asked for more.

    And the same random numbers whatever ran before: which process gets a test is left to chance.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
