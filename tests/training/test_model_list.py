"""Every family that the documentation lists: a small random model trains, and its checkpoint is transformers' own."""

import pytest
import torch
import transformers

from critica.policies.language_model import LanguagePolicy, PolicyLoadError
from critica.policies.model_list import REFUSED, TRAINED
from critica.policies.part import LocalPolicy
from critica.store.run_folder import RunFolder
from critica.training.run import train

SIZES = {
    "vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 16, "intermediate_size": 48, "max_position_embeddings": 256, "pad_token_id": 0, "eos_token_id": 1,
    "bos_token_id": None,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
OTHERS = {
    "gpt2": {"vocab_size": 258, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256, "eos_token_id": 1,
             "bos_token_id": None, "pad_token_id": 0},
    "qwen3_moe": SIZES | EXPERTS, "olmoe": SIZES | EXPERTS, "mixtral": SIZES | {"num_local_experts": 4},
    "mistral": SIZES | {"sliding_window": None},
}  # fmt: skip


def made(name, tiny_folder, folder):
    """A random model of this family, with the tokenizer of the tiny policy."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, **OTHERS.get(name, SIZES))
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:.*padded forward")
@pytest.mark.parametrize("family", TRAINED, ids=lambda family: family.name)
def test_a_model_of_this_family_trains_and_its_checkpoint_opens(family, tiny_folder, small, tmp_path):
    folder = made(family.name, tiny_folder, tmp_path / "model")
    train(small("grpo", steps=2, policy=LocalPolicy(str(folder))), tmp_path / "run")
    lines = list(RunFolder.open(tmp_path / "run").metrics())
    assert max(line["mismatch/mean_abs_logratio"] for line in lines) < 1e-5
    saved = tmp_path / "run" / "checkpoints" / "step_2" / "policy"
    policy = LanguagePolicy.load(str(saved))
    assert (policy._forward.stack is not None) == family.packed
    model = transformers.AutoModelForCausalLM.from_pretrained(saved)
    before = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        ours, theirs = policy.model(ids).logits, model(ids).logits
        torch.testing.assert_close(ours, theirs)
        assert not torch.allclose(theirs, before(ids).logits)


@pytest.mark.parametrize("name", REFUSED)
def test_a_family_that_would_be_trained_wrongly_is_refused(name, tiny_folder, tmp_path):
    with pytest.raises(PolicyLoadError, match="rescales its logits"):
        LanguagePolicy.load(str(made(name, tiny_folder, tmp_path / "model")))
