"""Which families of transformers' causal language models were trained here, each as a small random model in a test."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """A `model_type` of transformers. `packed`: its training pass is packed and its decoder ours, several times faster.

    Others go through their own padded forward pass and cache, and cannot be stopped or guided while they write.
    """

    name: str
    packed: bool = False


TRAINED = (
    *(Family(name, packed=True) for name in ("llama", "qwen2", "qwen3")),
    Family("mistral", packed=True),  # without its sliding window
    *(
        Family(name)
        for name in (
            "exaone4", "gemma", "gemma3_text", "glm", "gpt2", "gpt_neox", "granite", "lfm2", "mixtral", "nemotron",
            "olmo2", "olmoe", "phi3", "qwen3_moe", "smollm3", "stablelm", "starcoder2",
        )
    ),
)  # fmt: skip
REFUSED = {  # by name, before anything is trained
    "gemma2": "it rescales its logits (`final_logit_softcapping`)",
    "cohere": "it rescales its logits (`logit_scale`)",
}
