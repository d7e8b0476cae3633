"""Critica: reinforcement learning of language models under noisy supervision, with the critic as a first-class part."""

__version__ = "0.1.0"
