"""Scored answers from anywhere, one JSON object a line, as training data for a critic.

    {"prompt": "12 + 7 = ", "completion": "19", "reward": 1}
    {"prompt": [{"role": "user", "content": "3 * 4?"}], "completion": "I think 1", "reward": 0, "cut": true}

`prompt` is text or messages, `completion` what was written after it, `reward` a number (null: nobody knows; such a line
is left out). `cut`: a limit ended it, so that no end-of-text follows. Lines with the same prompt are one group. Other
columns are not read.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from critica.environments.rows import Columns, Place, kind, parse_line
from critica.environments.splits import normalize
from critica.policies.base import WritingPolicy
from critica.policies.batching import microbatches
from critica.policies.body_mode import device_of
from critica.records.devices import moved
from critica.records.words import StopReason
from critica.training.critic_data import NoRollouts, StoredRollouts, StoredRow, batch_of, is_held_out
from critica.training.observe import score

SUFFIX = ".jsonl"
COLUMNS = Columns("prompt", "completion")


def is_answer_file(path: Path) -> bool:
    """Whether this names such a file."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def read_answers(path: Path, policy: WritingPolicy, held_out: float, seed: int, tokens: int) -> StoredRollouts:
    """The file's answers in this policy's tokens, with its log-probs of them: it stands in for whoever wrote them.

    The range of rewards is that of the file. `tokens` bounds the grid of one forward pass. Raises `TaskFileProblem`
    with the line, `NoRollouts` where one side of the split is empty.
    """
    groups: dict[str, list[StoredRow]] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if raw.strip() and (made := row_of(raw, Place(path.name, "line", number), policy, number)) is not None:
                groups.setdefault(made.prompt, []).append(made)
    sides: tuple[list[tuple[StoredRow, ...]], list[tuple[StoredRow, ...]]] = ([], [])
    for prompt, members in groups.items():
        sides[is_held_out(prompt, held_out, seed)].append(tuple(members))
    if not sides[0] or not sides[1]:
        raise NoRollouts(
            f"{path} holds {len(groups)} prompts with known rewards, {len(sides[0])} to learn from and {len(sides[1])}"
            " to judge by: both are needed; add prompts, or change --held-out"
        )
    rewards = [row.told for members in groups.values() for row in members]
    low, high = min(rewards), max(rewards)
    if low == high:
        raise NoRollouts(f"every reward in {path} is {low:g}: there is nothing to tell apart")
    learned, kept = (tuple(with_logprobs(members, policy, tokens) for members in side) for side in sides)
    return StoredRollouts(learned, kept, low, high)


def row_of(raw: bytes, place: Place, policy: WritingPolicy, number: int) -> StoredRow | None:
    """One line as a row without log-probs; None where the reward is not known."""
    read = parse_line(raw, COLUMNS, place)
    reward, cut = read.info.get("reward"), read.info.get("cut", False)
    if "reward" not in read.info:
        place.refuse("there is no column 'reward': write a number, or null where nobody knows")
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float)):
        place.refuse(f"column 'reward' is {kind(reward)}: write a number, or null where nobody knows")
    if not isinstance(cut, bool):
        place.refuse(f"column 'cut' is {kind(cut)}: write true or false")
    if not read.answer:
        place.refuse("there is no column 'completion': write what was answered")
    if reward is None:
        return None
    prompt = policy.encode(read.messages)
    written = (*policy.encode_text(read.answer), *(() if cut else policy.end_ids[:1]))
    size, width = len(written), len(prompt) + len(written)
    return StoredRow(
        name=f"line {number}", group=normalize(read.prompt), prompt=normalize(read.prompt),
        stop=str(StopReason.TOKEN_LIMIT if cut else StopReason.END_OF_TEXT), policy_version=0, told=float(reward),
        token_ids=(*prompt, *written), sampled=(False,) * len(prompt) + (True,) * size,
        turns=(0,) * len(prompt) + (1,) * size, temperature=(1.0,) * width, logprobs=(0.0,) * width,
        rewards=(0.0,) * (width - 1) + (float(reward),),
    )  # fmt: skip


@torch.no_grad()
def with_logprobs(rows: Sequence[StoredRow], policy: WritingPolicy, tokens: int) -> tuple[StoredRow, ...]:
    """The rows with the policy's log-prob of each written token."""
    batch = moved(batch_of(rows, 0.0, 1.0)[0], device_of(policy.model))
    scored = torch.zeros_like(batch.behavior_logprobs)
    for places in microbatches(batch, torch.arange(batch.rows, device=batch.device), tokens):
        piece = batch.select(places)
        scored[places, : piece.token_ids.shape[1]] = score(policy, piece, policy.sampled_states(piece))
    return tuple(replace(row, logprobs=tuple(scored[n, : len(row.token_ids)].tolist())) for n, row in enumerate(rows))
