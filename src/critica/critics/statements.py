"""How a critic states a value in words: reasoning, then `value: ` and one decimal; read strictly or not at all."""

import re

from critica.policies.base import TextCodec
from critica.records.supervision import Failed, Outcome, Scored

MARK = "value:"
STATEMENT = re.compile(r"[\s\S]*value: (0\.[0-9]|1\.0)")
BANDS = ((0.25, "low"), (0.75, "even"), (float("inf"), "high"))


def read_statement(text: str, finished: bool) -> Outcome:
    """The stated value in [0, 1]; Failed, with what is wrong, for anything but one statement at the very end.

    A text that states two values could be read as either, so it is read as none.
    """
    if not finished:
        return Failed("the statement was cut off before it ended")
    if text.count(MARK) != 1:
        return Failed(f"{text.count(MARK)} values are stated where one was asked for")
    found = STATEMENT.fullmatch(text)
    if not found:
        return Failed(f"no number from 0.0 to 1.0 with one decimal ends the text {text[-24:]!r}")
    return Scored(float(found.group(1)))


def model_statement(rate: float) -> str:
    """The statement that the format stage teaches for a success rate: a word for it, then the rate itself.

    Raises ValueError for a rate outside of [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a success rate lies in [0, 1], got {rate}")
    word = next(word for bound, word in BANDS if rate < bound)
    return f"{word}. {MARK} {rate:.1f}"


def require_spelling(policy: TextCodec) -> None:
    """Raise ValueError unless every value can be written and read back with this tokenizer."""
    for rate in [digit / 10 for digit in range(11)]:
        text = model_statement(rate)
        back = policy.decode_text(policy.encode_text(text))
        if back != text:
            raise ValueError(
                f"this tokenizer cannot write the statement {text!r} (it comes back as {back!r}): a critic that states"
                " values needs a tokenizer with digits, a point and a colon; take another policy, or critic=scalar"
            )
