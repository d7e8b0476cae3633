"""Critica: reinforcement learning of language models under noisy supervision, with the critic as a first-class part."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Names of the Python API and where they live: nothing heavy is imported before one of them is used.
_API = {
    "recipe": "critica.recipes.named",
    "recipes": "critica.recipes.named",
    "train": "critica.training.run",
    "resume": "critica.training.run",
    "train_seeds": "critica.training.many_seeds",
    "replay": "critica.training.replay",
    "evaluate": "critica.training.held_out",
    "compare": "critica.training.comparison",
    "audit_critic": "critica.training.critic_audit",
    "AuditPlan": "critica.training.critic_audit",
    "fit_critic": "critica.training.critic_fit",
    "FitPlan": "critica.training.critic_plan",
    "fit_reward_model": "critica.training.reward_fit",
    "audit_reward_model": "critica.training.reward_audit",
    "plan": "critica.training.plan",
    "answers": "critica.training.answers",
    "RunFolder": "critica.store.run_folder",
    "write_report": "critica.viewer.report",
    "export_policy": "critica.training.exporting",
}

__all__ = ["__version__", *_API]


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"critica has no {name!r}; it has: {', '.join(__all__)}")
    return vars(importlib.import_module(_API[name]))[name]


def __dir__() -> list[str]:
    return sorted(__all__)
