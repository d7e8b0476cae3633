"""A transformers causal language model as a trainable policy: it encodes, writes tokens, and scores them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.policies.adapters import frozen_twin, settle_adapter_config, with_new_adapters
from critica.policies.backbone import LanguageBackbone
from critica.policies.base import DecodeHand, Ended, PromptTooLong, Sample, SampleLimits, SampleRequest
from critica.policies.body_mode import PLAIN, BodyMode, mode_of
from critica.policies.decoder import Decoder
from critica.policies.fallback import generate_samples
from critica.policies.families import base_model
from critica.policies.follower import Follower
from critica.policies.followup import as_dict, followup_text, without_written_end
from critica.policies.forward import HiddenForward
from critica.policies.loading import open_model, open_tokenizer, quiet_transformers, refill, resolve_device
from critica.policies.locate import PolicyLoadError, resolve
from critica.policies.numerics import decoding_matmuls, fast_paths
from critica.policies.part import LocalPolicy, Lora
from critica.policies.stops import Stops
from critica.records.arrays import TokenBatch
from critica.records.words import Message

__all__ = ["LanguageBackbone", "LanguagePolicy", "PolicyLoadError", "PromptTooLong"]

SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class LanguagePolicy:
    """A causal language model with its tokenizer. `version` is counted up by whoever updates the weights."""

    def __init__(self, model: nn.Module, tokenizer: Any, lora: Lora | None = None, mode: BodyMode = PLAIN) -> None:
        config = base_model(model).config
        for name in SCALED_LOGITS:
            if getattr(config, name, None) not in (None, 1, 1.0):
                raise PolicyLoadError(
                    f"{type(base_model(model)).__name__} rescales its logits ({name}), which is not supported: "
                    "take a model of the Llama or Qwen families"
                )
        self.model = model
        self.tokenizer = tokenizer
        self.version = 0
        self.width = int(config.hidden_size)  # type: ignore[union-attr,arg-type]
        self._lora = lora or Lora()
        self.mode = mode
        self._forward = HiddenForward(model, mode)
        self._stops: Stops | None = None
        self.system = ""

    @classmethod
    def load(
        cls,
        path: str,
        lora: Lora | None = None,
        device: str = "auto",
        dtype: str = "float32",
        mode: BodyMode = PLAIN,
        system: str = "",
    ) -> Self:
        """Open `pico`, a folder, or a hub name; with `lora.rank` above 0 only fresh adapters are trained.

        A folder of saved adapters continues them on their base model. `system` stands before prompts that have no
        system message. Raises PolicyLoadError.
        """
        place, found = resolve(path), resolve_device(device)
        tokenizer = open_tokenizer(place)
        if (Path(place) / "adapter_config.json").is_file():
            model, lora = _with_saved_adapters(place, dtype)
        else:
            model = open_model(place, dtype)
            if lora is not None and lora.rank > 0:
                model = with_new_adapters(model, lora)
        made = cls(model.to(found), tokenizer, lora, mode)
        made.system = system
        return made

    @classmethod
    def of(cls, part: LocalPolicy) -> Self:
        """The policy to be trained by these settings. Raises PolicyLoadError, also for a device that is not here."""
        mode = mode_of(part, resolve_device(part.device))
        return cls.load(part.path, part.lora, part.device, part.dtype, mode, part.system)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Every id that ends a text, by the generation config, the config and the tokenizer, in increasing order."""
        inner = base_model(self.model)
        found: set[int] = set()
        sources = (inner.generation_config.eos_token_id, inner.config.eos_token_id, self.tokenizer.eos_token_id)  # type: ignore[union-attr]
        for ids in sources:
            found.update(() if ids is None else (ids,) if isinstance(ids, int) else ids)
        return tuple(sorted(found))

    @property
    def context_length(self) -> int:
        """Tokens that the model can attend over, prompt and continuation together."""
        return int(base_model(self.model).config.max_position_embeddings)  # type: ignore[union-attr,arg-type]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The prompt's tokens: through the chat template when the tokenizer has one, else the contents by line.

        Without a template the text gets the special tokens that the tokenizer itself adds to a text; one that is only
        spelled in it, such as `<eos>`, stays text. The system prompt of the settings stands first, unless there is one.
        """
        if self.system and not any(message.role == "system" for message in messages):
            messages = (Message("system", self.system), *messages)
        if self.tokenizer.chat_template:
            text = self.render([as_dict(message) for message in messages], True)
            return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        text = "\n".join(message.content for message in messages)
        ids = list(self.tokenizer(text, split_special_tokens=True)["input_ids"])
        if ids and ids[-1] in self.end_ids:  # some tokenizers close what they encode; a prompt is still open
            ids.pop()
        return tuple(ids)

    def encode_followup(self, message: Message, written: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens to append to a context whose last answer is `written`, so that the message follows it.

        Through the chat template when there is one, see `followup`; else a new line with the message's content.
        Raises `NotAppendOnly`.
        """
        if not self.tokenizer.chat_template:
            return self.encode_text("\n" + message.content)
        text = followup_text(self.render, as_dict(message), type(base_model(self.model)).__name__)
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return without_written_end(ids, written, self.end_ids)

    def render(self, told: Sequence[Mapping[str, Any]], opened: bool) -> str:
        """These messages through the chat template; `opened`: with the beginning of an answer."""
        return self.tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=opened)

    def encode_text(self, text: str) -> tuple[int, ...]:
        """The tokens of a bare text, as a continuation: no special tokens, also none that it spells."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """The text of these tokens, special ones left out: a view, never the truth."""
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def token_texts(self, batch: TokenBatch) -> tuple[tuple[str, ...], ...]:
        """The text of each valid token of each row, special ones included, for people to read."""
        texts = {i: self.tokenizer.decode([i]) for i in batch.token_ids[batch.valid_mask].unique().tolist()}
        rows = zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True)
        return tuple(tuple(texts[token] for token in row[:length]) for row, length in rows)

    def sample(
        self,
        requests: Sequence[SampleRequest],
        limits: SampleLimits,
        seed: int,
        control: DecodeHand | None = None,
        ended: Ended | None = None,
    ) -> list[list[Sample]]:
        """Continue each request once per stream. Raises PromptTooLong before anything is decoded.

        `ended` is told of each row as soon as its last token is written, except of those that the control stopped.
        """
        for request in requests:
            self._check_length(len(request.prompt_ids), limits.max_new_tokens)
        self.model.eval()
        with decoding_matmuls():
            if self._forward.stack is not None:
                packed = self.device.type == "cpu" and fast_paths().packed_linears
                decoder = Decoder(self._forward.stack, self.end_ids, packed, stops=self._stops_for(limits.stop))
                return decoder.sample(requests, limits, seed, control, ended)
            if control is not None:
                raise ValueError(
                    f"decode control needs the batched decoder, and it cannot read this policy: {self._forward.reason}"
                )
            stops = self._stops_for(limits.stop)
            return generate_samples(self.model, self.end_ids, requests, limits, seed, ended=ended, stops=stops)

    def _stops_for(self, strings: tuple[str, ...]) -> Stops | None:
        """What looks for these; kept, because it reads every token of the vocabulary once."""
        if strings and (self._stops is None or self._stops.strings != strings):
            vocabulary = int(base_model(self.model).config.vocab_size)  # type: ignore[union-attr,arg-type]
            self._stops = Stops(strings, self.decode_text, vocabulary, self.device)
        return self._stops if strings else None

    def follow(self, prompts: Sequence[tuple[int, ...]], owners: Sequence[int], steps: int) -> Follower:
        """This model's states along rows that somebody else writes. Raises ValueError if its family is not known."""
        self.model.eval()
        return self._forward.follow(prompts, owners, steps)

    def _check_length(self, prompt_tokens: int, new_tokens: int) -> None:
        if prompt_tokens < 1:
            raise ValueError("a prompt has no tokens: give the policy at least one to continue from")
        if prompt_tokens + new_tokens > self.context_length:
            raise PromptTooLong(prompt_tokens, new_tokens, self.context_length)

    def sampled_states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The final-normed state before each sampled token, row-major; with gradient unless told otherwise."""
        self._set_mode()
        return self._forward.sampled_states(batch)

    def sampled_and_final_states(self, batch: TokenBatch) -> tuple[Float[Tensor, "S D"], Float[Tensor, "N D"]]:
        """Those, and the state after each row's last token, from one pass."""
        self._set_mode()
        return self._forward.sampled_and_final_states(batch)

    def layer_states(self, batch: TokenBatch, depth: float) -> Float[Tensor, "S D"]:
        """The state before each sampled token that share of the layers up, through the final norm (the logit lens)."""
        self._set_mode()
        return self._forward.layer_states(batch, depth)

    def sampled_and_inner_states(
        self, batch: TokenBatch, depths: Sequence[float]
    ) -> tuple[Float[Tensor, "S D"], tuple[Float[Tensor, "S D"], ...]]:
        """`sampled_states`, and with gradient those at these depths, from one pass; see `HiddenForward`."""
        self._set_mode()
        return self._forward.sampled_and_inner_states(batch, depths)

    def final_states(self, batch: TokenBatch) -> Float[Tensor, "N D"]:
        """The state after each row's last token."""
        self._set_mode()
        return self._forward.final_states(batch)

    def _set_mode(self) -> None:
        """Dropout exists only in adapters that ask for it, and only where a gradient is taken."""
        self.model.train(self._lora.dropout > 0 and torch.is_grad_enabled())

    @property
    def head(self) -> nn.Module:
        """What makes logits of states; a linear, unless an adapter wraps it."""
        return base_model(self.model).get_output_embeddings()  # type: ignore[operator]

    def logits(self, states: Float[Tensor, "S D"]) -> Float[Tensor, "S V"]:
        """The head on these states, in fp32 or better."""
        made = self.head(states)
        return made if made.dtype == torch.float64 else made.float()

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Named parameters that receive gradients: all of them, or the adapters alone."""
        return ((name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad)

    def frozen_copy(self) -> Self:
        """The same policy as it is now, taking no gradient; one with adapters shares its base, see `frozen_twin`."""
        made = type(self)(frozen_twin(self.model), self.tokenizer, self._lora, self.mode)
        made.version = self.version
        return made

    def save(self, folder: Path) -> None:
        """Write a folder that transformers opens: weights (or adapters) as safetensors, config and tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            self.model.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)
        settle_adapter_config(folder)

    def restore(self, folder: Path) -> None:
        """Take the weights that `save` wrote there, in place: optimizers keep their parameters."""
        refill(self.model, folder)


def _with_saved_adapters(place: str, dtype: str) -> tuple[nn.Module, Lora]:
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(place)
    base = open_model(str(config.base_model_name_or_path), dtype)
    model = PeftModel.from_pretrained(base, place, is_trainable=True)
    rank, alpha, dropout = (getattr(config, name) for name in ("r", "lora_alpha", "lora_dropout"))
    return model, Lora(rank, alpha, dropout, tuple(sorted(config.target_modules or ())))  # type: ignore[union-attr]
