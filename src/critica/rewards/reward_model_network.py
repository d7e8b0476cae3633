"""A reward model's network: a transformers classifier that is read once, at the ends of sentences, or at each token."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from critica.functional.random import torch_generator
from critica.functional.sentence_rewards import attention_weights
from critica.policies.loading import fetchable, open_tokenizer, quiet_transformers, resolve_device
from critica.policies.locate import PolicyLoadError
from critica.rewards.reward_model_text import Reading, RewardModelProblem, padded
from critica.rewards.sentences import sentence_spans

Level = Literal["sequence", "sentence", "token"]
NOTE, ATTENTION = "reward_model.json", "attention.safetensors"
SEQUENCE, TOKEN = "ForSequenceClassification", "ForTokenClassification"


@dataclass(frozen=True, slots=True)
class Judged:
    """What was read of one answer: its score, and the share of it that belongs to [cut k - 1, cut k) of the text.

    `shares` sum to the score at level `sentence` and `token`, and are empty at level `sequence`.
    """

    score: Float[Tensor, ""]
    shares: Float[Tensor, "K"]
    cuts: tuple[int, ...]


class RewardNetwork(nn.Module):
    """f at each token, from the classifier's own head, and what becomes of it at a level.

    sequence: R = f after the last token, which is logits[:, label] of transformers. token: R = mean of f over the
    answer's tokens. sentence (arXiv 2503.04793): R = sum_i w_i s_i, s_i = f(end of i) - f(start of i), with
    w = n softmax_i(q(after the answer) . k(end of i) / sqrt(width)) where the folder holds an attention, else w = 1.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, level: Level, label: int, attention: nn.ModuleDict | None):
        super().__init__()
        self.model, self.tokenizer, self.level, self.label = model.eval(), tokenizer, level, label
        self.attention = attention
        self.pad = int(tokenizer.pad_token_id or 0)
        limit = int(getattr(model.config, "max_position_embeddings", 0) or 0)  # type: ignore[arg-type]
        self.longest = limit or 2**31

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def judge(self, readings: Sequence[Reading], answers: Sequence[str]) -> list[Judged]:
        """One result per answer, from one pass; with gradient unless told otherwise."""
        ids, mask = padded(readings, self.pad)
        ids, mask = ids.to(self.device), mask.to(self.device)
        if not _has_token_head(self.model):
            said = self.model(input_ids=ids, attention_mask=mask.long()).logits
            if said.dim() == 2:
                return [Judged(said[n, self.label].float(), said.new_zeros(0), ()) for n in range(len(readings))]
            return [self._of(said[n, :, self.label].float(), None, reading, answers[n])
                    for n, reading in enumerate(readings)]  # fmt: skip
        hidden = self._hidden(ids, mask)
        scores = cast(nn.Module, self.model.score)(hidden)[..., self.label].float()
        return [self._of(scores[n], hidden[n], reading, answers[n]) for n, reading in enumerate(readings)]

    def _hidden(self, ids: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T D"]:
        body = cast(nn.Module, self.model.base_model)
        return body(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state

    def _of(self, scores: Float[Tensor, "T"], hidden: Tensor | None, reading: Reading, answer: str) -> Judged:
        if self.level == "sequence":
            return Judged(scores[len(reading.token_ids) - 1], scores.new_zeros(0), ())
        if self.level == "token":
            shares = scores[reading.start : reading.stop] / max(1, len(reading.ends))
            return Judged(shares.sum(), shares, reading.ends)
        cuts = tuple(end for _, end in sentence_spans(answer)) if reading.ends else ()
        if not cuts:
            return Judged(scores.new_zeros(()), scores.new_zeros(0), ())
        places = [reading.start - 1, *(reading.last_token(end) for end in cuts)]
        shares = scores[places].diff()
        if self.attention is not None and hidden is not None:
            query = self.attention["query"](hidden[places[-1]])[None].float()
            keys = self.attention["key"](hidden[places[1:]])[None].float()
            present = torch.ones(1, len(cuts), dtype=torch.bool, device=shares.device)
            shares = shares * attention_weights(query, keys, present)[0]
        return Judged(shares.sum(), shares, cuts)

    def save(self, folder: Path) -> None:
        """A folder that transformers opens as what it is, with a note of the level and the attention beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            self.model.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)
        width = self.attention["query"].out_features if self.attention is not None else 0
        (folder / NOTE).write_text(json.dumps({"level": self.level, "attention": width}, indent=2) + "\n")
        if self.attention is not None:
            save_file({name: weight.contiguous() for name, weight in self.attention.state_dict().items()},
                      folder / ATTENTION)  # fmt: skip


def new_attention(size: int, width: int, seed: int) -> nn.ModuleDict:
    """Query and key projections of drawn weights."""
    made = nn.ModuleDict({name: nn.Linear(size, width, bias=False) for name in ("query", "key")})
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.normal_(0.0, size**-0.5, generator=torch_generator(seed, "reward model/attention", name))
    return made


def open_reward_network(path: str, level: str = "auto", label: int = 0, device: str = "cpu") -> RewardNetwork:
    """The reward model in a local folder (or a cached hub name): safetensors only, without remote code.

    `level` auto is what the folder says, else sequence. Raises `RewardModelProblem`.
    """
    place = _place(path)
    note = json.loads((place / NOTE).read_text()) if (place / NOTE).is_file() else {}
    if note and level not in ("auto", note["level"]):
        raise RewardModelProblem(
            f"{place} was fitted to judge by {note['level']}, and a reading by {level} would mean nothing: leave"
            " reward.level at auto"
        )
    chosen = cast(Level, note.get("level", "sequence") if level == "auto" else level)
    names = _config(place).architectures or ["a model of unknown kind"]
    kind = next((kind for kind in (SEQUENCE, TOKEN) if names[0].endswith(kind)), "")
    if not kind:
        raise RewardModelProblem(
            f"{place} holds {names[0]}, which has no head for rewards: name a folder of a …{SEQUENCE} or a …{TOKEN},"
            " or make one with `critica reward fit`"
        )
    model = open_classifier(place, kind).requires_grad_(False).to(resolve_device(device))
    count = int(model.config.num_labels)  # type: ignore[union-attr,arg-type]
    if not 0 <= label < count:
        raise RewardModelProblem(f"reward.label is {label}, and {place} has labels 0 to {count - 1}")
    if chosen != "sequence" and kind == SEQUENCE and not _has_token_head(model):
        raise RewardModelProblem(
            f"{names[0]} says one number about a whole text: judge with level=sequence, or name a …{TOKEN}"
        )
    attention = None
    if note.get("attention"):
        attention = new_attention(int(model.config.hidden_size), note["attention"], 0)  # type: ignore[union-attr,arg-type]
        attention.load_state_dict(load_file(place / ATTENTION))
        attention = cast(nn.ModuleDict, attention.requires_grad_(False).to(resolve_device(device)))
    return RewardNetwork(model, open_tokenizer(str(place)), chosen, label, attention)


def open_classifier(place: Path, kind: str, **more: Any) -> nn.Module:
    """transformers' AutoModelFor… of this kind, quietly. Raises `RewardModelProblem`."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
    from transformers.utils import logging

    opener = AutoModelForSequenceClassification if kind == SEQUENCE else AutoModelForTokenClassification
    said = logging.get_verbosity()
    try:
        logging.set_verbosity_error()  # a head that is new is drawn by us, and need not be announced
        with quiet_transformers():
            return opener.from_pretrained(
                place, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, **more
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RewardModelProblem(f"the reward model at {place} cannot be opened ({first})") from error
    finally:
        logging.set_verbosity(said)


def _place(path: str) -> Path:
    try:
        return Path(fetchable(path))
    except PolicyLoadError as error:
        raise RewardModelProblem(str(error).replace("policy", "reward model")) from error


def _config(place: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RewardModelProblem(f"there is no model that can be opened at {place} ({first})") from error


def _has_token_head(model: nn.Module) -> bool:
    """Decoders score every token with one linear layer, and pool afterwards."""
    return isinstance(getattr(model, "score", None), nn.Module)
