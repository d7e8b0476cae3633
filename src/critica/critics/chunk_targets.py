"""Targets at the steps of an answer: at the first token of each, and backed up over whole chunks."""

from dataclasses import dataclass, field

from critica.critics.targets import MonteCarlo, TargetRule
from critica.functional.backups import backed_up
from critica.functional.steps import rank_in_step, step_starts
from critica.records.arrays import RewardBatch, Samples, Scalar, TokenBatch, ValuePrediction, ValueTargets
from critica.records.protocols import CriticTraits


@dataclass(frozen=True, slots=True)
class StepStarts(TargetRule):
    """The targets of `inner` at the first token of each of the critic's steps, and nowhere else.

    A step is one state, so it is taught once, however long it is. With `MonteCarlo` it is the per-step Monte-Carlo
    target of Direct Advantage Policy Optimization (arXiv 2412.18279) from one continuation, the answer itself.
    """

    inner: TargetRule = field(default_factory=MonteCarlo)

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        targets = self.inner.build(batch, told, values)
        mask = targets.mask & step_starts(values.node_index(batch), targets.mask)
        if isinstance(targets, Samples):
            return Samples(targets.values, targets.weights, mask)
        if isinstance(targets, Scalar):
            return Scalar(targets.values.where(mask, 0.0), mask)
        raise TypeError(f"targets at the starts of steps are numbers or samples, not {type(targets).__name__}")

    def check(self, critic: CriticTraits) -> None:
        self.inner.check(critic)

    @property
    def distributional(self) -> bool:
        return self.inner.distributional


@dataclass(frozen=True, slots=True)
class ChunkBackup(TargetRule):
    """Targets of a chunk critic (Decoupled Q-chunking, arXiv 2512.10926), at two places of each chunk.

    Appending tokens is deterministic, so Q(s, chunk) = sum_k discount^k r_k + discount^h V(s + chunk) needs no network
    of its own, and the partial critic Q^P(s, first tokens) is a value of the prefix that they lead to. Where the first
    `partial_tokens` of a chunk have been written, Q^P is taught the rest of the chunk and V after it (the critic makes
    an expectile of that: distillation); at the chunk's start V is taught Q^P (a quantile or expectile: the implicit
    backup), or the whole chunk where it is no longer. `partial_tokens` 0: V is taught the whole chunk, no partial
    critic. After the last token comes nothing: its reward is the outcome.

    With the critic's levels at 1/2 and an expectile backup it reduces to TD(0) for chunks of one token, and for chunks
    as long as the answer to Monte-Carlo. Rows without an outcome are left out.
    """

    discount: float = 1.0
    partial_tokens: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must lie in [0, 1], got {self.discount}")
        if self.partial_tokens < 0:
            raise ValueError(
                f"partial_tokens counts tokens of a chunk, got {self.partial_tokens}; 0: no partial critic"
            )

    def build(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction) -> ValueTargets:
        mask = batch.sampled_mask & told.all_known[:, None]
        nodes = values.node_index(batch)
        taught = step_starts(nodes, mask)
        if self.partial_tokens:
            taught = taught | (mask & (rank_in_step(nodes, mask) == self.partial_tokens))
        found = backed_up(told.paid.where(mask, 0.0), values.mean, taught, mask, self.discount)
        return Scalar(found.where(taught, 0.0), taught)

    def check(self, critic: CriticTraits) -> None:
        TargetRule.check(self, critic)
        if critic.flat:
            raise ValueError("target=chunk_backup backs up from chunk to chunk; this critic has one value an answer:"
                             " set critic=chunk")  # fmt: skip
