"""The trl_parity bench: the same log-probs and advantages through TRL's own loss code and ours.

TRL runs in an environment of its own (`peer_environments.py`, or `--set python=...`). Both sides get the same numbers
in fp64: log-probs under the policy, at the start of the update, of the sampler and of a reference, and one advantage an
answer; answers differ in length. Compared are the loss and its gradient at every token.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from critica.benches.base import Bench, BenchFailed, Order, child_environment, say
from critica.benches.peer_environments import GRPO_PEER, ensure
from critica.functional.reduce import denominator, reduce
from critica.objectives.base import TokenScores
from critica.objectives.mismatch import StaleRows
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio, ClippedWeight, GammaWeight, SoftClip
from critica.recipes.config import apply_sets
from critica.records.arrays import Advantages, RewardBatch, TokenBatch
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.losses import Constant, SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums, TokenMean
from critica.training.group_estimator import step_batch

PEER = Path(__file__).with_name("peers") / "trl_losses.py"
LONGEST = 8
MEANS = SequenceMeanOfTokenMeans()
CLIP = ClippedRatio(0.2, 0.2)
ROW: dict[str, Any] = {"importance_sampling_level": "sequence"}

# What TRL is told, and what we say for it.
CASES: Mapping[str, tuple[dict[str, Any], PolicyLoss]] = MappingProxyType(
    {
        "grpo": ({}, PolicyLoss(CLIP, MEANS, mismatch=())),
        "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, PolicyLoss(ClippedRatio(0.2, 0.28), mismatch=())),
        "bnpo": ({"loss_type": "bnpo"}, PolicyLoss(CLIP, TokenMean(), mismatch=())),
        "dr_grpo": ({"loss_type": "dr_grpo"}, PolicyLoss(CLIP, Constant(LONGEST), mismatch=())),
        "two-sided clip": ({"delta": 1.5}, PolicyLoss(replace(CLIP, cap=1.5), MEANS, mismatch=())),
        "gspo": (
            {**ROW, "epsilon_low": 0.03, "epsilon_high": 0.04},
            PolicyLoss(ClippedRatio(0.03, 0.04), MEANS, "sequence_mean", mismatch=()),
        ),
        "luspo": (
            {**ROW, "loss_type": "luspo"},
            PolicyLoss(CLIP, SequenceMeanOfTokenSums(), "sequence_mean", mismatch=()),
        ),
        "cispo": ({"loss_type": "cispo", "epsilon_high": 1.2}, PolicyLoss(ClippedWeight(0.0, 1.2), mismatch=())),
        "sapo": ({"loss_type": "sapo"}, PolicyLoss(SoftClip(1.0, 1.05), MEANS, mismatch=())),
        "vespo": ({"loss_type": "vespo"}, PolicyLoss(GammaWeight(), TokenMean(), "sequence_sum", mismatch=())),
        "off-policy mask": ({"off_policy_mask_threshold": 0.1}, PolicyLoss(CLIP, MEANS, mismatch=(StaleRows(0.1),))),
        "k3": ({"beta": 0.04}, PolicyLoss(CLIP, MEANS, mismatch=(), penalties=(ReferenceKl(0.04),))),
        "k3, unbiased gradient": (
            {"beta": 0.04, "use_bias_correction_kl": True},
            PolicyLoss(CLIP, MEANS, mismatch=(), penalties=(ReferenceKl(0.04, off_policy=True),)),
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrlParitySettings:
    """`python` is an interpreter that has TRL (empty: one is made under .peers/); `batches` are drawn from `seed`."""

    python: str = ""
    batches: int = 4
    rows: int = 12
    seed: int = 0
    most: float = 1e-12


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences over the batches, and how large the numbers compared are."""

    case: str
    loss: float
    gradient: float
    largest_gradient: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """One batch: the arrays that both sides get."""

    batch: TokenBatch
    policy: torch.Tensor
    proximal: torch.Tensor
    reference: torch.Tensor
    advantage: torch.Tensor


