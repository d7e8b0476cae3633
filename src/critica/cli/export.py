"""`critica policy export`: a trained policy as a folder that transformers, peft and servers open."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.output import say, show
from critica.recipes.coercion import ConfigError


@dataclass(frozen=True, kw_only=True)
class ExportPolicy:
    """Write a trained policy as a folder that other libraries open: transformers, peft, vLLM and the like.

    Full weights are written as safetensors with config, tokenizer and chat template. Adapters (policy.lora.rank) are
    written as peft reads them, with their base by its absolute path or hub name; --merge adds them into the base and
    writes whole weights. The folder is opened again by transformers alone, and its logits compared.

    Examples:
      critica policy export runs/mine --to model
      critica policy export runs/mine --to merged --merge --dtype bfloat16
      critica policy export runs/mine/best --to best
    """

    # A run folder (its last checkpoint), a model folder, or a name.
    policy: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN|DIR", help_behavior_hint="")]

    # The folder to write.
    to: Annotated[str, arg(metavar="DIR", help_behavior_hint="")]

    # Add adapters into the weights of their base.
    merge: bool = False

    # Cast the weights: float32, bfloat16 or float64; by default as they were trained.
    dtype: Annotated[str, arg(metavar="DTYPE", help_behavior_hint="")] = ""

    def __call__(self) -> int:
        """Write the folder whole, compare, and say how to open it."""
        if len(self.policy) != 1:
            raise ConfigError("name one policy: `critica policy export RUN --to DIR`.")
        from critica.training.exporting import FolderTaken, export_policy

        try:
            made = export_policy(self.policy[0], self.to, self.merge, self.dtype)
        except FolderTaken as error:
            raise ConfigError(str(error)) from error
        what = f"adapters on {made.base}" if made.adapters else f"whole weights in {made.dtype}"
        show(f"{self.to}: {what}, from {made.source}; logits agree to {made.largest_gap:.1g}")
        library = "PeftModel.from_pretrained(base, …)" if made.adapters else "AutoModelForCausalLM.from_pretrained(…)"
        say(f"open it with {library}, or go on from it: `critica train grpo --policy {self.to}`")
        return 0
