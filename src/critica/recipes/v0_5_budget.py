"""V_0.5 with its dynamic budget: two samples a prompt, and more where they contradict the prior."""

from dataclasses import replace

from critica.recipes.base import OurChoice, PaperSays
from critica.recipes.v0_5 import V0_5
from critica.rollout.until_certain import UntilCertain

V0_5_BUDGET = replace(
    V0_5,
    name="v0_5_budget",
    budget=UntilCertain(first=2, chunk=2, most=16, agreement=1.0, certainty=0.1, tolerance=2.5),
    provenance={
        **V0_5.provenance,
        "budget": PaperSays("abstract: a test of the prior in real time allocates additional rollouts on demand"),
        "budget.first": OurChoice("the fewest that can contradict each other", paper="not known to us"),
        "budget.chunk": OurChoice("few waves of the decoder, few samples too many", paper="not known to us"),
        "budget.most": OurChoice("four times the average", paper="not known to us"),
        "budget.agreement": OurChoice(
            "by the same enumeration; two equal outcomes contradict a prior of one half", paper="not known to us"
        ),
        "budget.certainty": OurChoice(
            "least error a sample by enumeration, at about group size 4; see until_certain", paper="not known to us"
        ),
        "budget.tolerance": OurChoice("as critic.tolerance: the prior is dropped alike", paper="not known to us"),
        "sampling.samples_per_prompt": PaperSays("group size 4: here the most that prompts get on average"),
    },
)
