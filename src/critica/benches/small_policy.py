"""A policy of some twenty thousand parameters that writes legal answers to a small exact game, and nothing else yet."""

from itertools import islice
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from critica.environments.exact import GameEnvironment, TokenGame
from critica.functional.random import generator
from critica.policies.tokenizer import EOS, PAD
from critica.records.words import Task

SYMBOLS = "".join(map(chr, range(33, 127)))  # and the blank and the line end, as byte-level tokens write them
IGNORED = -100


def make_small_policy(
    folder: Path, environment: GameEnvironment, seed: int = 0, steps: int = 150, remembered: int = 0
) -> Path:
    """Save a two-layer Qwen3 of width 32 that writes uniformly random legal answers, whatever the prompt asks.

    It is taught so by `steps` batches of demonstrations whose characters are drawn at random, so that reinforcement
    learning starts at the value of the uniform policy, up to what a short training leaves over. So taught, its states
    forget what was written, because nothing asks for it; no language model's do. `remembered` > 0 has linear maps,
    thrown away afterwards, read that many of the latest tokens from each state, so that a critic finds them there.
    """
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokenizer = _tokenizer()
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer.get_vocab()), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, intermediate_size=64, max_position_embeddings=512,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    tasks = list(islice(environment.tasks("train"), 64))
    readers = torch.nn.ModuleList(torch.nn.Linear(32, config.vocab_size) for _ in range(remembered))
    adam = torch.optim.Adam([*model.parameters(), *readers.parameters()], 1e-2)
    fading = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
    for step in range(steps):
        ids, labels = _demonstrations(tokenizer, environment, tasks, seed, step)
        shown = model(ids[:, :-1], output_hidden_states=True)
        loss = _surprise(shown.logits, labels[:, 1:])
        for back, reader in enumerate(readers):
            written = labels[:, : -1 - back]
            loss = loss + _surprise(reader(shown.hidden_states[-1][:, back:]), written)
        adam.zero_grad()
        loss.backward()
        adam.step()
        fading.step()
    model.save_pretrained(folder)
    wrapped: PreTrainedTokenizerFast = tokenizer
    wrapped.save_pretrained(folder)
    return folder


def _surprise(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, averaged over the tokens that have a label."""
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=IGNORED)


def _tokenizer():
    """One token a character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([PAD, EOS, "Ġ", "Ċ", *SYMBOLS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS)


def _demonstrations(
    tokenizer, environment: GameEnvironment, tasks: list[Task], seed: int, step: int, rows: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of prompts with random legal answers, and labels on the answers and their ends alone."""
    rng = generator(seed, "benches.small_policy", step)
    made = []
    for _ in range(rows):
        task = tasks[int(rng.integers(len(tasks)))]
        answer = random_answer(environment.game(task), rng)
        prompt, own = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (task.prompt, answer))
        made.append((prompt, [*own, 1]))
    width = max(len(prompt) + len(own) for prompt, own in made)
    ids, labels = torch.zeros(rows, width, dtype=torch.long), torch.full((rows, width), IGNORED)
    for row, (prompt, own) in enumerate(made):
        ids[row, : len(prompt) + len(own)] = torch.tensor([*prompt, *own])
        labels[row, len(prompt) : len(prompt) + len(own)] = torch.tensor(own)
    return ids, labels


def random_answer(game: TokenGame, rng) -> str:
    """A finished sequence, each character uniform."""
    sequence: tuple[int, ...] = ()
    while not game.is_end(sequence):
        sequence = (*sequence, int(rng.integers(len(game.vocabulary))))
    return "".join(game.vocabulary[token] for token in sequence)