def drawn(rows: int, seed: int) -> Numbers:
    """Answers of 1 to `LONGEST` tokens whose ratios reach beyond every clip."""
    source = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LONGEST + 1, (rows,), generator=source).tolist()
    lengths[0] = LONGEST
    batch = step_batch(lengths, torch.arange(rows) // 4)
    mask = batch.sampled_mask
    noise = torch.randn(4, *mask.shape, generator=source, dtype=torch.float64)
    policy = (-1.2 - noise[0].abs()).where(mask, 0.0)
    near = [(policy + width * one).where(mask, 0.0) for width, one in zip((0.3, 0.35, 0.6), noise[1:], strict=True)]
    advantage = torch.randn(rows, generator=source, dtype=torch.float64)
    return Numbers(replace(batch, behavior_logprobs=near[1]), policy, near[0], near[2], advantage)


def ours(objective: PolicyLoss, numbers: Numbers) -> tuple[float, torch.Tensor]:
    """Our loss and its gradient at the sampled tokens [N T-1]."""
    batch, mask = numbers.batch, numbers.batch.sampled_mask
    leaf = numbers.policy.clone().requires_grad_()
    silent = torch.zeros(batch.rows, dtype=torch.bool)
    credit = Advantages(numbers.advantage[:, None].expand(mask.shape).where(mask, 0.0), mask, silent, "given")
    outcome = torch.zeros(batch.rows, 1, dtype=torch.float64)
    known = torch.ones_like(outcome, dtype=torch.bool)
    told = RewardBatch(
        ("r",), outcome, known, outcome + 1, torch.zeros(*mask.shape, 1, dtype=torch.float64), (0.0,), (1.0,)
    )
    scores = TokenScores(leaf, numbers.proximal, torch.zeros_like(leaf))
    evidence = Evidence(ReferenceLogprobs("initial", numbers.reference))
    terms, _ = objective.terms(scores, batch, credit, evidence, told)
    masks = objective.masks(credit, told)
    loss = torch.stack([reduce(term, denominator(masks[term.name], term.reduction)) for term in terms]).sum()
    return loss.item(), torch.autograd.grad(loss, leaf)[0][:, 1:]


def theirs(python: str, numbers: Numbers) -> dict[str, Any]:
    """TRL's, for every case."""
    given = {
        "mask": numbers.batch.sampled_mask[:, 1:].double().tolist(), "policy": numbers.policy[:, 1:].tolist(),
        "old": numbers.proximal[:, 1:].tolist(), "sampling": numbers.batch.behavior_logprobs[:, 1:].tolist(),
        "reference": numbers.reference[:, 1:].tolist(), "advantages": numbers.advantage.tolist(),
        "cases": [told for told, _ in CASES.values()],
    }  # fmt: skip
    done = subprocess.run(
        (python, str(PEER)), input=json.dumps(given), capture_output=True, text=True, check=False,
        env={**child_environment(1), "PYTHONPATH": ""},
    )  # fmt: skip
    if done.returncode:
        raise BenchFailed(f"TRL's side failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_trl_parity(order: Order) -> Path:
    """Compare every case on every batch, write trl_parity.json and trl_parity.md."""
    settings = apply_sets(TrlParitySettings(), order.settings, {})
    python = settings.python or ensure(GRPO_PEER, say)
    if not python:
        raise BenchFailed("trl_parity needs TRL: name an interpreter that has it, --set python=/path/to/python")
    found: dict[str, Parity] = {}
    versions = {}
    for number in range(settings.batches):
        numbers = drawn(settings.rows, settings.seed + number)
        said = theirs(str(python), numbers)
        versions = {name: said[name] for name in ("trl", "torch")}
        for (name, (_, objective)), other in zip(CASES.items(), said["cases"], strict=True):
            loss, gradient = ours(objective, numbers)
            apart = gradient - torch.tensor(other["gradient"], dtype=torch.float64)
            one = Parity(name, abs(loss - other["loss"]), float(apart.abs().max()), float(gradient.abs().max()))
            kept = found.get(name, one)
            found[name] = Parity(
                name, max(kept.loss, one.loss), max(kept.gradient, one.gradient),
                max(kept.largest_gradient, one.largest_gradient),
            )  # fmt: skip
    return write(order, settings, list(found.values()), versions)


def write(order: Order, settings: TrlParitySettings, found: list[Parity], versions: Mapping[str, str]) -> Path:
    """The differences and the page."""
    order.out.mkdir(parents=True, exist_ok=True)
    content = {
        "command": "critica bench trl_parity", "settings": {**asdict(settings), "python": ""}, "versions": versions,
        "cases": [asdict(one) for one in found],
    }  # fmt: skip
    (order.out / "trl_parity.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = [
        "# Our policy losses and TRL's", "",
        f"Made by `critica bench trl_parity`: {settings.batches} batches of {settings.rows} answers of 1 to {LONGEST}"
        f" tokens, fp64, through `GRPOTrainer._compute_loss` of TRL {versions.get('trl')} and through ours. Largest"
        f" difference of the loss and of its gradient at any token; promised: at most {settings.most:g}.", "",
        "| TRL's setting | loss | gradient | largest gradient | verdict |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found:
        kept = max(one.loss, one.gradient) <= settings.most
        lines.append(
            f"| {one.case} | {one.loss:.1e} | {one.gradient:.1e} | {one.largest_gradient:.3f} |"
            f" {'pass' if kept else 'FAIL'} |"
        )
    page = order.out / "trl_parity.md"
    page.write_text("\n".join(lines) + "\n")
    return page


TRL_PARITY = Bench(
    "trl_parity", "whether our policy losses are TRL's, case by case", TrlParitySettings, run_trl_parity
)  # fmt: skip
