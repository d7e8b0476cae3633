"""A*-PO: the optimal value of a prompt from its answers' outcomes, then a regression of log-ratios on what exceeds it."""

from critica.advantages.optimal_tilt import OptimalTilt
from critica.critics.counted import NoBaseline
from critica.objectives.direct_advantage import LogRatioRegression
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe

A2PO = Recipe(
    name="a2po",
    paper=Paper("Accelerating RL for LLM Reasoning with Optimal Advantage Regression", "2505.20686"),
    critic=NoBaseline(),
    advantage=OptimalTilt(value_temperature=0.5, beta=1e-3),
    objective=LogRatioRegression(),
    provenance={
        "critic": PaperSays("no learned value: V* is worked out from samples"),
        "advantage": OurChoice(
            "V* from the step's siblings, weighted back to the reference", paper="eight answers of the reference, before training"
        ),
        "advantage.value_temperature": CodeSays("0.5 (TRL, experimental/a2po)"),
        "advantage.beta": CodeSays("1e-3 (TRL, experimental/a2po)"),
        "objective": PaperSays("least squares on the log-ratio to the reference; per answer, not per token"),
        "sampling.samples_per_prompt": OurChoice("as everywhere here; V* needs siblings", paper="1 in the second stage"),
    },
)  # fmt: skip
