"""Peer: TRL's own `GRPOTrainer._compute_loss` on given log-probs, with everything around it stubbed.

Reads {"mask", "policy", "old", "sampling", "reference", "advantages", "cases": [settings]} from stdin; writes, for each
case, the loss and its gradient by the log-probs.
"""

import json
import sys
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from trl import GRPOTrainer

DEFAULTS = {
    "loss_type": "grpo", "importance_sampling_level": "token", "epsilon_low": 0.2, "epsilon_high": 0.2, "delta": None,
    "beta": 0.0, "use_bias_correction_kl": False, "off_policy_mask_threshold": None, "top_entropy_quantile": 1.0,
    "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05, "vespo_k_pos": 2.0, "vespo_lambda_pos": 3.0,
    "vespo_k_neg": 3.0, "vespo_lambda_neg": 2.0, "steps_per_generation": 1, "max_completion_length": 8,
}  # fmt: skip


def computed(case: dict, given: dict) -> dict:
    """TRL's loss under these settings and its gradient."""
    settings = {**DEFAULTS, **case}
    leaf = torch.tensor(given["policy"], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor(given["mask"], dtype=torch.float64)
    other = {name: torch.tensor(given[name], dtype=torch.float64) for name in ("old", "sampling", "reference")}
    accelerator = SimpleNamespace(
        num_processes=1, sync_gradients=True, gather=lambda x: x, gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
    )  # fmt: skip
    trainer = SimpleNamespace(
        **settings, args=SimpleNamespace(**settings), accelerator=accelerator, aux_loss_enabled=False,
        model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1, use_vllm=False,
        vllm_importance_sampling_correction=False, _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)}, get_gamma_weights=GRPOTrainer.get_gamma_weights,
        get_off_policy_mask=GRPOTrainer.get_off_policy_mask,
        _get_per_token_logps_and_entropies=lambda *a, **k: (leaf, torch.zeros_like(leaf), None),
    )  # fmt: skip
    width = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": width[:, :1], "prompt_mask": width[:, :1], "completion_ids": width, "completion_mask": mask,
        "advantages": torch.tensor(given["advantages"], dtype=torch.float64), "old_per_token_logps": other["old"],
        "sampling_per_token_logps": other["sampling"], "ref_per_token_logps": other["reference"],
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    return {"loss": loss.item(), "gradient": torch.autograd.grad(loss, leaf)[0].tolist()}


def main() -> None:
    """All cases."""
    given = json.load(sys.stdin)
    found = [computed(case, given) for case in given["cases"]]
    print(json.dumps({"trl": trl.__version__, "torch": torch.__version__, "cases": found}))


if __name__ == "__main__":
    main()
