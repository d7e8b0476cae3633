"""What this machine can do to keep reward code and programs in, found out by doing it in a process of its own.

Run as `python -m critica.rewards.probe` it prints its findings. Imports no torch.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from critica.rewards.filters import NoFilter
from critica.rewards.isolation import Isolation, in_child, leave_network_and_users
from critica.rewards.program_server import ProgramServer, ServerGone
from critica.rewards.shelters import Shelter

PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class MachineIsolation:
    """How reward workers are kept from the network, and which walls stand around programs."""

    isolation: Isolation
    shelter: Shelter


class ProbeFailed(RuntimeError):
    """The probe itself did not come to an end; the text says how."""


def probe_machine() -> MachineIsolation:
    """Ask a fresh interpreter. Raises `ProbeFailed`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "critica.rewards.probe"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=True, env=environment
        )
        told = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ProbeFailed(f"{type(error).__name__}: {error}") from error
    isolation = Isolation(tuple(told["isolation"]["applied"]), tuple(told["isolation"]["missing"]))
    return MachineIsolation(isolation, Shelter(**told["shelter"]))


def main() -> None:
    """Print what was found as JSON."""
    reader, writer = os.pipe()

    def tell() -> int:
        os.write(writer, json.dumps(asdict(leave_network_and_users(network=False))).encode())
        return 0

    in_child(tell)
    os.close(writer)
    isolation = json.loads(os.read(reader, 65536))
    try:
        server = ProgramServer.start()
        shelter = server.shelter
        server.close()
    except (ServerGone, NoFilter):
        shelter = Shelter()
    print(json.dumps({"isolation": isolation, "shelter": asdict(shelter)}))


if __name__ == "__main__":
    main()
