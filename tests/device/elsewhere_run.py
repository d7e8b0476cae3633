"""Trains recipes in a process of its own: `python -m device.elsewhere_run pretend|cpu FOLDER OUT RECIPE…`.

One line of JSON each; without names the whole catalogue, which takes minutes.
"""

import json
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from device import pretend

PLACE, FOLDER, OUT, *NAMES = sys.argv[1:]
KEPT = pretend.register() if PLACE == pretend.NAME else ()

from critica.environments.digit_sum import DigitSum  # noqa: E402 - the device comes first
from critica.policies.part import LocalPolicy  # noqa: E402
from critica.recipes.base import Checkpoints, Recipe, Safety, Sampling  # noqa: E402
from critica.recipes.catalogue import RECIPES  # noqa: E402
from critica.training.run import train  # noqa: E402
from critica.updaters.gradient import Adam  # noqa: E402


def cut(name: str) -> Recipe:
    """Two steps of 2 prompts and 4 samples, on the device."""
    recipe = RECIPES[name]
    learner = replace(
        recipe.learner, policy=Adam(1e-3), critic=Adam(1e-3), tokens_per_microbatch=64, critic_warmup_steps=0
    )
    return replace(
        recipe, policy=LocalPolicy(FOLDER, device=PLACE, precision="fp32"), environment=DigitSum(), seed=5, steps=2,
        sampling=Sampling(2, 4, 1.0, 6), learner=learner, admission=RECIPES["grpo"].admission, threads=1,
        checkpoint=Checkpoints(every=1), safety=Safety(rehearsal=False),
    )  # fmt: skip


def main() -> None:
    """Two steps of each."""
    for name in NAMES or RECIPES:
        run = Path(OUT) / name
        try:
            train(cut(name), run)
        except Exception as error:
            where = [f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
            own = [place for place in where if "critica" in place][-3:]
            print(json.dumps({"recipe": name, "error": f"{type(error).__name__}: {error}"[:400], "where": own}))
            continue
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        print(json.dumps({"recipe": name, "error": "", "metrics": lines}), flush=True)
    if PLACE == pretend.NAME:
        print(json.dumps({"seeds": len(pretend.Module.seeds)}))
    sys.stdout.flush()
    os._exit(0)  # the pretended device's threads are never joined


if __name__ == "__main__":
    main()
