"""Who says what a sentence does in an argument: phrases on a list, or a transformers classifier with eight labels."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from critica.functional.trace import LABELS, ArgumentRules, Labels
from critica.policies.loading import open_tokenizer
from critica.rewards.reward_model_network import SEQUENCE, open_classifier
from critica.rewards.reward_model_text import Reading, RewardModelProblem, buckets, padded

RULES = Path(__file__).resolve().parent.parent / "assets" / "trace_rules.json"


class SentenceClassifier(Protocol):
    """The labels of each sentence, any number of the eight."""

    def labels(self, sentences: Sequence[str]) -> list[Labels]: ...


def read_rules(path: Path = RULES) -> ArgumentRules:
    """The allowed sets and ideal transitions of a data file; transition weights are divided by their sum."""
    said = json.loads(path.read_text())
    allowed = {frozenset(row["labels"]): float(row["worth"]) for row in said["allowed"]}
    total = sum(row["weight"] for row in said["ideal"])
    return ArgumentRules(allowed, {(row["from"], row["to"]): row["weight"] / total for row in said["ideal"]})


class Phrases:
    """A sentence has a label if a phrase of that label's list stands in it as whole words. A baseline, no more.

    Written by hand and measured on nothing: it knows connectives, not arguments, and a policy can please it by using
    them. The published classifier is a fine-tuned DeBERTa (macro-F1 .666), whose weights we cannot ship.
    """

    def __init__(self, path: Path = RULES) -> None:
        cues = json.loads(path.read_text())["cues"]
        self._patterns = {
            label: re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, cues[label]))})(?!\w)", re.IGNORECASE)
            for label in LABELS
        }

    def labels(self, sentences: Sequence[str]) -> list[Labels]:
        """By search."""
        return [frozenset(label for label, found in self._patterns.items() if found.search(text)) for text in sentences]


class ModelLabels:
    """A transformers sequence classifier whose eight outputs are named as the labels; those above `threshold` hold."""

    def __init__(self, model: Any, tokenizer: Any, threshold: float, cells: int = 8192) -> None:
        names = {int(place): str(name).lower() for place, name in model.config.id2label.items()}
        missing = [label for label in LABELS if label not in names.values()]
        if missing:
            raise RewardModelProblem(
                f"the sentence classifier has no output named {missing[0]!r}: name all of {', '.join(LABELS)} in its"
                " config's id2label"
            )
        self._model, self._tokenizer, self._threshold, self._cells = model.eval(), tokenizer, threshold, cells
        self._places = {label: next(p for p, name in names.items() if name == label) for label in LABELS}

    @classmethod
    def open(cls, path: str, threshold: float) -> "ModelLabels":
        """The classifier in a folder. Raises `RewardModelProblem`."""
        return cls(open_classifier(Path(path), SEQUENCE).requires_grad_(False), open_tokenizer(path), threshold)

    @torch.inference_mode()
    def labels(self, sentences: Sequence[str]) -> list[Labels]:
        """sigmoid(output) > threshold, a label at a time; sentences longer than the model's context are cut."""
        limit = int(getattr(self._model.config, "max_position_embeddings", 512))
        ids = [list(self._tokenizer(text, split_special_tokens=True)["input_ids"])[:limit] for text in sentences]
        found: list[Labels] = [frozenset() for _ in sentences]
        whole = [i for i, tokens in enumerate(ids) if tokens]
        for batch in buckets([len(ids[i]) for i in whole], self._cells):
            rows = [whole[place] for place in batch]
            tokens, mask = padded([Reading(tuple(ids[i]), 1, ()) for i in rows], int(self._tokenizer.pad_token_id or 0))
            chances = self._model(input_ids=tokens, attention_mask=mask.long()).logits.float().sigmoid()
            for n, i in enumerate(rows):
                found[i] = frozenset(
                    label for label, place in self._places.items() if float(chances[n, place]) > self._threshold
                )
        return found
