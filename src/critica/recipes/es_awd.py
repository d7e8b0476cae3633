"""ES + AWD: an evolution strategy over all weights, with a pull toward the weights that it began with."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe, Sampling
from critica.updaters.evolution import EvolutionStrategy, L2Anchor

ES_AWD = Recipe(
    name="es_awd",
    paper=Paper("Evolution strategies with anchored weight decay", "2605.30148"),
    critic=GroupMean(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient()),
    sampling=Sampling(prompts_per_step=16, samples_per_prompt=30, temperature=0.0),
    learner=replace(
        Learner(), policy=EvolutionStrategy(learning_rate=5e-4, sigma=1e-3, anchor=L2Anchor(strength=10.0))
    ),
    provenance={
        "learner.policy.learning_rate": CodeSays("es-fine-tuning-paper (2509.24372): alpha 5e-4, sigma absorbed"),
        "learner.policy.sigma": CodeSays("es-fine-tuning-paper: sigma 1e-3"),
        "learner.policy.anchor": PaperSays("reference value of the l2 pull: 10 at learning rate 5e-4 (l1: 0.01)"),
        "sampling.samples_per_prompt": CodeSays("es-fine-tuning-paper: a population of 30"),
        "sampling.temperature": CodeSays("es-fine-tuning-paper: greedy decoding"),
        "sampling.prompts_per_step": OurChoice("a step's prompts are new, as everywhere here", paper="all 200 tasks"),
        "objective": OurChoice("idle: outcomes are read, not log-probs"),
        "critic": OurChoice("for the books: prompts on which all members fared alike say nothing"),
    },
)
