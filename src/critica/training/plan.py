"""What a run would do and need, worked out from the recipe alone: no model is loaded, nothing is sampled."""

from dataclasses import dataclass

from critica.critics.bodies import Body, LoraBody, OwnBody, SharedTrunk, SmallModel
from critica.critics.combine import body_of as body_of_part
from critica.critics.language import StatedValue
from critica.critics.sizes import head_parameters, holdings, law_numbers
from critica.curricula.growing import GrowingGroups
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.preference import PairLoss
from critica.objectives.regression import GroupRegression
from critica.policies.body_mode import meant_device, mode_of
from critica.policies.shape import ModelShape, read_shape
from critica.recipes.base import Recipe
from critica.records.evidence import ReferenceLogprobs
from critica.records.views import FrozenReference
from critica.training.critic_cost import CriticCost, critic_cost, describe_cost
from critica.training.rates import with_rates
from critica.training.view_costs import view_bytes, view_remarks
from critica.updaters.evolution import EvolutionStrategy
from critica.updaters.gradient import Adam

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers that follow from a recipe, and what is idle in it."""

    policy_parameters: int
    critic_parameters: int
    policy_learning_rate: float
    critic_learning_rate: float
    trajectories_per_step: int
    policy_updates_per_step: int
    policy_updates: int
    critic_updates: int
    longest_answer_tokens: int
    sampled_tokens_at_most: int
    weights_mib: float
    optimizer_mib: float
    activations_mib: float
    cache_mib: float
    critic_cost: CriticCost
    remarks: tuple[str, ...]

    @property
    def memory_mib(self) -> float:
        """Estimated peak: weights, gradients and moments, plus the larger of training and decoding."""
        return self.weights_mib + self.optimizer_mib + max(self.activations_mib, self.cache_mib)


def plan(recipe: Recipe) -> Plan:
    """Work the recipe out. Reads the model's config.json, never its weights."""
    recipe = with_rates(recipe)
    shape = read_shape(recipe.policy.path)
    body = critic_parameters(recipe, shape)
    answer = recipe.sampling.max_new_tokens or recipe.environment.answer_tokens(recipe.seed)
    rows = recipe.sampling.prompts_per_step * recipe.sampling.samples_per_prompt
    updates = recipe.learner.policy_epochs * recipe.learner.updates_per_epoch
    learning = recipe.steps - (recipe.learner.critic_warmup_steps if body else 0)
    gradients = isinstance(recipe.learner.policy, Adam) and recipe.curriculum.learns
    needs = (recipe.objective.needs if gradients else frozenset()) | recipe.placement.needs
    frozen = gradients and any(isinstance(spec, FrozenReference) for spec in recipe.objective.views)
    copies = 1 + (not recipe.policy.lora.rank and (ReferenceLogprobs in needs or frozen))  # adapters share their base
    moved = trained_parameters(recipe, shape)
    kept, update = (0, 3 * moved) if gradients else evolving(recipe, shape, moved)
    tokens = min(recipe.learner.tokens_per_microbatch, rows * (answer + shape.typical_prompt_tokens))
    own = isinstance(body_of(recipe), OwnBody | SmallModel | LoraBody)
    longest = answer * recipe.protocol.longest + shape.typical_prompt_tokens
    epochs = recipe.learner.critic_epochs * recipe.learner.replay.most
    passes = 2 if own and epochs * recipe.learner.updates_per_epoch == 1 else 1
    reads = passes * (gradients or body > 0 or bool(needs))
    mode = mode_of(recipe.policy, meant_device(recipe.policy))
    return Plan(
        policy_parameters=shape.parameters,
        critic_parameters=body,
        policy_learning_rate=recipe.learner.policy.learning_rate,
        critic_learning_rate=recipe.learner.critic.learning_rate,
        trajectories_per_step=rows,
        policy_updates_per_step=updates,
        policy_updates=max(0, learning) * updates * recipe.curriculum.learns,
        critic_updates=round(recipe.steps * (epochs if own else recipe.learner.policy_epochs)
                             * recipe.learner.updates_per_epoch) if body else 0,
        longest_answer_tokens=answer,
        sampled_tokens_at_most=rows * answer * recipe.protocol.longest * recipe.steps,
        weights_mib=4 * (shape.parameters * copies + kept + body) / MIB,
        optimizer_mib=4 * (update + 3 * body) / MIB,
        activations_mib=(reads * shape.activation_bytes(tokens, longest, mode.bf16, mode.checkpoint)
                         + law_bytes(recipe, rows * longest)
                         + view_bytes(recipe, rows * answer, shape.width)) / MIB,
        cache_mib=shape.cache_bytes(at_once(recipe), longest) / MIB,
        critic_cost=critic_cost(recipe, shape, answer),
        remarks=(*remarks(recipe, updates, bool(body)), *view_remarks(recipe, rows, answer, shape.width)),
    )  # fmt: skip


