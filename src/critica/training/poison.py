"""What becomes of a step with bad numbers: kept for replay, counted, and after too many in a row the run stops."""

from dataclasses import dataclass

from torch import Tensor

from critica.recipes.base import Safety
from critica.records.run import Progress, StepRecord
from critica.store.run_folder import RunFolder
from critica.training.guard import Bad
from critica.training.saving import Saver


class TooManyBadSteps(ArithmeticError):
    """One step after another held numbers that are not finite."""


@dataclass(frozen=True, slots=True)
class Poison:
    """Called after a step was recorded and before it could be saved as a checkpoint."""

    store: RunFolder
    saver: Saver
    settings: Safety

    def after(self, record: StepRecord, bad: Bad | None, progress: Progress) -> None:
        """Keep the batch of a bad step. Raises `TooManyBadSteps` when it was one too many."""
        if bad is None:
            return
        self.saver.wait()  # rotation may not take away the checkpoint that is being kept
        before = [step for step in self.store.checkpoints.steps if step < record.step]
        if before and len(self.store.poison.steps) < self.settings.kept_batches:
            base = self.store.checkpoints.path_of(before[-1])
            self.store.poison.keep(record.step, bad.fault, tensors_of(record, bad), base, self.store.journal)
        if progress.skipped_in_a_row >= self.settings.skips_in_a_row:
            run = self.store.path
            raise TooManyBadSteps(
                f"{progress.skipped_in_a_row} steps in a row held numbers that are not finite, the last one step"
                f" {record.step}: {bad.fault.sentence}. No weight took them in and nothing was saved since. See one:"
                f" `critica replay {run} {record.step}`. Then go on with a change, such as `critica resume {run} --set"
                f" learner.policy.learning_rate=1e-5`, or allow more with `--set safety.skips_in_a_row=10`"
            )


def tensors_of(record: StepRecord, bad: Bad) -> dict[str, Tensor]:
    """The step's arrays and the tensor that showed the fault."""
    batch = record.batch
    return {
        "token_ids": batch.token_ids,
        "sampled_mask": batch.sampled_mask,
        "behavior_logprobs": batch.behavior_logprobs,
        "told": record.told.per_token,
        "value": record.values.mean,
        "advantage": record.credit.advantage,
        "offending": bad.value,
    }
