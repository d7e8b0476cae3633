"""Reward functions written for other libraries, run unchanged: told apart by their parameters. Imports no torch.

verl: `compute_score(data_source, solution_str, ground_truth, extra_info=None)`, one completion a call, or the same in
plurals for a batch. OpenRLHF: `reward_func(queries, prompts, labels)`, which returns a mapping. verifiers: any of
`prompt, completion, answer, state, info, task, parser` by name, in plurals for a group, or a rubric object that holds
such functions and weights. reasoning-gym: an object with `score_answer(answer, entry)`.

What they return is read as their own library reads it, with one difference: a function that raises has failed, and
its row is masked; verifiers would call that zero.
"""

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast, get_args

from critica.rewards.wire import Item, Judge, Noted

Kind = Literal[
    "own", "trl", "verl", "verl_batch", "openrlhf", "verifiers", "verifiers_group", "rubric", "reasoning_gym"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
VERL = ("data_source", "solution_str", "ground_truth")
VERL_BATCH = ("data_sources", "solution_strs", "ground_truths")
OPENRLHF = ("queries", "prompts", "labels")
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
BY_NAME = frozenset({"prompt", "completion", "answer", "state", "info", "task", "parser"})
WHERE = {"prompt": "messages", "answer": "answer", "info": "info", "task": "environment"}  # of a task, by that name
BY_NAMES = frozenset({"prompts", "completions", "answers", "states", "infos", "tasks", "parser"})


def kind_of(function: object) -> Kind:
    """Which library a function or object was written for; `own` if nothing says otherwise."""
    if hasattr(function, "score_answer"):
        return "reasoning_gym"
    if _functions_of(function):
        return "rubric"
    if not callable(function):
        return "own"
    parameters = inspect.signature(function).parameters
    names = {name for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    required = {name for name in names if parameters[name].default is inspect.Parameter.empty}
    if names >= set(VERL):
        return "verl"
    if names >= set(VERL_BATCH):
        return "verl_batch"
    if names >= set(OPENRLHF):
        return "openrlhf"
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())  # as TRL's do for their columns
    if names & {"answers", "states", "infos", "tasks"} and required <= BY_NAMES and not takes_all:
        return "verifiers_group"
    if "completions" in names:
        return "trl"
    ours = list(parameters)[:2] == ["task", "completion"] and required <= {"task", "completion"}
    if required and required <= BY_NAME and names & {"completion", "prompt", "state"} and not ours:
        return "verifiers"
    return "own"


def foreign_judge(function: Any, kind: Kind, name: str) -> Judge:
    """The judge of a function of this kind. `own` and `trl` are `rewards.functions`' own."""
    if kind == "verl":
        return Judge(name, False, lambda items: [_verl(function(**_verl_row(items[0], function)))])
    if kind == "verl_batch":
        return Judge(name, True, lambda items: [_verl(one) for one in _listed(function(**_verl_rows(items, function)))])
    if kind == "openrlhf":
        return Judge(name, True, lambda items: _openrlhf(settle(function(**_openrlhf_rows(items)))))
    if kind == "verifiers":
        return Judge(name, False, lambda items: [settle(function(**_named(items[0], function)))])
    if kind == "verifiers_group":
        return Judge(name, True, lambda items: _listed(settle(function(**_named_rows(items, function)))))
    if kind == "rubric":
        return Judge(name, False, lambda items: [_rubric(function, items[0])])
    if kind == "reasoning_gym":
        return Judge(name, False, lambda items: [_reasoning_gym(function, items[0])])
    raise ValueError(f"{kind!r} is no foreign kind: there are {', '.join(KINDS[2:])}")


def settle(answer: object) -> object:
    """The answer of an async function once it has one; any other answer as it is."""
    if inspect.isawaitable(answer):

        async def wait() -> object:
            return await answer

        return asyncio.run(wait())
    return answer


def _listed(answers: object) -> list[object]:
    return list(cast(Sequence[object], settle(answers)))


def _given(function: Callable[..., object], offered: Mapping[str, Any]) -> dict[str, Any]:
    """What of the offer the function asks for by name, or all of it if it takes any keyword."""
    parameters = inspect.signature(function).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return {name: value for name, value in offered.items() if takes_all or name in parameters}


def _truth(item: Item) -> Any:
    """verl's ground truth: of the row's `reward_model` if it has one, else the answer."""
    model = item.task.seen().get("info", {}).get("reward_model")
    return model["ground_truth"] if isinstance(model, Mapping) and "ground_truth" in model else item.task.answer


def _verl_row(item: Item, function: Callable[..., object]) -> dict[str, Any]:
    info = item.task.seen().get("info", {})
    source = info["data_source"] if "data_source" in info else item.task.environment  # noqa: SIM401  may be withheld
    extra = info.get("extra_info", info)
    extra = {**dict(extra), "num_turns": 1} if isinstance(extra, Mapping) else extra
    offered = {"data_source": source, "solution_str": item.text, "ground_truth": _truth(item), "extra_info": extra}
    return {name: offered[name] for name in (*VERL, *(["extra_info"] if _takes(function, "extra_info") else []))}


def _verl_rows(items: Sequence[Item], function: Callable[..., object]) -> dict[str, Any]:
    rows = [_verl_row(item, lambda extra_info: None) for item in items]
    names = [*VERL, *(["extra_info"] if _takes(function, "extra_infos") else [])]
    return {f"{name}s": [row[name] for row in rows] for name in names}


def _takes(function: Callable[..., object], name: str) -> bool:
    parameters = inspect.signature(function).parameters
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _verl(answer: object) -> object:
    """A number; `score` of a mapping, the rest of it a note; the first of a tuple."""
    answer = settle(answer)
    if isinstance(answer, Mapping):
        if "score" not in answer:
            raise KeyError(
                f"verl reads 'score' of a mapping, and this one has {', '.join(map(str, answer)) or 'nothing'}"
            )
        rest = {str(key): value for key, value in answer.items() if key != "score"}
        return Noted(float(answer["score"]), json.dumps(rest, default=str)) if rest else answer["score"]
    return answer[0] if isinstance(answer, tuple) else answer


def _openrlhf_rows(items: Sequence[Item]) -> dict[str, Any]:
    """Text without special tokens: what was rendered for the model is not known to a worker."""
    prompts = [item.task.prompt for item in items]
    return {
        "queries": [prompt + item.text for prompt, item in zip(prompts, items, strict=True)],
        "prompts": prompts,
        "labels": [item.task.answer for item in items],
    }


def _openrlhf(answer: object) -> list[object]:
    """`rewards` of the mapping (a tensor, an array or a list), one number a query."""
    if not isinstance(answer, Mapping) or "rewards" not in answer:
        raise TypeError(f"OpenRLHF's reward_func returns a mapping with 'rewards', and this is {type(answer).__name__}")
    rewards = answer["rewards"]
    rewards = rewards.tolist() if hasattr(rewards, "tolist") else rewards
    return list(rewards) if isinstance(rewards, Sequence) else [rewards]


def _offer(item: Item, parser: object = None) -> dict[str, Any]:
    """What verifiers injects by name, of what is shown; a completion is a list with one message."""
    seen = item.task.seen()
    offered: dict[str, Any] = {"completion": [{"role": "assistant", "content": item.text}]}
    if "messages" in seen:
        offered["prompt"] = [{"role": m["role"], "content": m["content"]} for m in item.task.messages]
    offered |= {name: seen[name] for name in ("answer",) if name in seen}
    offered |= {name: dict(seen[name]) for name in ("info",) if name in seen}
    if "task" in seen.get("info", {}) or "environment" in seen:
        offered["task"] = seen["info"]["task"] if "task" in seen.get("info", {}) else item.task.environment
    return {**offered, "state": {**offered, "responses": []}, "parser": parser}


def _named(item: Item, function: Callable[..., object], parser: object = None) -> dict[str, Any]:
    offered = {**item.task.seen().get("info", {}), **_offer(item, parser)}
    _refuse_withheld(item, function, offered, "")
    return _given(function, offered)


def _named_rows(items: Sequence[Item], function: Callable[..., object]) -> dict[str, Any]:
    offers = [_offer(item) for item in items]
    plural = {f"{name}s": [offer[name] for offer in offers] for name in BY_NAME if name != "parser" and offers
              and name in offers[0]}  # fmt: skip
    for item in items[:1]:
        _refuse_withheld(item, function, plural, "s")
    return _given(function, plural)


def _refuse_withheld(item: Item, function: Callable[..., object], offered: Mapping[str, Any], ending: str) -> None:
    """Read a field that the function asks for and that is not shown, which raises the sentence that says so."""
    parameters = inspect.signature(function).parameters
    for name, field in WHERE.items():
        if f"{name}{ending}" in parameters and f"{name}{ending}" not in offered:
            getattr(item.task, field)


def _functions_of(rubric: object) -> list[Callable[..., object]]:
    """The functions that a rubric object holds, under either of verifiers' names."""
    found = getattr(rubric, "funcs", None) or getattr(rubric, "reward_funcs", None)
    return list(found) if isinstance(found, list | tuple) and all(callable(one) for one in found) else []


def _rubric(rubric: Any, item: Item) -> Noted:
    """The weighted sum of a rubric's functions; those of weight 0 are only noted."""
    functions = _functions_of(rubric)
    weights = list(
        getattr(rubric, "weights", None) or getattr(rubric, "reward_weights", None) or [1.0] * len(functions)
    )
    if len(weights) != len(functions):
        raise ValueError(f"a rubric with {len(functions)} functions has {len(weights)} weights")
    parser = getattr(rubric, "parser", None)
    said = [float(cast(Any, settle(one(**_named(item, one, parser))))) for one in functions]
    names = [getattr(one, "__name__", f"function {i}") for i, one in enumerate(functions)]
    return Noted(
        sum(weight * value for weight, value in zip(weights, said, strict=True)),
        json.dumps(dict(zip(names, said, strict=True))),
    )


def _reasoning_gym(data: Any, item: Item) -> object:
    """The data set's own score of what stands in the text's last <answer> tag, or of the text if it has none."""
    entry = {"question": item.task.prompt, "answer": item.task.answer, "metadata": dict(item.task.info)}
    tagged = ANSWER.findall(item.text)
    return data.score_answer(tagged[-1].strip() if tagged else item.text, entry)