def evolving(recipe: Recipe, shape: ModelShape, moved: int) -> tuple[int, int]:
    """Numbers that a policy without gradients holds beside its weights: an anchor's, and three tensors of an update."""
    settings = recipe.learner.policy
    if isinstance(settings, Adam) or not recipe.curriculum.learns:
        return 0, 0
    largest = max(shape.vocabulary, shape.intermediate) * shape.width
    return moved * settings.anchor.needs_start, 3 * min(moved, largest)


def at_once(recipe: Recipe) -> int:
    """Rows that decode together: all of a step, or those of one member of a population."""
    alone = isinstance(recipe.learner.policy, EvolutionStrategy)
    return recipe.sampling.prompts_per_step * (1 if alone else recipe.sampling.samples_per_prompt)


def trained_parameters(recipe: Recipe, shape: ModelShape) -> int:
    """Numbers of the policy that receive gradients: all of them, or the adapters of every linear of every layer."""
    rank = recipe.policy.lora.rank
    return adapter_parameters(rank, shape) if rank else shape.parameters


def adapter_parameters(rank: int, shape: ModelShape) -> int:
    """Numbers of adapters of this rank on every linear of every layer."""
    inner, keys = shape.heads * shape.head_width, shape.key_value_heads * shape.head_width
    sides = 2 * (shape.width + inner) + 2 * (shape.width + keys) + 3 * (shape.width + shape.intermediate)
    return rank * shape.layers * sides


def law_bytes(recipe: Recipe, cells: int) -> float:
    """fp32 numbers of every law, and the samples and weights of its targets, on every cell of the step's grid."""
    return 4.0 * cells * sum(one.trained * law_numbers(one.part) for one in holdings(recipe.critic))


def body_of(recipe: Recipe) -> Body | None:
    """Where the critic (the first that learns, of several) reads its features; None for one that counts."""
    return next((body_of_part(one.part) for one in holdings(recipe.critic)), None)


def critic_parameters(recipe: Recipe, shape: ModelShape) -> int:
    """Numbers that the critic trains; one that writes is a copy of the policy."""
    writes = isinstance(recipe.critic, StatedValue) and recipe.critic.critic.copies_policy
    total = trained_parameters(recipe, shape) if writes else 0
    for one in holdings(recipe.critic):
        body = body_of_part(one.part)
        read = read_shape(body.path) if isinstance(body, SmallModel) else shape
        trunk = 0 if isinstance(body, SharedTrunk) else read.body_parameters
        if isinstance(body, LoraBody):
            trunk = adapter_parameters(body.rank, shape)
        total += one.trained * (trunk + head_parameters(one.part, read.width, shape.vocabulary))
    return total


def remarks(recipe: Recipe, updates: int, learned: bool) -> list[str]:
    """What follows from the numbers, and which settings are idle."""
    said = []
    learner, sampling = recipe.learner, recipe.sampling
    objective = recipe.objective
    centered = isinstance(objective, PolicyLoss) and objective.center == "proximal" and objective.surrogate.clips
    said += without_gradients(recipe)
    if updates == 1 and centered and not said:
        said.append("one policy update a step: the ratio is 1 and clipping can never bind")
    if updates == 1 and isinstance(objective, PairLoss | GroupRegression) and not objective.initial_share and not said:
        said.append("one policy update a step: the anchor is the policy itself, so the loss is a policy gradient")
    if not learned and learner.critic_warmup_steps:
        said.append("learner.critic_warmup_steps is idle: this critic counts and has nothing to pretrain")
    if not learned and learner.critic_epochs > 1:
        said.append("learner.critic_epochs is idle: this critic has no weights")
    if isinstance(body_of(recipe), SharedTrunk) and learner.critic_epochs != learner.policy_epochs:
        said.append("learner.critic_epochs is idle: on a shared trunk the critic learns in the policy's own passes")
    if learner.updates_per_epoch > sampling.prompts_per_step:
        said.append(f"learner.updates_per_epoch={learner.updates_per_epoch} exceeds the prompts of a step")
    if learned and sampling.samples_per_prompt > 1:
        said.append("a learned critic needs no siblings: more prompts with fewer samples cover more")
    if recipe.budget.idle(sampling.prompts_per_step, sampling.samples_per_prompt):
        said.append("the budget is idle: it has no sample to move from one prompt to another")
    said += recipe.idle_corrections()
    prompts, samples = sampling.prompts_per_step, sampling.samples_per_prompt
    if isinstance(recipe.curriculum, GrowingGroups) and recipe.curriculum.most_samples(prompts, samples) == samples:
        said.append(f"the groups never grow: {prompts} prompts cannot be halved; set sampling.prompts_per_step=16")
    if recipe.checkpoint.every > recipe.steps:
        said.append("checkpoint.every exceeds the steps: only the start and the end are saved")
    if learner.critic_warmup_steps >= recipe.steps:
        said.append("every step is critic warm-up: the policy never learns")
    return said


