"""What the policy's states hold: a ridge regression told the true values of other prompts' states, as a yardstick.

No critic can have this teacher. If even it cannot tell states of a prompt apart, the last hidden states do not say in
a linear way what the answer is worth; if it can and a critic cannot, the critic is short of data or of learning.
"""

import time

import numpy as np
import torch
from jaxtyping import Float, Int

from critica.benches.critics_lesson import TOKENS
from critica.benches.critics_states import States
from critica.benches.critics_trial import DATA, Said
from critica.evaluation.critic_panel import AuditedStates, Predicted
from critica.functional.random import generator
from critica.records.arrays import scatter_sampled
from critica.records.evidence import HiddenStates
from critica.training.observe import Observer

PROBE = "probe"
FOLDS = 8
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1_000.0)


def probe(states: States, truth: AuditedStates) -> Said:
    """Cross-validated over prompts, on the policy's last hidden state before each audited token."""
    begun = time.process_time()
    batch = states.group.batch
    observer = Observer(states.world.policy, frozenset({HiddenStates}), TOKENS)
    observer.kept.tokens = 0
    flat = observer.observe(states.group.groups, batch)[HiddenStates].states
    rows = torch.tensor([place.row for place in states.places])
    columns = torch.tensor([place.column for place in states.places])
    features = scatter_sampled(flat, batch.sampled_mask)[rows, columns].double().numpy()
    value = cross_validated(features, truth.truth, truth.prompt, states.world.seed)
    seconds = time.process_time() - begun
    return Said(DATA, Predicted.of_points("", "ridge on states, told the truth", value), seconds, 0, 0, 0.0)


def cross_validated(
    features: Float[np.ndarray, "n D"], truth: Float[np.ndarray, "n"], prompt: Int[np.ndarray, "n"], seed: int
) -> Float[np.ndarray, "n"]:
    """Each prompt's states predicted from the others'; of `PENALTIES` the one with the least such error."""
    names = np.unique(prompt)
    fold = generator(seed, "critics bench/probe").permutation(len(names)) % min(FOLDS, len(names))
    of_state = fold[np.searchsorted(names, prompt)]
    tried = []
    for penalty in PENALTIES:
        value = np.empty(len(truth))
        for part in np.unique(fold):
            here = of_state == part
            value[here] = ridge(features[~here], truth[~here], features[here], penalty)
        tried.append((float(((value - truth) ** 2).mean()), value))
    return min(tried, key=lambda item: item[0])[1]


def ridge(
    known: Float[np.ndarray, "m D"], truth: Float[np.ndarray, "m"], asked: Float[np.ndarray, "k D"], penalty: float
) -> Float[np.ndarray, "k"]:
    """w = (X'X + penalty I)^-1 X'y on centered features of unit variance; the mean is not penalized."""
    middle, scale = known.mean(0), known.std(0) + 1e-9
    x = (known - middle) / scale
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (truth - truth.mean()))
    return truth.mean() + ((asked - middle) / scale) @ weights
