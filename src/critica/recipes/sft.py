"""Supervised fine-tuning: answers come from the data, the loss is their cross-entropy; a stage before any other."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import NoBaseline
from critica.objectives.cross_entropy import CrossEntropyLoss
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe, Sampling
from critica.rollout.given import Given
from critica.updaters.gradient import Adam

SFT = Recipe(
    name="sft",
    paper=Paper(
        "Training language models to follow instructions with human feedback (the supervised stage)", "2203.02155"
    ),
    critic=NoBaseline(),
    advantage=Outcome(scale="none"),
    objective=CrossEntropyLoss(),
    protocol=Given(),
    sampling=Sampling(prompts_per_step=64, samples_per_prompt=1),
    learner=replace(Learner(), policy=Adam()),
    provenance={
        "objective": PaperSays(
            "section 3.5: the demonstrations' cross-entropy; completions only, as every library has it"
        ),
        "objective.smoothing": OurChoice("0: the data is meant to be imitated as it is"),
        "objective.reduction": OurChoice("tokens weigh alike over the whole step, as TRL and verl count them"),
        "protocol.answers": OurChoice("the environment's own worked answers, until a file's column is named"),
        "sampling.prompts_per_step": OurChoice("a common batch for small models", paper="32, GPT-3 175B: 8"),
        "sampling.samples_per_prompt": OurChoice("one demonstration a prompt"),
        "learner.policy.learning_rate": OurChoice(
            "by the size of the model", paper="9.65e-6 for 6B, cosine, 16 epochs"
        ),
    },
)
