"""The state as a set of numbers: what samples that had computed the same numbers went on to earn."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.identity import Pending, reward_span, scaled_returns, tasks_of_rows
from critica.critics.tallies import Tallies
from critica.functional.number_sets import merge_close, number_boundaries, number_states
from critica.policies.base import TrainablePolicy
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, Groups

States = tuple[tuple[int, str], ...]  # (column from which on the state holds, its name), the empty set first


@dataclass(frozen=True, slots=True)
class NumberSets(CriticPart):
    """V(state) = mean return of the prompt's samples that passed through it; a state is the set of numbers so far.

    Numca (arXiv 2605.29782). Numbers are runs of digits in the tokens' texts after the prompt, each known once the
    character after it is written; the answer's last number is left out (`drop_last`). `interval_tokens` merges
    boundaries closer than that (50 in the paper, where it looks ahead by as much; 1: none). The table of a prompt is
    kept across steps, faded with `half_life_steps`, at most `states` of them (0: this step's group alone).
    `leave_one_out` takes the sample's own outcome out: a set visited once is otherwise worth its own outcome.
    Use it for arithmetic and worked mathematics with several samples a prompt; not for text without numbers, where it
    is the group mean, nor when numbers come in any order at random. Use advantage=node_gae, or outcome.
    Reduces to the group mean (leave-one-out mean) without numbers, to a prefix tree if every token is a new number.
    Costs a regular expression a row. Token texts are read one by one: tokenizers that hide a blank between two tokens
    (some SentencePiece ones) can glue two numbers.
    """

    interval_tokens: int = 1
    drop_last: bool = True
    leave_one_out: bool = False
    half_life_steps: float = 100.0
    states: int = 20_000
    group_based: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.interval_tokens < 0 or self.states < 0:
            raise ValueError("interval_tokens and states cannot be negative")
        if not self.half_life_steps > 0:
            raise ValueError(f"half_life_steps must be above 0, got {self.half_life_steps}; inf: nothing ever fades")

    def build(self, context: CriticContext) -> ValueCritic:
        return NumberSetsCritic(self, context.policy)


class NumberSetsCritic(ValueCritic):
    """A table of number sets, this step's by group and earlier steps' by task."""

    needs = frozenset({Groups})

    def __init__(self, part: NumberSets, policy: TrainablePolicy) -> None:
        self.part, self.policy = part, policy
        self.memory = Tallies(part.states, part.half_life_steps)
        self._pending = Pending()
        self._states: tuple[States, ...] = ()

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        names = tuple(task.task_id for task in tasks_of_rows(batch, evidence))
        self._pending.keep(batch, names)
        self._states = self.states(batch)
        returns, known = (item.tolist() for item in scaled_returns(told))
        groups = batch.group_index.tolist()
        table: dict[tuple[int, str], tuple[int, float]] = {}
        for row, states in enumerate(self._states):
            for _, state in states if known[row] else ():
                count, total = table.get((groups[row], state), (0, 0.0))
                table[groups[row], state] = (count + 1, total + returns[row])
        low, span = reward_span(told)
        grid = torch.zeros(3, *batch.token_ids.shape, dtype=torch.float64, device=batch.device)  # value, support, node
        after = torch.zeros(batch.rows, dtype=torch.float64, device=batch.device)
        for row, states in enumerate(self._states):
            own = (1, returns[row]) if self.part.leave_one_out and known[row] else (0, 0.0)
            held = 0.0
            for node, (start, state) in enumerate(states):
                count, total = table.get((groups[row], state), (0, 0.0))
                old_count, old_total = self.memory.read(state_key(names[row], state))
                count, total = count - own[0] + old_count, total - own[1] + old_total
                held = total / count if count > 0 else held
                grid[0, row, start:], grid[1, row, start:], grid[2, row, start:] = low + span * held, count, node
            after[row] = low + span * held
        return self._prediction(batch, grid, after)

    def _prediction(self, batch: TokenBatch, grid: torch.Tensor, after: torch.Tensor) -> ValuePrediction:
        """Values on the sampled tokens of rows whose empty set somebody stands behind."""
        dtype = batch.behavior_logprobs.dtype
        start = batch.prefix_length.clamp(max=batch.token_ids.shape[1] - 1)
        behind = grid[1].gather(1, start[:, None])[:, 0]
        mask = batch.sampled_mask & (behind > 0)[:, None]
        nodes = torch.where(batch.sampled_mask, grid[2].long(), -1)
        return ValuePrediction(
            grid[0].to(dtype).where(mask, 0.0), mask, bootstrap=after.to(dtype).where(behind > 0, 0.0),
            support=grid[1].to(dtype).where(mask, 0.0), uses_own_outcome=not self.part.leave_one_out,
            uses_siblings=True, nodes=nodes,
        )  # fmt: skip

    def states(self, batch: TokenBatch) -> tuple[States, ...]:
        """The states that each row passes through and the columns where they begin."""
        found = []
        texts = self.policy.token_texts(batch)
        for pieces, prompt in zip(texts, batch.prefix_length.tolist(), strict=True):
            boundaries = number_boundaries(pieces[prompt:], self.part.drop_last)
            path = number_states(merge_close(boundaries, self.part.interval_tokens))
            found.append(tuple((prompt + start, state) for start, state in path))
        return tuple(found)

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None:
        """Add each known outcome once to every state that its row passed through."""
        names = self._pending.take(batch)
        returns, known = scaled_returns(told)
        news: dict[str, tuple[float, float]] = {}
        for row, (states, value, fine) in enumerate(zip(self._states, returns.tolist(), known.tolist(), strict=True)):
            for _, state in states if fine and self.part.states else ():
                key = state_key(names[row], state)
                count, total = news.get(key, (0.0, 0.0))
                news[key] = (count + 1.0, total + value)
        self.memory.tick(news, (float(known.sum()), float(returns.sum())))

    def state_dict(self) -> dict[str, Any]:
        """The table."""
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the table."""
        self.memory.load_state_dict(state)


def state_key(task_id: str, state: str) -> str:
    """A short name for a set of numbers of one task: 64 bits stand for the set."""
    return f"{task_id}|{hashlib.blake2b(state.encode(), digest_size=8).hexdigest() if state else ''}"
