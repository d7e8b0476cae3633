"""Reward functions in the style of other libraries' examples, written to their documented signatures."""

import re


# TRL: keyword lists, columns of the data set, None for rows that do not apply
def trl_format_reward(completions, **kwargs):
    """1 where the thinking stands in its tags."""
    return [1.0 if re.fullmatch(r"<think>.*?</think>.+", text, re.DOTALL) else 0.0 for text in completions]


async def trl_accuracy_reward(prompts, completions, solution, **kwargs):
    """A column named `solution`; asynchronous."""
    return [float(text.strip().endswith(right)) for text, right in zip(completions, solution, strict=True)]


def trl_math_only_reward(prompts, completions, kind, **kwargs):
    """None for other tasks."""
    return [float("=" in text) if one == "math" else None for text, one in zip(completions, kind, strict=True)]


# verl: one completion a call, by name; numbers, mappings or tuples
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """The last number after four hash signs, and format credit."""
    found = re.findall(r"#### (-?\d+)", solution_str)
    if not found:
        return 0.0
    return 1.0 if found[-1] == ground_truth else 0.1


def compute_score_with_parts(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """A mapping with `score`."""
    right = solution_str.strip() == str(ground_truth)
    return {"score": float(right) - 0.1 * (extra_info["level"] > 2), "acc": right, "source": data_source}


def compute_score_batched(data_sources, solution_strs, ground_truths, extra_infos, **kwargs):
    """The batch manager's plurals."""
    return [{"score": len(text) / 10, "pred": text} for text in solution_strs]


def compute_score_old(data_source, solution_str, ground_truth):
    """A tuple, whose first counts."""
    return (solution_str == ground_truth, "parsed")


# OpenRLHF: queries (prompt and answer), prompts, labels; a mapping with rewards
def reward_func(queries, prompts, labels, **kwargs):
    """A plain list."""
    rewards = [
        float(label in query[len(prompt) :]) for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


def reward_func_arrays(queries, prompts, labels):
    """What has `tolist`, as a tensor has."""
    import numpy as np

    return {
        "rewards": np.array([len(query) - len(prompt) for query, prompt in zip(queries, prompts, strict=True)]) / 10
    }


def reward_func_one(queries, prompts, labels):
    """One number for one query, as in chunks of one sample."""
    import numpy as np

    return {"rewards": np.float64(0.5)}


# verifiers: what a function asks for by name, one message a completion; groups in plurals
def exact_match(completion, answer):
    """Two names."""
    return 1.0 if completion[-1]["content"].strip() == answer else 0.0


async def brevity(completion, state, **kwargs):
    """Asynchronous, with the rollout's state."""
    assert state["completion"] == completion
    return 1.0 / (1 + len(completion[-1]["content"]))


def has_level(prompt, completion, info):
    """The task's info."""
    return float(info["level"]) / 10 if prompt[-1]["role"] == "user" else -1.0


def most_common(completions, answers):
    """A group function: 1 for the most common answer."""
    texts = [completion[-1]["content"] for completion in completions]
    return [float(texts.count(text) == max(map(texts.count, texts))) for text in texts]


class Rubric:
    """Functions, weights (0: only noted) and a parser."""

    def __init__(self):
        self.funcs, self.weights, self.parser = [exact_match, brevity], [1.0, 0.0], None


rubric = Rubric()


# reasoning-gym: an object with score_answer
class Doubling:
    """Right is twice the number in the question."""

    def score_answer(self, answer, entry):
        """In [0, 1]."""
        return 1.0 if answer == str(2 * int(entry["question"])) else 0.01 * (entry["metadata"]["level"])


doubling = Doubling()


class Partial:
    """Credit for an oracle inside a longer answer."""

    def score_answer(self, answer, entry):
        """reasoning-gym's default rule."""
        oracle = entry["answer"]
        return 1.0 if answer == oracle else len(oracle) / len(answer) if oracle in (answer or "") else 0.0


partial = Partial()


def completion_of_own(task, completion):
    """Ours, whose names overlap with verifiers'."""
    return float(completion == task.answer)
