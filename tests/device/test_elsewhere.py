"""Whole steps on a device that refuses every operation that mixes it with the CPU, and their numbers beside the CPU's.

dvpo: a body of its own, quantiles, samples of a target, credit over tokens. hista: counted, from hidden states. dr_dpo:
pairs of rows, which are read piece by piece and pulled at together.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("dvpo", "hista", "dr_dpo")
COMPARED = ("loss/", "policy/grad_norm", "critic/grad_norm", "policy/entropy", "reward/")


def trained(place: str, folder: Path, out: Path, root: Path) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "device.elsewhere_run", place, str(folder), str(out), *NAMES],
        capture_output=True, text=True, cwd=out,
        env={**os.environ, "PYTHONPATH": f"{root / 'tests'}:{root / 'src'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_steps_elsewhere_mix_no_devices_and_say_what_the_cpu_says(tiny_folder, tmp_path, root):
    """Decoding, critics, credit, losses, optimizers and checkpoints: three recipes, two steps each."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    *far, seeds = trained("pretend", tiny_folder, tmp_path / "far", root)
    near = trained("cpu", tiny_folder, tmp_path / "near", root)
    assert [one["recipe"] for one in far] == list(NAMES)
    for there, here in zip(far, near, strict=True):
        assert not there["error"], there
        assert not here["error"], here
        for first, second in zip(there["metrics"], here["metrics"], strict=True):
            names = [name for name in second if name.startswith(COMPARED)]
            assert names
            for name in names:
                assert math.isclose(first[name], second[name], rel_tol=2e-3, abs_tol=1e-5), (there["recipe"], name)
    assert seeds["seeds"] >= 2 * len(NAMES)  # the device's generator is set anew for every step, from (seed, step)


PROBE = """
from device import pretend
KEPT = pretend.register()
import torch
far, near = torch.ones(3, device="pretend"), torch.ones(3)
refused = []
for act in (lambda: far + near, lambda: near[far.long()], lambda: torch.cat((far, near)), lambda: far.numpy(),
            lambda: torch.randperm(3, generator=torch.Generator(), device="pretend")):
    try:
        act()
        refused.append("")
    except (pretend.MixedDevices, TypeError) as error:
        refused.append(type(error).__name__)
weight = torch.full((3,), 2.0).to("pretend").requires_grad_()
((far + far.new_tensor(1.0)) * weight * torch.tensor(3.0)).sum().backward()
print(refused, weight.grad.tolist(), weight.grad.device.type, flush=True)
import os
os._exit(0)
"""


def test_the_pretended_device_refuses_and_computes(root):
    """Else the test above could not fail. A number without dimension may come from the CPU, as with CUDA."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{root / 'tests'}:{root / 'src'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == (
        "['MixedDevices', 'MixedDevices', 'MixedDevices', 'TypeError', 'MixedDevices'] [6.0, 6.0, 6.0] pretend"
    ), done.stderr[-2000:]
