"""Peer: TRL's PPOTrainer (last shipped in 1.12, as trl.experimental.ppo): full-size value model, reference, one epoch.

It only takes a reward model; its scores are replaced by the shared rule.
"""

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
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        TrainerCallback,
    )
    from trl.experimental import ppo
    from trl.experimental.ppo import ppo_trainer

    options = {"dtype": torch.float32, "attn_implementation": attention}
    tokenizer = AutoTokenizer.from_pretrained(given.policy, padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(given.policy, **options)
    reference = AutoModelForCausalLM.from_pretrained(given.policy, **options)
    value = AutoModelForSequenceClassification.from_pretrained(given.policy, num_labels=1, **options)
    scorer = AutoModelForSequenceClassification.from_pretrained(given.policy, num_labels=1, **options)
    tasks = read_tasks(given.tasks)
    answers = {task["prompt"]: task["answer"] for task in tasks}
    sampled = [0]
    plain_reward, plain_generation = ppo_trainer.get_reward, ppo_trainer.batch_generation

    def score(model, ids, pad, context):
        if model is not scorer:
            return plain_reward(model, ids, pad, context)
        prompts = tokenizer.batch_decode(ids[:, :context], skip_special_tokens=True)
        written = tokenizer.batch_decode(ids[:, context:], skip_special_tokens=True)
        pairs = zip(prompts, written, strict=True)
        return None, torch.tensor([reward(text, answers.get(prompt, "?")) for prompt, text in pairs]), None

    def generate(model, queries, rows, pad, config):
        if not given.natural:
            config.min_new_tokens = given.max_new
        made = plain_generation(model, queries, rows, pad, config)
        sampled[0] = int((made[0][:, queries.shape[1] :] != pad).sum())
        return made

    class Paced(TrainerCallback):
        def on_train_begin(self, *args, **options):
            pace.begin()

        def on_step_end(self, *args, **options):
            pace.tick(sampled[0])

    ppo_trainer.get_reward, ppo_trainer.batch_generation = score, generate
    rows = given.prompts * given.group
    settings = ppo.PPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, per_device_train_batch_size=rows,
        gradient_accumulation_steps=1, num_mini_batches=1, num_ppo_epochs=1, total_episodes=rows * 10_000,
        response_length=given.max_new, local_rollout_forward_batch_size=rows, save_strategy="no", report_to=[],
        gradient_checkpointing=given.checkpointing, num_sample_generations=0, temperature=1.0, stop_token="eos",
        missing_eos_penalty=None,
    )  # fmt: skip
    trainer = ppo.PPOTrainer(
        args=settings, processing_class=tokenizer, model=policy, ref_model=reference, reward_model=scorer,
        value_model=value,
        train_dataset=Dataset.from_list([{"input_ids": tokenizer(task["prompt"])["input_ids"]} for task in tasks]),
    )  # fmt: skip
    trainer.add_callback(Paced())
    pace.ready(
        torch=torch.__version__, transformers=transformers.__version__, trl=trl.__version__, attention=attention,
        checkpointing=given.checkpointing, product_error=product_error(),
    )  # fmt: skip
    trainer.train()


if __name__ == "__main__":
    main()
