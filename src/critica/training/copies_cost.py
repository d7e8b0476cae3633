"""What critics cost that are whole language models: copies of the policy that score pairs or state values in words."""

from dataclasses import dataclass

from critica.critics.base import CriticPart
from critica.critics.generative import GenerativeCritic
from critica.critics.language import StatedValue
from critica.critics.preference_models import PreferenceModels


@dataclass(frozen=True, slots=True)
class Copies:
    """Models with a head, as the policy has one: how many are trained and held, and the tokens that all of them read.

    `predicted` and `learned`: tokens read to predict, and tokens read again with a gradient, per pass, by all models
    together. `written`: tokens that a critic writes to predict. `length`: of the rows that are read.
    """

    trained: int
    held: int
    predicted: int
    learned: int
    written: int
    length: int


def copies_of(part: CriticPart, prompts: int, rows: int, prompt_tokens: int, answer_tokens: int) -> Copies | None:
    """The models of one critic, at the longest answers; None for a critic that is none.

    Preference models read every row, each of them. A critic that writes reads each state's prefix once, writes
    `samples` statements there, and learns from each of them behind its prefix; a state is the bare prompt, or one of
    `states_per_answer` places of an answer. With reading `expected` its own words are read once more.
    """
    length = prompt_tokens + answer_tokens
    match part:
        case PreferenceModels(teacher=teacher):
            cells = 2 * rows * length
            return Copies(0 if teacher else 2, 2, cells, 0 if teacher else cells, 0, length)
        case StatedValue(critic=GenerativeCritic() as writer):
            states = prompts + rows * writer.states_per_answer
            prefixes = prompts * prompt_tokens + rows * writer.states_per_answer * length
            written = writer.samples * states * writer.max_new_tokens
            again = written if writer.reading == "expected" else 0
            whole = length + writer.max_new_tokens
            return Copies(1, 1, prefixes + again, writer.samples * prefixes + written, written, whole)
        case _:
            return None
