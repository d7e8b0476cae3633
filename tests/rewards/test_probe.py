"""What doctor says about the sandbox is what was found, in states that fit."""

import pytest

from critica.cli import checks
from critica.rewards import probe
from critica.rewards.isolation import NO_NETWORK, NO_WALLS, Isolation
from critica.rewards.probe import MachineIsolation, ProbeFailed, probe_machine
from critica.rewards.shelters import NO_SCRATCH, Shelter

WHOLE = Shelter(root=True, filtered=True, landlock=7, own_pids=True, other_user=True)


def test_the_probe_finds_what_workers_get() -> None:
    """The same walls as a live source reports: nothing guessed."""
    from critica.environments.chain import Chain
    from critica.rewards.unit_tests import UnitTests
    from critica.rewards.workers import WorkerLimits

    found = probe_machine()
    config = UnitTests(allow_weak_isolation=True)
    with config.build(Chain(length=2).build(0), WorkerLimits(workers=1)) as source:
        assert source.isolation.applied == found.isolation.applied
        assert source.isolation.missing == (*found.isolation.missing, *found.shelter.missing)


@pytest.mark.parametrize(
    ("found", "states", "words"),
    [
        (MachineIsolation(Isolation(("network namespace",)), WHOLE), ("good", "good"), "Landlock 7"),
        (MachineIsolation(Isolation((), (NO_NETWORK,)), WHOLE), ("warning", "good"), NO_NETWORK),
        (MachineIsolation(Isolation(), Shelter(filtered=True, landlock=3)), ("good", "warning"), NO_SCRATCH),
        (MachineIsolation(Isolation(), Shelter(filtered=True)), ("good", "warning"), NO_WALLS),
    ],
)
def test_doctor_names_what_is_missing_and_what_to_do(
    found: MachineIsolation, states: tuple[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "probe_machine", lambda: found)
    findings = checks.check_isolation()
    assert tuple(finding.state for finding in findings) == states
    assert any(words in finding.fact for finding in findings)
    assert all(bool(finding.fix) == (finding.state != "good") for finding in findings)


def test_doctor_survives_a_broken_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> MachineIsolation:
        raise ProbeFailed("TimeoutExpired: 60 s")

    monkeypatch.setattr(probe, "probe_machine", fail)
    assert [finding.state for finding in checks.check_isolation()] == ["warning", "warning"]
