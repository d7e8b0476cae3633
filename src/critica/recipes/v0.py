"""V_0: what the policy did on prompts like this one is its baseline here, before anything is sampled."""

from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.prompt_value import PromptValue
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

V0 = Recipe(
    name="v0",
    paper=Paper("V_0: A Generalist Value Model for Any Policy at State Zero", "2602.03584"),
    critic=PromptValue(strength=4.0, half_life_steps=100.0, prompts=512),
    advantage=Standardized(Outcome(scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28)),
    wing="value critics",
    provenance={
        "critic": PaperSays("P(success | prompt, the policy's record) from a frozen model that reads the record"),
        "critic.strength": OurChoice("a kernel in place of the pretrained embedding, adapter and TabPFN head", paper="none"),
        "critic.prompts": PaperSays("ablation: 32 to 512 pairs of prompt and outcome, more is better"),
        "critic.half_life_steps": OurChoice("the record must be of about the policy that is judged", paper="one policy's record"),
        "advantage": OurChoice("a baseline without siblings; scaled over the step", paper="GRPO's group"),
        "objective.surrogate": OurChoice("clip-higher, as DAPO", paper="not known to us"),
        "sampling.samples_per_prompt": OurChoice("every prompt alike; recipe v0_budget spreads them", paper="2 to 128"),
    },
)
