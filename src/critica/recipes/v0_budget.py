"""V_0 as baseline and as budget: prompts that promise instructive failures get more of the step's samples."""

from dataclasses import replace

from critica.recipes.base import OurChoice, PaperSays
from critica.recipes.v0 import V0
from critica.rollout.forecast_budgets import ExpectedFailures

V0_BUDGET = replace(
    V0,
    name="v0_budget",
    budget=ExpectedFailures(fewest=2, most=32, exact=False),
    provenance={
        **{path: source for path, source in V0.provenance.items() if path != "sampling.samples_per_prompt"},
        "budget": PaperSays("greedy on B (1 - p) [1 - (1 - p)^(B - 1)], the expected failures of a mixed group"),
        "budget.fewest": PaperSays("B from 2 to 128"),
        "budget.most": OurChoice(
            "four times the average of 8: one prompt cannot take a fifth of the step", paper="128"
        ),
        "budget.exact": PaperSays("greedy; --set budget.exact=true finds the best allocation of the same utility"),
        "sampling.samples_per_prompt": OurChoice("the average; as the other recipes", paper="not known to us"),
    },
)
