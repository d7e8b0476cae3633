"""The policies that contenders share: trained for a minute or two, so that answers end by themselves; kept on disk."""

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from critica.benches.sums import RunningSums
from critica.records.words import Task

TASKS = "tasks.json"
FACTS = "facts.json"
ROWS = 64
WIDTH = 44  # longest prompt and answer, rounded up: one shape, so that no kernel is built twice


@dataclass(frozen=True, slots=True)
class Size:
    """A Qwen3 architecture and how long it is taught."""

    width: int
    layers: int
    feed_forward: int
    steps: int
    learning_rate: float


SIZES = {
    "1m": Size(width=128, layers=5, feed_forward=384, steps=500, learning_rate=4e-3),
    "5m": Size(width=256, layers=6, feed_forward=896, steps=300, learning_rate=2e-3),
}


def bench_policy(name: str, folder: Path, threads: int, say: Callable[[str], None], steps: int = 0) -> Path:
    """The folder of the policy of this size, made now if it is not there; `steps` 0 takes the size's own number."""
    steps = steps or SIZES[name].steps
    place = folder / f"{name}-{steps}"
    if (place / FACTS).is_file():
        return place
    unfinished = place.with_name(f".{place.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    say(f"making the {name} policy: {steps} steps of supervised training, once")
    _make(SIZES[name], steps, unfinished, threads, say)
    unfinished.rename(place)
    return place


def _make(size: Size, steps: int, folder: Path, threads: int, say: Callable[[str], None]) -> None:
    import torch

    from critica.policies.tokenizer import train_tokenizer
    from critica.training.warm_start import PicoRecipe, build_model, build_optimizers, fast_matmuls, summed_loss

    torch.set_num_threads(threads)
    environment = RunningSums().build(0)
    tasks = list(islice(environment.tasks("warm_start"), 20_000))
    tokenizer = train_tokenizer((task.prompt for task in tasks[:200]), 259)  # 256 bytes and 3 special tokens: no merges
    recipe = PicoRecipe(
        steps=steps, learning_rate=size.learning_rate, width=size.width, layers=size.layers,
        feed_forward=size.feed_forward, vocabulary_size=259,
    )  # fmt: skip
    torch.manual_seed(0)
    model = build_model(recipe, len(tokenizer)).train()
    optimizers = build_optimizers(model, recipe)
    rng, start, loss = random.Random(0), time.perf_counter(), 0.0
    with fast_matmuls():
        for step in range(steps):
            chosen = [rng.choice(tasks) for _ in range(ROWS)]
            ids, labels = rows_of(chosen, tokenizer, [environment.demonstration(task) for task in chosen])
            total = summed_loss(model, ids, labels) / int((labels >= 0).sum())
            total.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate_at(step)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            loss = total.item()
            if (step + 1) % 50 == 0:
                spent = time.perf_counter() - start
                say(f"  step {step + 1}/{steps}  loss {loss:.3f}  eta {spent / (step + 1) * (steps - step - 1):.0f} s")
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    asked = [{"prompt": t.prompt, "answer": t.answer} for t in islice(environment.tasks("train"), 4096)]
    (folder / TASKS).write_text(json.dumps(asked))
    facts = {"parameters": sum(p.numel() for p in model.parameters()), "steps": steps, "last_loss": round(loss, 4)}
    (folder / FACTS).write_text(json.dumps(facts))


def rows_of(tasks: list[Task], tokenizer, answers: list[str]):  # tensors and a tokenizer
    """(ids, labels), each [rows, WIDTH]: prompts are read, answers and their end are learned."""
    import torch

    from critica.training.warm_start import IGNORED

    ids = torch.zeros(len(tasks), WIDTH, dtype=torch.long)
    labels = torch.full((len(tasks), WIDTH), IGNORED)
    for row, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        prompt = tokenizer(task.prompt)["input_ids"]
        written = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        tokens = torch.tensor([*prompt, *written])
        ids[row, : len(tokens)] = tokens
        labels[row, len(prompt) : len(tokens)] = tokens[len(prompt) :]
    return ids, labels
