"""A policy small enough to check by hand: the next token depends on the previous one only."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from critica.policies.base import Sample, SampleLimits, SampleRequest
from critica.records.words import StopReason


class BigramPolicy:
    """States are embeddings of the previous token; satisfies `TrainablePolicy` without transformers."""

    def __init__(self, vocabulary: int = 7, width: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        torch.manual_seed(seed)
        self.model = nn.ModuleDict(
            {"embed": nn.Embedding(vocabulary, width, dtype=dtype), "head": nn.Linear(width, vocabulary, dtype=dtype)}
        )
        self.width, self.version, self.vocabulary = width, 0, vocabulary

    def encode(self, messages):
        return tuple(ord(letter) % self.vocabulary for letter in messages[-1].content)

    def decode_text(self, token_ids):
        return "".join(chr(97 + i) for i in token_ids)

    def token_texts(self, batch):
        return tuple(
            tuple(chr(97 + int(i)) for i in ids[:length])
            for ids, length in zip(batch.token_ids, batch.lengths.tolist(), strict=True)
        )

    @torch.no_grad()
    def sample(
        self, requests: list[SampleRequest], limits: SampleLimits, seed: int, control: object = None, ended=None
    ) -> list[list[Sample]]:
        from critica.functional.random import uniforms

        written, rows = [], 0
        for request in requests:
            row = []
            for stream in request.streams:
                dice = uniforms(seed, "decode", *stream, count=limits.max_new_tokens)
                token, ids, logs = request.prompt_ids[-1], [], []
                for die in dice:
                    logp = torch.log_softmax(self.model["head"](self.model["embed"](torch.tensor(token))), -1)
                    token = int((logp.exp().cumsum(-1) < die).sum().clamp(max=self.vocabulary - 1))
                    ids.append(token)
                    logs.append(float(logp[token]))
                row.append(Sample(tuple(ids), tuple(logs), StopReason.TOKEN_LIMIT))
                if ended is not None:
                    ended(rows, tuple(ids))
                rows += 1
            written.append(row)
        return written

    def sampled_states(self, batch):
        rows, places = batch.sampled_mask.nonzero(as_tuple=True)
        return self.model["embed"](batch.token_ids[rows, places - 1])

    def sampled_and_final_states(self, batch):
        last = batch.token_ids[torch.arange(batch.rows), batch.lengths - 1]
        return self.sampled_states(batch), self.model["embed"](last)

    def layer_states(self, batch, depth):
        return self.sampled_states(batch)

    def sampled_and_inner_states(self, batch, depths):
        states = self.sampled_states(batch)
        return states, tuple(states for _ in depths)

    def logits(self, states):
        return self.model["head"](states)

    def trainable(self):
        return self.model.named_parameters()

    def frozen_copy(self):
        twin = BigramPolicy(self.vocabulary, self.width, dtype=self.model["head"].weight.dtype)
        twin.model.load_state_dict(self.model.state_dict())
        twin.model.requires_grad_(False)
        return twin

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(self.model.state_dict()), folder / "bigram.safetensors")

    def restore(self, folder: Path) -> None:
        self.model.load_state_dict(load_file(folder / "bigram.safetensors"))
