"""A rubric from a file: the judge's address and the criteria, in TOML."""

import tomllib
from pathlib import Path

from critica.rewards.judge_criteria import criteria_from
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.rubric import Rubric

EXAMPLE = """
url = "http://127.0.0.1:8000/v1"
model = "name-of-the-model"
[[criteria]]
name = "answer"
text = "The final answer that the response gives"
route = "extract_then_verify"
[[criteria]]
name = "clear"
text = "Is every step explained?"
tier = "additional"
choices = ["no", "partly", "yes"]
"""


def read_rubric(path: str) -> Rubric:
    """The rubric of a file such as `EXAMPLE`. Raises ValueError saying what is wrong with it."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {file.absolute()}")
    try:
        tables = tomllib.loads(file.read_text())
        unknown = sorted(set(tables) - {"url", "model", "criteria"})
        if unknown:
            raise ValueError(f"it has {unknown[0]!r}; a rubric has url, model and [[criteria]]")
        judge = HttpJudge(url=str(tables.get("url", "")), model=str(tables.get("model", "")))
        return Rubric(judge=judge, criteria=criteria_from(tables.get("criteria", [])), key="rubric")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_judge(spec: str) -> JudgeReward:
    """The judge that `URL#MODEL` names; without a URL one on this machine, see `HttpJudge`."""
    url, mark, model = spec.rpartition("#")
    if not mark or not model:
        raise ValueError(f"judge:{spec} names no model: write judge:http://127.0.0.1:8000/v1#MODEL")
    return JudgeReward(judge=HttpJudge(url=url, model=model))
