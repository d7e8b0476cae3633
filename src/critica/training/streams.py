"""The global random generators, counted by step: whoever draws from them draws the same after a resume."""

import random

import numpy as np
import torch

from critica.functional.random import stream_key


def seed_step(seed: int, step: int) -> None:
    """Set torch's, numpy's and Python's global generators for this step.

    Critica itself draws by identity and never from these; dropout does, and a user's own critic may.
    """
    key = stream_key(seed, "step", step)
    torch.manual_seed(key % 2**63)
    np.random.seed(key % 2**32)
    random.seed(key)
