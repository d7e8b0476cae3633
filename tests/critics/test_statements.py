"""A stated value is read strictly or not at all, and the law of its digits exactly."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from critica.critics.digit_law import DigitTokens
from critica.critics.statements import model_statement, read_statement, require_spelling
from critica.records.supervision import Failed, Scored


@pytest.mark.parametrize("text, value", [("low. value: 0.3", 0.3), ("value: 1.0", 1.0), ("a\nb value: 0.0", 0.0)])
def test_one_value_at_the_end_is_read(text, value):
    assert read_statement(text, finished=True) == Scored(value)


@pytest.mark.parametrize(
    "text",
    ["", "0.7", "value: 0.7.", "value: 0.7 ", "value: 0.75", "value: 1.1", "value: 7", "value: .7", "value: -0.7",
     "value: 0.7 or value: 0.2", "value: value: 0.7", "Value: 0.7", "value:0.7", "value: 0,7", "value: ０.７"],
)  # fmt: skip
def test_anything_else_is_a_failure_and_never_a_number(text):
    assert isinstance(read_statement(text, finished=True), Failed)


def test_a_statement_that_was_cut_off_is_not_read():
    """`value: 0.7` may have been about to go on."""
    assert isinstance(read_statement("value: 0.7", finished=False), Failed)


def test_model_statements_are_read_as_the_rate_that_they_were_made_from():
    for rate in [tenth / 10 for tenth in range(11)]:
        read = read_statement(model_statement(rate), finished=True)
        assert isinstance(read, Scored) and read.value == pytest.approx(rate)
    assert read_statement(model_statement(2 / 3), finished=True) == Scored(0.7)
    words = [model_statement(rate).split(".")[0] for rate in (0.0, 0.24, 0.25, 0.5, 0.75, 1.0)]
    assert words == ["low", "low", "even", "even", "high", "high"]
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        model_statement(1.2)


def letters(merge=()):
    """One token a character, but for the merged pieces."""
    pieces = [*merge, *(chr(i) for i in range(32, 127))]

    def encode(text):
        ids = []
        while text:
            piece = next(i for i, p in enumerate(pieces) if text.startswith(p))
            ids.append(piece)
            text = text[len(pieces[piece]) :]
        return tuple(ids)

    return SimpleNamespace(
        encode_text=encode, decode_text=lambda ids: "".join(pieces[i] for i in ids), size=len(pieces)
    )


def test_the_mean_of_the_digits_is_that_of_every_value_enumerated():
    policy = letters()
    digits = DigitTokens.of(policy)
    logits = torch.randn(3, policy.size, generator=torch.Generator().manual_seed(1))
    first = {d: float(logits[0, policy.encode_text(d)[0]].exp()) for d in "01"}
    decimal = {d: float(logits[2, policy.encode_text(d)[0]].exp()) for d in "0123456789"}
    chance = {f"0.{d}": first["0"] * weight / sum(decimal.values()) for d, weight in decimal.items()}
    chance["1.0"] = first["1"]
    total = sum(chance.values())
    assert digits.mean(logits) == pytest.approx(sum(float(v) * p for v, p in chance.items()) / total, abs=1e-6)


def test_only_legal_values_count_as_spelled():
    policy = letters()
    digits = DigitTokens.of(policy)
    legal = {f"0.{d}" for d in range(10)} | {"1.0"}
    for text in map("".join, itertools.product("0127", ".,", "0179")):
        assert digits.spells(policy.encode_text(text)) is (text in legal), text


def test_a_tokenizer_without_digits_of_their_own_is_refused():
    with pytest.raises(ValueError, match="reading=sampled"):
        DigitTokens.of(letters(merge=["0."]))
    with pytest.raises(ValueError, match="reading=sampled"):
        DigitTokens.of(letters(merge=[".7"]))
    require_spelling(letters(merge=["0."]))  # it can still write them
    mute = SimpleNamespace(
        encode_text=lambda text: tuple(map(ord, text)),
        decode_text=lambda ids: "".join("?" if chr(i).isdigit() else chr(i) for i in ids),
    )
    with pytest.raises(ValueError, match="needs a tokenizer with digits"):
        require_spelling(mute)
