"""A run without a model: chain sums, right with a growing rate, a critic that learns to see it, flipped groups."""

from pathlib import Path

import numpy as np
import torch

from critica.evaluation.measure import measure
from critica.records.arrays import Advantages, Metric, Quantiles, RewardBatch, TokenBatch, ValuePrediction
from critica.records.run import LedgerEntry, RunManifest, StageSeconds, StepRecord
from critica.records.supervision import Failed, Reward, Scored, Tampering
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.store.run_folder import RunFolder

MANIFEST = RunManifest(
    recipe="dvpo", seed=7, critica_version="0.1.0", torch_version="2.13.0", python_version="3.11.7",
    machine="2 cores, 24 GiB", threads=2, created_at="2026-11-21T07:00:00+00:00", policy="pico",
    environment="chain_sum", noise="flip:0.2:group",
)  # fmt: skip
LEVELS = torch.tensor([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])


def _task(rng: np.random.Generator, name: str) -> tuple[Task, list[int]]:
    terms = [int(x) for x in rng.integers(1, 30, size=int(rng.integers(3, 6)))]
    question = "What is " + " + ".join(map(str, terms)) + "?"
    return Task(name, "chain_sum", (Message("user", question),), str(sum(terms))), terms


def _words(rng: np.random.Generator, terms: list[int], right: bool) -> list[str]:
    total, words = 0, []
    slip = -1 if right else int(rng.integers(1, len(terms)))
    for index, term in enumerate(terms):
        total += term + (int(rng.integers(1, 5)) if index == slip else 0)
        words += [" ", *str(total), ","] if index else []
    return [*words, " so", " the", " answer", " is", " ", *str(total), "<eos>"]


def _group(rng: np.random.Generator, step: int, index: int, samples: int, skill: float, script: str) -> Group:
    task, terms = _task(rng, f"chain_sum-{step}-{index}")
    prompt = tuple(ord(letter) for letter in task.prompt)
    members = []
    for sample in range(samples):
        words = _words(rng, terms, bool(rng.random() < skill))
        if script and sample == 0:
            words = [script, *words]
        logprobs = tuple(float(x) for x in np.minimum(-rng.exponential(0.3, len(words)), 0).astype(np.float32))
        ids = tuple(1000 + sum(map(ord, word)) for word in words)
        context = ContextTurn(task.messages[0], prompt)
        turn = SampledTurn(Message("assistant", "".join(words[:-1])), ids, logprobs, 1.0, step)
        name = f"s{step}-g{index}-{sample}"
        members.append(
            Trajectory(name, name, task.task_id, f"g{index}", "solver", (context, turn), StopReason.END_OF_TEXT)
        )
    return Group(f"g{index}", task, tuple(members))


def _batch(groups: tuple[Group, ...]) -> TokenBatch:
    rows = [(index, t) for index, group in enumerate(groups) for t in group.trajectories]
    width, count = max(t.token_count for _, t in rows), len(rows)
    ids, logprobs = torch.zeros(count, width, dtype=torch.long), torch.zeros(count, width)
    valid, sampled = torch.zeros(count, width, dtype=torch.bool), torch.zeros(count, width, dtype=torch.bool)
    node, turn = torch.full((count, width), -1), torch.zeros(count, width, dtype=torch.long)
    for n, (_, t) in enumerate(rows):
        prompt, written = t.turns
        start, end = len(prompt.token_ids), t.token_count
        ids[n, :end] = torch.tensor(prompt.token_ids + written.token_ids)
        valid[n, :end], sampled[n, start:end] = True, True
        logprobs[n, start:end] = torch.tensor(written.behavior_logprobs)
        node[n, start:end], turn[n, start:end] = torch.arange(end - start), 1
    whole = torch.zeros(count, dtype=torch.long)
    group_index = torch.tensor([index for index, _ in rows])
    return TokenBatch(
        ids, valid, sampled, turn, node, torch.ones(count, width), logprobs,
        torch.tensor([len(t.turns[0].token_ids) for _, t in rows]), group_index, group_index.clone(), whole,
        whole - 1, torch.arange(count), whole, tuple(t.stop for _, t in rows), tuple(t.trajectory_id for _, t in rows),
    )  # fmt: skip


def _rewards(groups: tuple[Group, ...], rng: np.random.Generator, flip: float) -> tuple[Reward, ...]:
    found = []
    for group in groups:
        flipped = bool(rng.random() < flip)
        for t in group.trajectories:
            clean = float(t.sampled_text.split()[-1] == group.task.answer)
            told = 1 - clean if flipped else clean
            outcome = Failed("the scorer timed out after 5 s") if rng.random() < 0.01 else Scored(told)
            clean = clean if isinstance(outcome, Scored) else float("nan")
            found.append(
                Reward("verifier", t.trajectory_id, outcome, tampering=Tampering("flip:0.2:group", clean, flipped))
            )
    return tuple(found)


