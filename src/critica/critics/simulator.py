"""ProAct's Monte-Carlo critic: a state is worth what a player who moves at random makes of it."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.identity import tasks_of_rows
from critica.critics.random_play import RandomPlay
from critica.policies.base import TrainablePolicy
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, Groups, Snapshots
from critica.records.words import Task


@dataclass(frozen=True, slots=True)
class SimulatorRollouts(CriticPart):
    """V_mc(s) = mean discounted return of `rollouts` games from environment state s by the uniformly random policy.

    The Monte-Carlo critic of ProAct (arXiv 2602.05327), without a network; its MC-PPO is `blend` of 0.9 of this and
    0.1 of a learned value, under `advantage=gae` with decay 0. A node is a turn: the tokens up to and including the
    one that changes the state. It is read before the turn's first token, so it never sees the action; the released
    code reads its network near the end of the turn's own answer, which does. `stratify` averages Q_mc(s, a) over the
    legal first actions instead, `rollouts` for each: the same value with less variance. With it and weight 1,
    r + V_mc(s') - V_mc(s) is also what MC-GRPO gives a group of equal actions, but for that state's scale.

    V^random is not V^policy: low where success is rare, and flat where random play never succeeds; good as an
    ordering of states. Use it where the environment can be put back (token games) and a thousand random games are
    cheap; not with declared noise, which a simulator sees through, nor with a length penalty, which it does not know.
    Costs the distinct states that the games visit, once for each (task, state).
    """

    rollouts: int = 1000
    discount: float = 1.0
    max_steps: int = 1000
    stratify: bool = False

    def __post_init__(self) -> None:
        if self.rollouts < 1 or self.max_steps < 1:
            raise ValueError("rollouts and max_steps must be at least 1")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must lie in [0, 1], got {self.discount}")

    def build(self, context: CriticContext) -> ValueCritic:
        return SimulatorCritic(self, context.policy, context.seed)


class SimulatorCritic(ValueCritic):
    """Puts the environment back to every state of every answer; what it keeps can always be simulated again."""

    needs = frozenset({Groups, Snapshots})

    def __init__(self, part: SimulatorRollouts, policy: TrainablePolicy, seed: int) -> None:
        self.part, self.policy = part, policy
        self.play = RandomPlay(part.rollouts, part.discount, part.max_steps, seed)

    @torch.no_grad()
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        grid = torch.zeros(batch.token_ids.shape, dtype=torch.float64, device=batch.device)
        nodes = torch.full_like(batch.node_index, -1)
        for row, task in enumerate(tasks_of_rows(batch, evidence)):
            columns = batch.sampled_mask[row].nonzero().squeeze(-1).tolist()
            states = self.states(evidence, task, batch.token_ids[row, columns].tolist())
            node = -1
            for t, (column, state) in enumerate(zip(columns, states, strict=True)):
                node += t == 0 or state != states[t - 1]
                grid[row, column] = self.value(evidence, task, state)
                nodes[row, column] = node
        dtype, mask = batch.behavior_logprobs.dtype, batch.sampled_mask
        return ValuePrediction(
            grid.to(dtype), mask, bootstrap=batch.behavior_logprobs.new_zeros(batch.rows),
            support=(mask * float(self.part.rollouts)).to(dtype), nodes=nodes,
        )  # fmt: skip

    def states(self, evidence: Evidence, task: Task, written: list[int]) -> list[Hashable]:
        """The environment's state before each of these tokens."""
        environment = evidence[Snapshots].environment
        return [environment.snapshot(task, self.policy.decode_text(written[:t])) for t in range(len(written))]

    def value(self, evidence: Evidence, task: Task, state: Hashable) -> float:
        """V_mc of one state."""
        environment = evidence[Snapshots].environment
        legal = environment.legal_actions(task, state) if self.part.stratify else ()
        if not legal:
            return self.play.value(environment, task, state)
        return sum(self.play.action_value(environment, task, state, action) for action in legal) / len(legal)
