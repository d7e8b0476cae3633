"""What a step's critic costs, worked out from the recipe alone: weights, operations, tokens that it has written.

Operations are multiply-adds times two of the matrix products: 2 per weight and token forward, twice that backward, and
the attention's share for the length. They say how costs compare; how long they take depends on the machine and on how
well it is used, which small critics do badly. What is measured is under benchmarks/.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from critica.critics.base import CriticPart
from critica.critics.blend import Blend
from critica.critics.bodies import SharedTrunk, SmallModel
from critica.critics.combine import Around
from critica.critics.combine import body_of as body_of_part
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.critics.fused_value import FusedValue
from critica.critics.greedy_answer import GreedyAnswer
from critica.critics.hista import HiddenNeighbors
from critica.critics.length_weighted import LengthWeighted
from critica.critics.monte_carlo import MonteCarloRollouts
from critica.critics.numca import NumberSets
from critica.critics.posterior import BetaPosterior
from critica.critics.prompt_value import PromptValue
from critica.critics.simulator import SimulatorRollouts
from critica.critics.sizes import head_parameters, holdings
from critica.critics.tempo import PrefixTree
from critica.critics.turn_mean import TurnMean
from critica.policies.shape import ModelShape, read_shape
from critica.recipes.base import Recipe
from critica.training.copies_cost import copies_of

WRITING = (MonteCarloRollouts, GreedyAnswer)  # they cost what the policy writes for them
FEATURES = 257  # of a prompt's text, in prompt_value
MOVE = 100.0  # operations of one move of a small game, about
TASK_BYTES, RECORD_BYTES = 60, 4 * FEATURES + 200  # of a task's tally; of a prompt kept with its text and features


@dataclass(frozen=True, slots=True)
class Workload:
    """One step: rows, tokens of a prompt and of an answer at most, prompts, samples of each."""

    prompts: int
    samples: int
    prompt_tokens: int
    answer_tokens: int

    @property
    def rows(self) -> int:
        """Trajectories."""
        return self.prompts * self.samples

    @property
    def cells(self) -> int:
        """Tokens of all rows, each with a prompt of its own."""
        return self.rows * (self.prompt_tokens + self.answer_tokens)


@dataclass(frozen=True, slots=True)
class CriticCost:
    """Per step, at the longest answers. `share` is of the operations of the whole step, sampling included.

    `held_parameters` counts copies that follow or are frozen too. `memory_mib`: weights, gradients, moments, and what a
    critic that counts keeps between steps. `sampled_tokens`: written for the critic alone, at most. `known` is false
    for a critic whose cost no rule here says, such as a user's own.
    """

    kind: str
    trained_parameters: int
    held_parameters: int
    memory_mib: float
    forward_gflop: float
    backward_gflop: float
    sampled_tokens: int
    share: float
    known: bool


def forward_flop(weights: int, shape: ModelShape, tokens: int, length: int) -> float:
    """2 per weight and token, and the two products of attention over half of `length` on average."""
    return tokens * (2.0 * weights + 2.0 * shape.layers * length * shape.heads * shape.head_width)


def _nothing(part: Any, load: Workload, shape: ModelShape) -> float:
    return 0.0


def _means(part: Any, load: Workload, shape: ModelShape) -> float:
    return 2.0 * load.rows


def _prefixes(part: Any, load: Workload, shape: ModelShape) -> float:
    return 4.0 * load.cells


def _numbers(part: Any, load: Workload, shape: ModelShape) -> float:
    return 20.0 * load.cells  # characters that a regular expression reads, several a token


def _neighbors(part: HiddenNeighbors, load: Workload, shape: ModelShape) -> float:
    kept = load.answer_tokens / part.window_tokens + 1
    return 2.0 * load.prompts * (load.samples * kept) ** 2 * shape.width


def _record(part: PromptValue, load: Workload, shape: ModelShape) -> float:
    return 2.0 * load.prompts * part.prompts * FEATURES


def _games(part: SimulatorRollouts, load: Workload, shape: ModelShape) -> float:
    """At most: no state met twice, every game as long as an answer; `stratify` plays as many for each legal action."""
    moves = min(part.max_steps, load.answer_tokens)
    return MOVE * load.rows * load.answer_tokens * part.rollouts * moves / 2


# Operations of a step for critics without weights, by part.
COUNTS: Mapping[type, Callable[[Any, Workload, ModelShape], float]] = MappingProxyType(
    {
        NoBaseline: _nothing,
        GroupMean: _means,
        LeaveOneOut: _means,
        LengthWeighted: _means,
        TurnMean: _means,
        BetaPosterior: _means,
        PrefixTree: _prefixes,
        NumberSets: _numbers,
        HiddenNeighbors: _neighbors,
        PromptValue: _record,
        SimulatorRollouts: _games,
        FusedValue: lambda part, load, shape: _record(part.prior, load, shape),
    }
)


def kept_bytes(part: CriticPart) -> float:
    """What a critic that counts remembers between steps, when its memory is full."""
    match part:
        case BetaPosterior(tasks=tasks):
            return float(TASK_BYTES * tasks)
        case NumberSets(states=states):
            return float(TASK_BYTES * states)
        case PromptValue(prompts=prompts):
            return float(RECORD_BYTES * prompts)
        case FusedValue(prior=prior):
            return kept_bytes(prior)
        case _:
            return 0.0


def sampled_tokens(part: CriticPart, load: Workload) -> int:
    """Tokens written for the critic alone: at most, from each distinct node to the longest answer."""
    if isinstance(part, GreedyAnswer):
        return load.prompts * load.answer_tokens
    if not isinstance(part, MonteCarloRollouts):
        return 0
    reach = -(-load.answer_tokens // part.gap_tokens)
    nodes = min(part.nodes or reach, reach)
    later = sum(load.answer_tokens - number * part.gap_tokens for number in range(1, nodes))
    first = load.prompts * load.answer_tokens if part.first == "fresh" else 0
    return part.continuations * (first + load.rows * later)


def leaves_of(part: CriticPart) -> list[CriticPart]:
    """The configurations that one is made of in the end; itself, if of no other."""
    if isinstance(part, Blend):
        return [*leaves_of(part.first), *leaves_of(part.second)]
    return leaves_of(part.critic) if isinstance(part, Around) else [part]


def critic_cost(recipe: Recipe, shape: ModelShape, answer_tokens: int) -> CriticCost:
    """The cost of the recipe's critic in a step of this policy with answers of at most so many tokens."""
    load = Workload(
        recipe.sampling.prompts_per_step, recipe.sampling.samples_per_prompt, shape.typical_prompt_tokens, answer_tokens
    )
    length = load.prompt_tokens + load.answer_tokens
    learner = recipe.learner
    trained = held = 0
    forward = backward = 0.0
    for one in holdings(recipe.critic):
        body = body_of_part(one.part)
        read = read_shape(body.path) if isinstance(body, SmallModel) else shape
        head = head_parameters(one.part, read.width, shape.vocabulary)
        trunk = 0 if isinstance(body, SharedTrunk) else read.body_parameters - read.vocabulary * read.width
        weights = head + (0 if isinstance(body, SharedTrunk) else read.body_parameters)
        trained, held = trained + one.trained * weights, held + one.held * weights
        tokens = load.cells if trunk else load.rows * load.answer_tokens
        once = forward_flop(head + trunk, read if trunk else _flat(read), tokens, length)
        epochs = learner.critic_epochs * learner.replay.most if trunk else learner.policy_epochs
        # The update takes the prediction's own forward pass over where it learns from it once.
        passes = epochs if epochs * learner.updates_per_epoch == 1 and one.held == one.trained else 1 + epochs
        forward += passes * once * one.trained
        backward += 2.0 * epochs * once * one.trained
    leaves = leaves_of(recipe.critic)
    found = [copies_of(leaf, load.prompts, load.rows, load.prompt_tokens, load.answer_tokens) for leaf in leaves]
    product = shape.parameters - (0 if shape.tied else shape.vocabulary * shape.width)
    for one in filter(None, found):
        trained, held = trained + one.trained * shape.parameters, held + one.held * shape.parameters
        epochs = learner.critic_epochs * learner.replay.most
        learned = epochs * forward_flop(product, shape, one.learned, one.length)
        forward += forward_flop(product, shape, one.predicted + one.written, one.length) + learned
        backward += 2.0 * learned
    counted = sum(COUNTS[type(leaf)](leaf, load, shape) for leaf in leaves if type(leaf) in COUNTS)
    sampled = sum(sampled_tokens(leaf, load) for leaf in leaves)
    per_token = forward_flop(product, shape, 1, length)
    forward += counted + sampled * per_token
    known = all(
        type(leaf) in COUNTS or isinstance(leaf, WRITING) or any(holdings(leaf)) or copies is not None
        for leaf, copies in zip(leaves, found, strict=True)
    )
    # Sampling reads every row once, and so does each epoch, whose backward pass is worth two.
    rest = load.cells * per_token * (1 + 3 * learner.policy_epochs)
    mine = forward + backward
    return CriticCost(
        kind="learns" if trained else "samples" if sampled else "counts" if known else "unknown",
        trained_parameters=trained,
        held_parameters=held,
        memory_mib=(4.0 * (held + 3 * trained) + sum(map(kept_bytes, leaves))) / 2**20,
        forward_gflop=forward / 1e9,
        backward_gflop=backward / 1e9,
        sampled_tokens=sampled + sum(one.written for one in found if one is not None),
        share=mine / (mine + rest),
        known=known,
    )


