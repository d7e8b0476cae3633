"""A reward head at the ends of sentences, taught by comparing siblings: a sentence earns what the value did there."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, ValueCritic
from critica.critics.bodies import Body, OwnBody, SharedTrunk
from critica.critics.learned import read_width
from critica.critics.pair_targets import PreferencePart
from critica.critics.scalar import scalar_head
from critica.critics.stepwise import StepCritic
from critica.functional.comparisons import bradley_terry
from critica.functional.gather import compact
from critica.functional.random import torch_generator
from critica.functional.sentence_rewards import attention_weights, response_score
from critica.functional.steps import Steps, over_steps, step_starts
from critica.policies.base import Backbone
from critica.records.arrays import Pairs, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class SentenceReward(PreferencePart):
    """v_0 before the answer, v_k after its k-th sentence; d_k = v_k - v_{k-1}; R = sum_k w_k d_k scores the answer.

    Sentence-level reward model (arXiv 2503.04793), taught by -log sigmoid(R_better - R_worse). Published are sentences,
    differences, an attention over them and the loss; the attention's form is ours: query the state after the answer,
    keys the states after each sentence, `attention` wide, w = n softmax(q k / sqrt(width)), so that weights have mean
    one; 0 switches it off (w = 1, R = v_n - v_0: a response-level reward model with the prompt as baseline). Only
    differences mean anything: v is in log-odds, not units of reward, and starts at 0. `steps` says what a sentence is.
    Use it with target=sibling_pairs and advantage=shaped_outcome, where outcomes only rank answers; not for calibrated
    values, nor for code and lists, which sentences cut badly. Attention can hide the reward in one sentence. Needs a
    body of its own (states after the last token are trained too); costs `ScalarCritic` and one forward pass more.
    """

    steps: Steps = Steps("sentences")
    attention: int = 16
    body: Body = field(default_factory=OwnBody)
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.attention < 0 or self.hidden < 0:
            raise ValueError("attention and hidden count units and cannot be negative; 0 switches them off")
        if isinstance(self.body, SharedTrunk):
            raise ValueError("critic.body=shared gives no states after the last token; set critic.body=own or small")

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        assert reader is not None
        width = read_width(reader, context)
        parts = {"value": scalar_head(width, self.hidden, context.seed)}
        for name in ("query", "key") if self.attention else ():
            parts[name] = projection(width, self.attention, context.seed, name)
        return LiveSentenceReward(self, reader, nn.ModuleDict(parts), context)


def projection(width: int, size: int, seed: int, name: str) -> nn.Module:
    """A linear map of drawn weights."""
    made = nn.Linear(width, size, bias=False)
    with torch.no_grad():
        made.weight.normal_(0.0, width**-0.5, generator=torch_generator(seed, "critic/attention", name))
    return made


class LiveSentenceReward(StepCritic):
    """A sentence-level reward model with weights; its states are those before sampled tokens, then the rows' ends."""

    def __init__(self, part: SentenceReward, reader: Backbone, heads: nn.Module, context: CriticContext) -> None:
        super().__init__(part.steps, part.body, reader, heads, context)
        self.part = part

    def _read_body(self, body: Backbone, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        self.kept.tokens = 0  # what is kept are states before tokens alone
        return super()._read_body(body, batch)

    def states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The body's states before each sampled token, and after each row's last one, with gradient."""
        assert self.body is not None
        return torch.cat(self.body.sampled_and_final_states(batch))

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        before, after, score, nodes = self._parts_of(batch, states, ends)
        mean = over_steps(scatter_sampled(before, batch.sampled_mask), nodes, batch.sampled_mask)
        return ValuePrediction(mean, batch.sampled_mask, after, nodes=nodes, scores=score[:, None])

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        if not isinstance(targets, Pairs):
            raise TypeError(f"a sentence-level reward model learns from comparisons, not {type(targets).__name__};"
                            " set target=sibling_pairs")  # fmt: skip
        count = int(batch.sampled_mask.sum())
        score = self._parts_of(batch, states[:count], states[count:])[2]
        loss = bradley_terry(
            score, targets.opponents[..., 0].to(score), targets.better.to(score), targets.weights.to(score)
        )
        grid = torch.where(targets.mask, loss[:, None], torch.zeros_like(loss[:, None]))
        return (LossTerm("bradley_terry", grid, targets.mask, 1.0, TokenMean()),)

    def _parts_of(
        self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]
    ) -> tuple[Float[Tensor, "S"], Float[Tensor, "N"], Float[Tensor, "N"], Tensor]:
        """v before each token, v after the answer, the answer's score, and its sentences."""
        assert isinstance(self.head, nn.ModuleDict)
        mask, nodes = batch.sampled_mask, self.nodes(batch)
        before, after = (self.head["value"](part).squeeze(-1) for part in (states, ends))
        starts = step_starts(nodes, mask)
        opening, counts = compact(scatter_sampled(before, mask), starts)
        place = torch.arange(opening.shape[1], device=opening.device)
        present, last = place < counts[:, None], place == counts[:, None] - 1
        closing = torch.where(last, after[:, None], opening.roll(-1, 1))
        weights = torch.ones_like(opening)
        if self.part.attention:
            heads = compact(scatter_sampled(states, mask), starts)[0]
            shut = torch.where(last[..., None], ends[:, None], heads.roll(-1, 1))
            weights = attention_weights(self.head["query"](ends), self.head["key"](shut), present)
        return before, after, response_score(opening, closing, weights * present), nodes
