"""What the torture tests share: a warm process, and runs that nobody disturbed."""

from pathlib import Path

import pytest

from critica.benches.torture_stable import Stable
from critica.benches.torture_trial import Reference, Sizes, System, make_reference

SMALL = Sizes(steps=8, every=2, kills_per_run=2)


@pytest.fixture(scope="session")
def stable():
    """One for all tests of this folder."""
    with Stable() as warm:
        yield warm


@pytest.fixture(scope="session")
def undisturbed(stable: Stable, tmp_path_factory: pytest.TempPathFactory) -> tuple[Reference, Path]:
    """A run of DVPO in a fresh interpreter, and the folder that holds it."""
    work = tmp_path_factory.mktemp("undisturbed")
    return make_reference(stable, System("dvpo"), SMALL, work), work
