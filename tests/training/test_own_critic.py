"""A critic of one's own: one file, one dataclass, no change to the library."""

from critica.recipes.catalogue import PARTS
from critica.recipes.resolve import change_recipe
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train
from critica.training.saved_recipe import recipe_of

SOURCE = '''
"""Half of the range, whatever was written."""

from dataclasses import dataclass

import torch

from critica.critics.base import CriticPart, ValueCritic
from critica.records.arrays import ValuePrediction


@dataclass(frozen=True)
class Halfway(CriticPart):
    share: float = 0.5

    def build(self, context):
        return Live(context.reward_low + self.share * (context.reward_high - context.reward_low))


class Live(ValueCritic):
    def __init__(self, level):
        self.level = level

    def predict(self, batch, told, evidence):
        mean = torch.where(batch.sampled_mask, self.level, 0.0)
        return ValuePrediction(mean, batch.sampled_mask, torch.full((batch.rows,), self.level))
'''


def test_a_critic_from_a_file_trains_is_saved_by_name_and_resumes(small, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    recipe = change_recipe(small("ppo", steps=2), [f"critic={file}:Halfway", "critic.share=0.25"], PARTS)
    train(recipe, tmp_path / "run")
    kept = recipe_of(RunFolder.open(tmp_path / "run"))
    assert type(kept.critic).__name__ == "Halfway" and kept.critic.share == 0.25
    line = list(RunFolder.open(tmp_path / "run").metrics())[-1]
    assert line["critic/value_mean"] == 0.25
    assert resume(tmp_path / "run", steps=3).progress.step == 3