def without_gradients(recipe: Recipe) -> list[str]:
    """What is idle where the policy does not learn by the objective's gradient."""
    sampling, part = recipe.sampling, recipe.learner.policy
    if not recipe.curriculum.learns:
        return ["nobody learns: learner, objective, advantage and target are idle; no sample is trained on"]
    if isinstance(part, Adam):
        return []
    drift = part.learning_rate * (trained_parameters(recipe, read_shape(recipe.policy.path))
                                  / sampling.samples_per_prompt) ** 0.5  # fmt: skip
    return [
        "an evolution strategy reads told outcomes: the objective (clipping, penalties, mismatch) is idle, and the"
        " advantage decides no more than which prompts the books call masked",
        f"a population of {sampling.samples_per_prompt}, each member judged by {sampling.prompts_per_step} prompts; it"
        f" decodes {sampling.samples_per_prompt} times a step, and its updates have an L2 norm of about {drift:.2g}",
    ]


def computing(recipe: Recipe) -> str:
    """Where the models would be, and what they would compute in."""
    device = meant_device(recipe.policy)
    mode = mode_of(recipe.policy, device)
    said = f"{device}, weights {recipe.policy.dtype}"
    said += ", products of the body bf16 (autocast), heads and losses fp32" if mode.bf16 else ""
    return said + (", activations of a layer made again in the backward pass" if mode.checkpoint else "")


def spread_of(recipe: Recipe) -> str:
    """samples_per_prompt, and what a budget makes of it."""
    mean = recipe.sampling.samples_per_prompt
    fewest, most = recipe.budget.bounds(mean)
    grown = recipe.curriculum.most_samples(recipe.sampling.prompts_per_step, mean)
    if grown > mean:
        return f"{mean}, growing to at most {grown} as prompts fall"
    if fewest == most:
        return str(mean)
    most = min(most, recipe.sampling.prompts_per_step * (mean - fewest) + fewest)
    return f"{mean} on average{' at most' if recipe.budget.may_save else ''}, {fewest} to {most} a prompt"


def describe(planned: Plan, recipe: Recipe, prompts: str = "") -> str:
    """The plan for people; `prompts` says what is known of their lengths."""
    sampling, learner = recipe.sampling, recipe.learner
    moved = "gradients and moments" if isinstance(learner.policy, Adam) else "noise of the largest tensor"
    rows = [
        ("recipe", f"{recipe.name}: {recipe.paper.title}"),
        ("policy", f"{recipe.policy.path}, {planned.policy_parameters:,} parameters"),
        ("device", computing(recipe)),
        ("critic", f"{type(recipe.critic).__name__}: {describe_cost(planned.critic_cost)}"),
        ("prompts_per_step", str(sampling.prompts_per_step)),
        ("samples_per_prompt", spread_of(recipe) + f"  ->  {planned.trajectories_per_step} trajectories"),
        ("tokens_per_microbatch", f"{learner.tokens_per_microbatch:,}"),
        ("updates", f"{planned.policy_updates:,} of the policy, {planned.critic_updates:,} of the critic"),
        ("learning rates", f"policy {planned.policy_learning_rate:g}"
                           + (f", critic {planned.critic_learning_rate:g}" if planned.critic_parameters else "")),
        *([("prompts", prompts)] if prompts else []),
        ("answers", f"up to {planned.longest_answer_tokens} tokens; {planned.sampled_tokens_at_most:,} in all at most"),
        ("memory", f"about {planned.memory_mib:,.0f} MiB beside the libraries: weights {planned.weights_mib:,.0f},"
                   f" {moved} {planned.optimizer_mib:,.0f}, activations {planned.activations_mib:,.0f},"
                   f" decoding {planned.cache_mib:,.0f}"),
    ]  # fmt: skip
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    return "\n".join([*lines, *(f"note: {remark}" for remark in planned.remarks)])
