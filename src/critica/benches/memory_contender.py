"""One policy update in a process of its own, and what it held at most: printed as one line of JSON."""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from critica.benches.random_policy import random_batch, random_policy
from critica.critics.counted import NoBaselineCritic
from critica.curricula.base import Stage
from critica.functional import head
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.policies.body_mode import BodyMode
from critica.policies.language_model import LanguagePolicy
from critica.policies.numerics import configure, training_matmuls
from critica.policies.shape import ModelShape
from critica.records.arrays import Advantages, RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam

PROMPT = 8


def main() -> None:
    """Measure what the first argument describes."""
    asked = json.loads(sys.argv[1])
    configure(asked["threads"])
    if not asked["chunked"]:
        head.ENTRIES = sys.maxsize  # every micro-batch is one chunk's worth: the logits are made whole
    learn(learner_of(random_policy(64, 64, 1, 2 * PROMPT), 64), batch_of(2, 2 * PROMPT, 64))  # libraries are loaded
    before = resident("VmRSS")
    mode = BodyMode(into_grad=True)  # as every run's policy
    policy = random_policy(asked["vocabulary"], asked["width"], asked["layers"], asked["length"], mode=mode)
    learner = learner_of(policy, asked["tokens"])
    rows = asked["tokens"] // asked["length"]
    with training_matmuls():
        learn(learner, batch_of(2, 2 * PROMPT, asked["vocabulary"]))  # moments exist from the first update on
        whole = batch_of(2 * rows, asked["length"], asked["vocabulary"])
        activations = kept_by_body(policy, whole.select(torch.arange(rows)))
        Path("/proc/self/clear_refs").write_text("5")  # the largest resident size starts anew
        start = time.process_time()
        learn(learner, whole)
        seconds = time.process_time() - start
    weights = size_of(policy.model.parameters())
    shape = ModelShape(
        asked["width"], asked["layers"], max(1, asked["width"] // 64), max(1, asked["width"] // 128),
        min(64, asked["width"]), 3 * asked["width"], asked["vocabulary"], tied=True,
    )  # fmt: skip
    planned = 4 * weights + shape.activation_bytes(asked["tokens"], asked["length"])
    print(json.dumps({
        "tokens": asked["tokens"], "chunked": asked["chunked"], "peak": resident("VmHWM") - before,
        "weights": weights, "gradients": weights, "moments": 2 * weights, "activations": activations,
        "planned": planned, "seconds": seconds,
    }))  # fmt: skip


def resident(name: str) -> int:
    """Bytes that this process holds (`VmRSS`), or held at most (`VmHWM`)."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) * 1024


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes, each storage once."""
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())


def kept_by_body(policy: LanguagePolicy, batch: TokenBatch) -> int:
    """Bytes that the body's forward pass keeps for its backward pass, weights aside."""
    own = {weight.untyped_storage().data_ptr() for weight in policy.model.parameters()}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return kept[-1]  # an output kept with its own graph would hold itself, and never go

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = policy.sampled_states(batch)
    kept.append(states.detach())
    return size_of(one for one in kept if one.untyped_storage().data_ptr() not in own)


def batch_of(rows: int, length: int, vocabulary: int) -> TokenBatch:
    """Rows of one length, a few tokens of each a prompt."""
    return random_batch([length] * rows, [PROMPT] * rows, vocabulary)


def learner_of(policy: LanguagePolicy, tokens: int) -> Learner:
    """Who updates this policy in micro-batches of so many tokens."""
    optimizer = Optimizer(policy.trainable(), Adam(learning_rate=1e-6))
    schedule = Schedule(1, 1, 1, tokens)
    return Learner(policy, NoBaselineCritic(), PolicyLoss(ClippedRatio()), (optimizer, None), schedule, 0)


def learn(learner: Learner, batch: TokenBatch) -> None:
    """One policy update with credit that alternates between rows."""
    zeros = torch.zeros(batch.rows, 1)
    per_token = torch.zeros(*batch.token_ids.shape, 1)
    told = RewardBatch(("reward",), zeros, zeros == 0, zeros + 1, per_token, (0.0,), (1.0,))
    values = NoBaselineCritic().predict(batch, told, Evidence())
    sign = torch.where(torch.arange(batch.rows) % 2 == 0, 1.0, -1.0)[:, None]
    flat = torch.zeros(batch.rows, dtype=torch.bool)
    credit = Advantages(sign * batch.sampled_mask, batch.sampled_mask, flat, "alternating")
    lesson = Lesson(batch, told, credit, None, values, Evidence())
    learner.update(lesson, Stage("train", policy=True, critic=False), 1)


if __name__ == "__main__":
    main()
