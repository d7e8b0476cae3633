"""Parts that do not go together, refused with the way out: populations, other laws of writing, prices of entropy."""

from typing import TYPE_CHECKING

from critica.advantages.best_only import BestOnly
from critica.advantages.count_weighted import CountWeighted
from critica.advantages.optimal_tilt import OptimalTilt
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.objectives.noise_entropy import NoiseEntropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.preference import PairLoss
from critica.objectives.regression import GroupRegression
from critica.policies.decoding import TokenByToken
from critica.rewards.correction_base import Uncorrected
from critica.rewards.noise import NoNoise
from critica.rollout.budget import Uniform
from critica.rollout.control import NoControl
from critica.rollout.given import Given
from critica.updaters.gradient import Adam

if TYPE_CHECKING:
    from critica.recipes.base import Recipe


def refuse_misfits(recipe: "Recipe") -> None:
    """Raise ValueError at the first pair of parts of this recipe that cannot work together."""
    refuse_greedy_gradients(recipe)
    refuse_unlike_population(recipe)
    refuse_other_laws(recipe)
    refuse_whole_laws(recipe)
    refuse_scaled_noise(recipe)
    refuse_second_baseline(recipe)
    refuse_lonely_answers(recipe)
    refuse_unheard_verdicts(recipe)
    recipe.curriculum.check_admission(recipe.admission.shows_silent)


def refuse_greedy_gradients(recipe: "Recipe") -> None:
    """Raise ValueError if answers are greedy and gradients wanted."""
    if recipe.sampling.temperature or not isinstance(recipe.learner.policy, Adam):
        return
    raise ValueError(
        "temperature must be above 0 in training by gradients, got 0: a greedy sample has no gradient to learn from;"
        " set sampling.temperature=1, or learner.policy=evolution"
    )


def refuse_unlike_population(recipe: "Recipe") -> None:
    """Raise ValueError if an evolution strategy meets a part that it would ignore or that knows one policy only."""
    if isinstance(recipe.learner.policy, Adam):
        return
    updates = recipe.learner.policy_epochs * recipe.learner.updates_per_epoch
    unlike = [
        (recipe.sampling.samples_per_prompt < 2,
         "a population has 2 members or more: set sampling.samples_per_prompt=30"),
        (not isinstance(recipe.critic, GroupMean | LeaveOneOut | NoBaseline),
         f"{type(recipe.critic).__name__} would never be read nor taught: set critic=group_mean"),
        (updates != 1, "outcomes pay for one update: set learner.policy_epochs=1 and learner.updates_per_epoch=1"),
        (not isinstance(recipe.budget, Uniform), "every member answers every prompt: set budget=uniform"),
        (not isinstance(recipe.control, NoControl), "members are decoded one by one: set control=none"),
        (not isinstance(recipe.decoding, TokenByToken), "members write token by token: set decoding=token_by_token"),
        (not recipe.protocol.single, "members write single answers: set protocol=single_turn"),
    ]  # fmt: skip
    for wrong, way in unlike:
        if wrong:
            raise ValueError(f"learner.policy is an evolution strategy, and {way}; or set learner.policy=adam")


def refuse_other_laws(recipe: "Recipe") -> None:
    """Raise ValueError if answers come from another law than the log-probs that come with them, and are learned from."""
    if recipe.decoding.trainable:
        return
    name = type(recipe.decoding).__name__
    if recipe.curriculum.learns:
        raise ValueError(
            f"decoding={name} writes answers whose own log-probs nobody knows, so no weight may learn from them: set"
            " curriculum=watching, or decoding=token_by_token"
        )
    if not isinstance(recipe.control, NoControl):
        raise ValueError(f"decoding={name} takes no decode control: set control=none")


def refuse_whole_laws(recipe: "Recipe") -> None:
    """Raise ValueError if sampling is truncated and a part reads whole next-token laws, or learns from none.

    Truncated log-probs are of laws over the tokens that were left; beside a law over the whole vocabulary they would
    be off by the mass of what was left out.
    """
    sampling, objective = recipe.sampling, recipe.objective
    if not recipe.sampling.limits(1).truncates:
        return
    said = f"sampling leaves tokens out (top_p={sampling.top_p:g}, top_k={sampling.top_k}, min_p={sampling.min_p:g})"
    if isinstance(recipe.learner.policy, Adam) and (objective.reads_laws or objective.views or objective.depths):
        raise ValueError(
            f"{said}, and objective={type(objective).__name__} compares whole next-token laws: set sampling.top_p=1,"
            " top_k=0 and min_p=0, or take an objective on the sampled tokens (clipped ratio, cispo, gspo)"
        )
    if not isinstance(recipe.decoding, TokenByToken):
        raise ValueError(
            f"{said}, and decoding={type(recipe.decoding).__name__} has a law of its own: set sampling.top_p=1, top_k=0"
            " and min_p=0, or decoding=token_by_token"
        )


def refuse_scaled_noise(recipe: "Recipe") -> None:
    """Raise ValueError if entropy is priced in units of the reward and advantages are not."""
    penalties = recipe.objective.penalties if isinstance(recipe.objective, PolicyLoss) else ()
    if any(isinstance(penalty, NoiseEntropy) for penalty in penalties) and recipe.advantage.scale_free:
        raise ValueError(
            "noise_entropy weighs entropy against the reward, and these advantages are divided by a spread: set"
            " advantage=outcome, whose scale is none, or take the penalty entropy"
        )


def refuse_second_baseline(recipe: "Recipe") -> None:
    """Raise ValueError if credit that compares a whole group meets a critic, or too few siblings."""
    rule = recipe.advantage
    if not isinstance(rule, CountWeighted | BestOnly):
        return
    name = "count_weighted" if isinstance(rule, CountWeighted) else "best_only"
    if not isinstance(recipe.critic, NoBaseline):
        raise ValueError(f"advantage={name} brings its own baseline: set critic=none")
    siblings, least = recipe.sampling.samples_per_prompt, 2
    if isinstance(rule, CountWeighted):
        least = max(1 if rule.baseline in ("none", "one") else 2, rule.weights.least_size)
    if siblings < least:
        raise ValueError(
            f"advantage={name} needs groups of {least} or more, and sampling.samples_per_prompt is {siblings}: set it"
            f" to {max(8, least)}"
        )


def refuse_lonely_answers(recipe: "Recipe") -> None:
    """Raise ValueError if an objective compares siblings and prompts get one answer."""
    compares = isinstance(recipe.objective, PairLoss | GroupRegression) or isinstance(recipe.advantage, OptimalTilt)
    if compares and isinstance(recipe.learner.policy, Adam) and recipe.sampling.samples_per_prompt < 2:
        raise ValueError(
            f"the {recipe.name!r} objective compares the answers of a prompt, so samples_per_prompt must be at least 2;"
            " set sampling.samples_per_prompt=8"
        )


def refuse_unheard_verdicts(recipe: "Recipe") -> None:
    """Raise ValueError if answers come from the data, of which nobody is asked, and verdicts are to be changed."""
    if not isinstance(recipe.protocol, Given):
        return
    for name, part, none in (("noise", recipe.noise, NoNoise), ("correction", recipe.correction, Uncorrected)):
        if not isinstance(part, none):
            raise ValueError(
                f"protocol=given takes the data's answers as they are and asks no source, so that {name}="
                f"{type(part).__name__} would change nothing: set {name}=none"
            )