def _told(rewards: tuple[Reward, ...], batch: TokenBatch) -> RewardBatch:
    outcome = torch.tensor([r.outcome.value if isinstance(r.outcome, Scored) else float("nan") for r in rewards])[
        :, None
    ]
    known, per_token = ~outcome.isnan(), torch.zeros(*batch.token_ids.shape, 1)
    per_token[torch.arange(batch.rows), batch.lengths - 1] = outcome.nan_to_num(0.0)
    return RewardBatch(("verifier",), outcome, known, torch.ones_like(outcome), per_token, (0.0,), (1.0,))


def _values(rng: np.random.Generator, batch: TokenBatch, clean: torch.Tensor, skill: float) -> ValuePrediction:
    spread = torch.from_numpy(rng.normal(0, 0.08, tuple(batch.token_ids.shape))).float()
    position = batch.node_index.clamp(min=0) / (batch.node_index.amax(-1, keepdim=True).clamp(min=1))
    sight = skill * position**1.5
    mean = ((1 - sight) * (0.25 + 0.4 * skill) + sight * clean.nan_to_num(0.5)[:, None] + spread).clamp(0.01, 0.99)
    mean = torch.where(batch.sampled_mask, mean, torch.zeros(()))
    width = 0.35 * (1 - 0.7 * sight) * torch.sqrt(mean * (1 - mean)).clamp(min=0)
    heads = torch.tensor([-0.03, 0.0, 0.03])[:, None]
    curves = mean[..., None, None] + width[..., None, None] * torch.special.ndtri(LEVELS.double()).float() + heads
    return ValuePrediction(mean, batch.sampled_mask, torch.zeros(batch.rows), Quantiles(LEVELS, curves))


def synthetic_step(
    step: int,
    *,
    steps: int = 40,
    prompts: int = 6,
    samples: int = 4,
    flip: float = 0.2,
    seed: int = 0,
    script: str = "",
) -> StepRecord:
    """Step `step` of a run of `steps`."""
    rng = np.random.default_rng([seed, step])
    skill = 0.35 + 0.5 * step / steps
    groups = tuple(_group(rng, step, i, samples, skill, script if i == 0 else "") for i in range(prompts))
    batch, rewards = _batch(groups), _rewards(groups, rng, flip)
    told = _told(rewards, batch)
    clean = torch.tensor([reward.clean_value for reward in rewards])
    values = _values(rng, batch, clean, 0.2 + 0.7 * step / steps)
    known = told.all_known[:, None] & batch.sampled_mask
    credit = torch.where(known, told.total.nan_to_num(0.0)[:, None] - values.mean, torch.zeros(()))
    advantages = Advantages(credit, known, torch.zeros(batch.rows, dtype=torch.bool), "gae")
    ledger = [
        LedgerEntry(r.trajectory_id, r.trajectory_id, "trained" if isinstance(r.outcome, Scored) else "failed",
                    "" if isinstance(r.outcome, Scored) else "the scorer timed out after 5 s")
        for r in rewards
    ]  # fmt: skip
    ledger += [LedgerEntry("", group.task.task_id, "trained") for group in groups]
    ledger += (
        [LedgerEntry("", f"dropped-{step}", "filtered", "all samples had the same reward")] if step % 3 == 0 else []
    )
    reports = (
        Metric("policy/entropy", 0.9 - 0.4 * step / steps, 1.0),
        Metric("policy/kl_behavior", 0.002 + 0.01 * rng.random(), 1.0),
        Metric("policy/kl_reference", 0.08 * step / steps, 1.0),
        Metric("policy/clip_fraction", 0.05 * rng.random(), 1.0),
        Metric("policy/grad_norm", 0.5 + rng.random(), 1.0), Metric("loss/policy", rng.normal() * 0.01, 1.0),
        Metric("critic/loss", 0.2 - 0.1 * step / steps, 1.0),
    )  # fmt: skip
    panel = measure(batch, rewards, told, values, advantages, reports, ledger=tuple(ledger))
    tokens = tuple(tuple([*t.turns[0].message.content, *_split(t)]) for group in groups for t in group.trajectories)
    clock = (StageSeconds("gather", 0.61), StageSeconds("update", 0.44))
    return StepRecord(
        step, groups, rewards, told, values, advantages, batch, panel.metrics, tokens, tuple(ledger), clock
    )


def _split(trajectory: Trajectory) -> list[str]:
    """Token texts whose ids and number are the sampled turn's: a script first if there is one."""
    turn = trajectory.turns[1]
    text, pieces = turn.message.content, []
    for token in turn.token_ids[:-1]:
        for end in range(1, len(text) + 1):
            if 1000 + sum(map(ord, text[:end])) == token:
                pieces.append(text[:end])
                text = text[end:]
                break
    assert not text, text
    return [*pieces, "<eos>"]


def synthetic_run(path: Path, steps: int = 40, **options: object) -> RunFolder:
    """A whole run folder, closed."""
    with RunFolder.create(path, MANIFEST, 'recipe = "dvpo"\n') as run:
        for step in range(1, steps + 1):
            run.append(step, synthetic_step(step, steps=steps, **options))
    return RunFolder.open(path)
