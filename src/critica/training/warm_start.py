"""How pico is made: demonstrations of mixed patience, so that reinforcement has patience to find.

The corpus holds two kinds of writers, as any corpus of human answers does. Careful ones write every step;
hurried ones jump to the answer and do the rest in the head. All their answers are right, but a model of a
million parameters imitates the first well and the second badly. The first part of the warm start shows
careful answers only; the rest shows a mix in which hurried writers are the majority (`PicoRecipe.writers`),
so pico's first choice is to hurry, and it is often wrong, while the careful way is in it, sampled in a
minority of answers. This is deliberate. What a verifier can teach pico in two minutes is mostly *not to
jump*, a choice made before every step, and only then to compute a little better. A gain measured on pico is
evidence about the learning machinery (credit, critics, robustness to wrong rewards), not about teaching a
model new arithmetic.

Warm start sees only prompts whose split is "warm_start"; `assess` measures on "held_out".
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from critica.environments.demonstrations import (
    Writers,
    demonstrate,
    items,
)
from critica.environments.mixes import PICO_TASKS, MixEntry
from critica.policies.tokenizer import train_tokenizer
from critica.training.assessment import TaskAssessment, as_table, assess

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

IGNORED = -100  # the label that cross-entropy leaves out
WEIGHTS = "model.safetensors"
CARD = """# pico

A language model of about a million parameters (Qwen3 architecture, byte-level BPE, fp32 weights, {bytes}
bytes) that ships with Critica so that reinforcement learning can be seen working on two CPU cores. It knows
three reasoning-gym tasks and nothing else. License: Apache-2.0, like the rest.

Made by `critica policy make pico --seed {seed} --threads {threads}`: supervised warm start on worked
demonstrations of mixed patience (`critica.training.warm_start` explains the recipe and why hurried writers
are the majority on purpose). A prompt is encoded as its plain text after `<bos>`; the answer is what
follows the last `=` of the completion.

## Measured on held-out prompts

Accuracy is exact match by the dataset's scorer, with 95% Wilson intervals. A careful answer shows every step.

{table}

## Tasks

{tasks}

## Recipe

{recipe}
"""


@dataclass(frozen=True, slots=True)
class PicoRecipe:
    """Everything that decides pico's weights besides seed and thread count."""

    steps: int = 900
    rows: tuple[int, ...] = (20, 32, 28)  # one number a task
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    decay_share: float = 0.4
    weight_decay: float = 0.01
    prompts_per_task: int = 16_000
    vocabulary_size: int = 476
    width: int = 128
    layers: int = 5
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 384
    careful_share_of_steps: float = 0.72
    writers: Writers = Writers(hurried_share=0.75)

    def writers_at(self, step: int) -> Writers:
        """Careful writers only at first, so that the skill is learned; then the mix that sets the habits."""
        if step < self.careful_share_of_steps * self.steps:
            return Writers(hurried_share=0.0, careful_goes_on=1.0)
        return self.writers

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, a plateau, then a linear fall to zero over the last `decay_share` of the steps."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay_share * self.steps))
        return self.learning_rate * min(rise, fall)


@dataclass(frozen=True, slots=True)
class WarmStartProgress:
    """What `report` is told: `loss` in nats per completion token, averaged since the last report."""

    step: int
    steps: int
    loss: float
    seconds: float
    seconds_left: float


Report = Callable[[WarmStartProgress], None]


def build_model(recipe: PicoRecipe, vocabulary: int) -> "Qwen3ForCausalLM":
    """A Qwen3 with tied embeddings, drawn from torch's current random state."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=recipe.width // recipe.heads,
        intermediate_size=recipe.feed_forward,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype="float32",
    )
    config._attn_implementation = "eager"  # on small CPU batches faster than the fused kernel, and reproducible
    return Qwen3ForCausalLM(config)


@contextmanager
def fast_matmuls() -> Iterator[None]:
    """Send fp32 products to oneDNN while inside, if they stay fp32-exact: twice as fast on some CPUs."""
    mkldnn: Any = torch.backends.mkldnn  # its stub does not know the attribute
    setting = mkldnn.matmul
    before = setting.fp32_precision
    left = torch.linspace(-1, 1, 64 * 96).sin().view(64, 96)
    exact = left.double() @ left.double().T
    try:
        setting.fp32_precision = "bf16"
        error = ((left @ left.T).double() - exact).abs().max().item()
        if error > 1e-4:  # this CPU really rounds to bf16: leave it alone
            setting.fp32_precision = before
        yield
    finally:
        setting.fp32_precision = before


@dataclass(frozen=True, slots=True)
class TaskPool:
    """The warm-start prompts of one task: items and their token ids."""

    entry: MixEntry
    items: tuple[Mapping[str, Any], ...]
    prompt_ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One demonstration as tokens; the first `prompt_tokens` are read, the rest are learned."""

    tokens: tuple[int, ...]
    prompt_tokens: int


def collect_items(entry: MixEntry, seed: int, count: int) -> tuple[Mapping[str, Any], ...]:
    """The first `count` warm-start items of a task."""
    return tuple(item for _, item in islice(items(entry, seed, "warm_start"), count))