def _flat(shape: ModelShape) -> ModelShape:
    """The same model without layers: what a head on its own does."""
    from dataclasses import replace

    return replace(shape, layers=0)


def describe_cost(cost: CriticCost) -> str:
    """One line for people."""
    if not cost.known:
        return "not known for this critic: measure a few steps with `critica train` and read timing.jsonl"
    said = []
    if cost.trained_parameters:
        held = f", {cost.held_parameters:,} held" if cost.held_parameters != cost.trained_parameters else ""
        said.append(f"{cost.trained_parameters:,} trained parameters{held}")
    else:
        said.append("no weights")
    said.append(f"{_amount(cost.memory_mib)} MiB")
    said.append(f"{_amount(cost.forward_gflop)} GFLOP forward and {_amount(cost.backward_gflop)} backward a step")
    if cost.sampled_tokens:
        said.append(f"up to {cost.sampled_tokens:,} tokens sampled for it a step")
    return f"{', '.join(said)}; {_percent(cost.share)} of a step's operations, sampling included"


def _amount(value: float) -> str:
    return (
        "0" if value == 0 else "under 0.001" if value < 0.001 else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
    )


def _percent(share: float) -> str:
    return (
        "under 0.1%" if share < 0.001 else f"about {100 * share:.1f}%" if share < 0.1 else f"about {100 * share:.0f}%"
    )
