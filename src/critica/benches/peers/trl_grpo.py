"""Peer: TRL's GRPOTrainer on the shared prompts, beta 0 (no reference), one optimizer step a batch."""

import tempfile

from pacing import Pace
from task import arguments, prepare, product_error, read_tasks, reward


def main() -> None:
    given = arguments()
    pace = Pace()
    attention = prepare(given.threads, given.fast)
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    tokenizer = AutoTokenizer.from_pretrained(given.policy, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(given.policy, dtype=torch.float32, attn_implementation=attention)
    sampled = [0]

    class Counting(trl.GRPOTrainer):
        def _prepare_inputs(self, *args, **options):
            made = super()._prepare_inputs(*args, **options)
            if "completion_mask" in made:
                sampled[0] = int(made["completion_mask"].sum())
            return made

    class Paced(TrainerCallback):
        def on_train_begin(self, *args, **options):
            pace.begin()

        def on_step_end(self, *args, **options):
            pace.tick(sampled[0])

    def right(completions, answer, **columns):
        return [reward(text, wanted) for text, wanted in zip(completions, answer, strict=True)]

    rows = given.prompts * given.group
    settings = trl.GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, per_device_train_batch_size=rows,
        num_generations=given.group, gradient_accumulation_steps=1, max_completion_length=given.max_new, beta=0.0,
        num_iterations=1, max_steps=100_000, save_strategy="no", report_to=[], temperature=1.0, top_k=0,
        gradient_checkpointing=given.checkpointing, disable_tqdm=True,
        generation_kwargs=None if given.natural else {"min_new_tokens": given.max_new},
    )  # fmt: skip
    trainer = Counting(
        model=model, reward_funcs=right, args=settings, processing_class=tokenizer,
        train_dataset=Dataset.from_list(read_tasks(given.tasks)),
    )  # fmt: skip
    trainer.add_callback(Paced())
    pace.ready(
        torch=torch.__version__, transformers=transformers.__version__, trl=trl.__version__, attention=attention,
        checkpointing=given.checkpointing, product_error=product_error(),
    )  # fmt: skip
    trainer.train()


if __name__ == "__main__":
    main()