def draw_rows(
    pool: TaskPool, step: int, rows: int, writers: Writers, tokenizer: "PreTrainedTokenizerFast", seed: int
) -> list[Row]:
    """The demonstrations of one task at one step: prompts in turn, each answered by a drawn writer."""
    rng = Random(f"{seed}/{pool.entry.name}/{step}")
    chosen = [(step * rows + row) % len(pool.items) for row in range(rows)]
    texts = [demonstrate(pool.entry.name, pool.items[i], writers, rng).completion for i in chosen]
    answers: Any = tokenizer(texts, add_special_tokens=False)["input_ids"]
    end: Any = tokenizer.eos_token_id
    return [
        Row((*pool.prompt_ids[i], *answer, end), len(pool.prompt_ids[i]))
        for i, answer in zip(chosen, answers, strict=True)
    ]


def pad_rows(rows: Sequence[Row]) -> tuple[Int[Tensor, "N T"], Int[Tensor, "N T"]]:
    """(token ids, labels), right-padded to a multiple of 8; labels are `IGNORED` on prompts and padding."""
    width = -(-max(len(row.tokens) for row in rows) // 8) * 8
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.tokens)
        ids[index, : len(tokens)] = tokens
        labels[index, row.prompt_tokens : len(tokens)] = tokens[row.prompt_tokens :]
    return ids, labels


def microbatches(rows: Sequence[Row], parts: int) -> list[tuple[Int[Tensor, "N T"], Int[Tensor, "N T"]]]:
    """Rows sorted by length and cut into `parts` of equal count, so that little is padding."""
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    size = -(-len(ordered) // parts)
    return [pad_rows(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def summed_loss(model: "Qwen3ForCausalLM", ids: Int[Tensor, "N T"], labels: Int[Tensor, "N T"]) -> Float[Tensor, ""]:
    """Cross-entropy summed over labeled tokens. Right padding needs no mask in a causal model."""
    states = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    mask = targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(states[mask]), targets[mask], reduction="sum")


def build_optimizers(model: "Qwen3ForCausalLM", recipe: PicoRecipe) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return (
        torch.optim.Muon(
            matrices,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    )


def warm_start(
    recipe: PicoRecipe,
    seed: int,
    report: Report = lambda progress: None,
    tasks: Sequence[MixEntry] = PICO_TASKS,
    every: int = 50,
) -> tuple["Qwen3ForCausalLM", "PreTrainedTokenizerFast"]:
    """Teach a fresh model from demonstrations; bit-equal for the same recipe, seed and thread count."""
    if len(recipe.rows) != len(tasks):
        raise ValueError(f"rows has {len(recipe.rows)} numbers, but there are {len(tasks)} tasks: give one for each")
    collected = [collect_items(entry, seed, recipe.prompts_per_task) for entry in tasks]
    tokenizer = train_tokenizer(
        (item["question"] for pool in collected for item in pool[:3000]), recipe.vocabulary_size
    )
    pools = [
        TaskPool(entry, pool, tuple(tuple(ids) for ids in tokenizer([i["question"] for i in pool])["input_ids"]))
        for entry, pool in zip(tasks, collected, strict=True)
    ]
    with torch.random.fork_rng(devices=[]), fast_matmuls():
        torch.manual_seed(seed)
        model = build_model(recipe, len(tokenizer)).train()
        optimizers = build_optimizers(model, recipe)
        started, recent = time.perf_counter(), 0.0
        for step in range(recipe.steps):
            rows = [
                row
                for pool, count in zip(pools, recipe.rows, strict=True)
                for row in draw_rows(pool, step, count, recipe.writers_at(step), tokenizer, seed)
            ]
            labeled = sum(len(row.tokens) - row.prompt_tokens for row in rows)
            for ids, labels in microbatches(rows, len(pools)):
                loss = summed_loss(model, ids, labels) / labeled
                loss.backward()
                recent += loss.item()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate_at(step)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if (step + 1) % every == 0 or step + 1 == recipe.steps:
                seconds = time.perf_counter() - started
                left = seconds / (step + 1) * (recipe.steps - step - 1)
                since = (step % every) + 1
                report(WarmStartProgress(step + 1, recipe.steps, recent / since, seconds, left))
                recent = 0.0
    return model.eval(), tokenizer


def make_pico(
    folder: Path,
    seed: int = 0,
    threads: int = 2,
    recipe: PicoRecipe | None = None,
    report: Report = lambda progress: None,
    prompts_per_task: int = 1024,
) -> tuple[TaskAssessment, ...]:
    """Make pico from nothing: a folder that transformers opens, with a card of what was measured.

    The weights are bit-equal for the same recipe, seed, thread count, torch build and kind of CPU. `report`
    is called every 50 steps. `prompts_per_task` held-out prompts of each task are answered for the card.
    """
    recipe = recipe or PicoRecipe()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model, tokenizer = warm_start(recipe, seed, report)
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        measured = assess(model, tokenizer, prompts_per_task)
        (folder / "README.md").write_text(card(measured, recipe, seed, threads, (folder / WEIGHTS).stat().st_size))
        return measured
    finally:
        torch.set_num_threads(before)


def card(measured: Sequence[TaskAssessment], recipe: PicoRecipe, seed: int, threads: int, weight_bytes: int) -> str:
    """pico's README: what it is, the command that made it, and what was measured."""
    return CARD.format(
        seed=seed,
        threads=threads,
        bytes=f"{weight_bytes:,}",
        table=as_table(measured),
        tasks="\n".join(f"- `{e.name}` {dict(e.config)}" for e in PICO_TASKS),
        recipe="\n".join(f"- {name}: {value}" for name, value in asdict(recipe).items()),
    )
