"""Spans of text as tokens: characters of several bytes, several turns, and shares that add up to the outcome."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arrays import token_batch
from critica.records.evidence import Evidence
from critica.records.supervision import Reward, Scale, Scored, SpanScore, TextSpan
from critica.records.words import ContextTurn, Message, SampledTurn, StopReason, Trajectory
from critica.rollout.combine import NormalizeThenSum, Sum
from critica.rollout.place import Placement, place
from critica.rollout.spans import token_spans, whole_length, whole_lengths


def decode(ids):
    """One token a byte; a character that is not finished is a replacement mark."""
    return bytes(ids).decode("utf-8", "replace")


def trajectory(*texts, context=(0, 0)):
    turns = []
    for text in texts:
        ids = tuple(text.encode())
        turns.append(ContextTurn(Message("user", "??"), context))
        turns.append(SampledTurn(Message("assistant", text), ids, (-1.0,) * len(ids), 1.0, 0))
    return Trajectory("a", "a", "t", "g", "policy", tuple(turns), StopReason.END_OF_TEXT)


def tokens_of(one, *spans):
    found = token_spans(one, [TextSpan(start, end, 0.5) for start, end in spans], decode)
    return [(span.start, span.end) for span in found]


def test_characters_of_several_tokens_belong_to_the_token_that_finishes_them():
    """a é € b in UTF-8: tokens 2 | 3 4 | 5 6 7 | 8 behind two of context."""
    one = trajectory("aé€b")
    assert tokens_of(one, (0, 1), (1, 2), (2, 3), (3, 4)) == [(2, 3), (4, 5), (7, 8), (8, 9)]
    assert tokens_of(one, (0, 4), (1, 3)) == [(2, 9), (4, 8)]


def test_turns_are_joined_by_a_separator_that_no_token_wrote():
    """'ab' and 'cd' are 'ab', a newline, 'cd': tokens 2 3 and, behind three more of context, 7 8."""
    one = trajectory("ab", "cd", context=(0, 0))
    assert one.sampled_text == "ab\ncd"
    assert tokens_of(one, (0, 2), (3, 5), (4, 5)) == [(2, 4), (6, 8), (7, 8)]
    assert tokens_of(one, (1, 4)) == [(3, 7)]  # context between belongs to nobody, and is paid nothing
    assert tokens_of(one, (2, 3)) == [(6, 7)]


def test_a_text_that_ends_in_half_a_character_is_covered_to_its_end():
    ids = (97, 0xE2, 0x82)
    turn = SampledTurn(Message("assistant", decode(ids)), ids, (-1.0,) * 3, 1.0, 0)
    turns = (ContextTurn(Message("user", "?"), (0,)), turn)
    one = Trajectory("a", "a", "t", "g", "policy", turns, StopReason.TOKEN_LIMIT)
    end = len(one.sampled_text)
    assert tokens_of(one, (0, end)) == [(1, 4)]
    assert tokens_of(one, (1, end)) == [(3, 4)]


def test_a_span_behind_the_text_and_one_that_nobody_can_decode_are_refused():
    with pytest.raises(ValueError, match="whose text has 2"):
        tokens_of(trajectory("ab"), (1, 3))
    with pytest.raises(ValueError, match="which tokens they are"):
        token_spans(trajectory("ab"), [TextSpan(0, 1, 1.0)], None)
    assert token_spans(trajectory("ab"), [], None) == ()


@given(st.text(alphabet="ab é€𝄞\n", min_size=1, max_size=12), st.data())
def test_neighboring_spans_take_every_character_s_last_token_in_order(text, data):
    """Spans that part a text part its tokens' ends: none is in two of them but where a character's bytes are."""
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=3))})
    found = tokens_of(trajectory(text), *pairwise(cuts))
    ends = [2 + len(text[:cut].encode()) for cut in cuts[1:]]
    assert [end for _, end in found] == ends
    assert all(start >= before for (start, _), (_, before) in zip(found[1:], found, strict=False))


@given(
    value=st.floats(-3, 3, width=32),
    spans=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.floats(-2, 2, width=32)), max_size=4),
    weight=st.sampled_from([1.0, -0.5, 2.0]),
)
def test_shares_and_rest_add_up_to_the_outcome(value, spans, weight):
    """The row's tokens pay weight * value, whatever the spans say, and each share lies on the span's last token."""
    batch = token_batch(["ccsscss"], [0])
    given_spans = tuple(SpanScore(2 + a, 2 + max(a + 1, b), v) for a, b, v in spans)
    reward = Reward("r", "t0", Scored(float(value)), spans=given_spans)
    placement = Placement(combination=Sum((weight,)))
    told = place((reward,), batch, Evidence(), placement, Scale("r", -3.0, 3.0))
    assert float(told.per_token.sum()) == pytest.approx(weight * value, abs=1e-5)
    expected = torch.zeros(7)
    for span in given_spans:
        inside = [t for t in range(span.end) if batch.sampled_mask[0, t]]
        expected[inside[-1]] += weight * span.value
    expected[6] += weight * (value - sum(span.value for span in given_spans))
    torch.testing.assert_close(told.per_token[0, :, 0], expected, atol=1e-5, rtol=1e-5)
    assert bool((told.per_token[0, ~batch.sampled_mask[0]] == 0).all())


def test_standardizing_stretches_shares_as_it_stretches_values():
    """Outcomes 1 and 0: the deviation is .7071, and half a point on a span is half of 1 / .7071."""
    batch = token_batch(["css", "css"], [0, 0])
    spans = (SpanScore(1, 2, 0.5),)
    rewards = (Reward("r", "t0", Scored(1.0), spans=spans), Reward("r", "t1", Scored(0.0)))
    told = place(rewards, batch, Evidence(), Placement(combination=NormalizeThenSum()), Scale("r", 0.0, 1.0))
    root = 0.5**0.5
    assert told.per_token[0, :, 0].tolist() == pytest.approx([0.0, root, 0.0], abs=1e-5)
    assert told.per_token[1, :, 0].tolist() == pytest.approx([0.0, 0.0, -root], abs=1e-5)


def stripped(ids):
    """Like SentencePiece: pieces that may begin with a blank, and the text's first blank is no part of it."""
    return "".join((" a", "b", " ", " cd", "e", "")[i % 6] for i in ids).removeprefix(" ")


def cleaned(ids):
    """A token that changes what stands before it: the blank before a full stop goes."""
    return "".join(("a", " ", ".", " b", "é", "")[i % 6] for i in ids).replace(" .", ".")


def marked(ids):
    """Bytes between marks that are always there."""
    return f"<{decode(ids)}>"


BYTES = st.one_of(
    st.text(alphabet="ab é€𝄞\ufffd", max_size=9).map(str.encode), st.binary(max_size=9), st.just(b"\xe2\x82" * 4)
)


@given(st.lists(BYTES, max_size=4).map(b"".join).map(tuple))
@pytest.mark.parametrize("way", [decode, stripped, cleaned, marked])
def test_windows_say_what_every_prefix_says(way, ids):
    """By enumeration: whole and broken characters, blanks at the start, texts that shrink as they grow."""
    assert whole_lengths(ids, way) == [whole_length(way(ids[: k + 1])) for k in range(len(ids))]


@pytest.mark.parametrize("way", [decode, stripped])
def test_the_cost_grows_with_the_text(way):
    """Fewer than 12 tokens are decoded for each one that was written, however many there are."""
    read = []

    def counted(ids):
        read.append(len(ids))
        return way(ids)

    ids = tuple(("aé€ 𝄞" * 400).encode())
    whole_lengths(ids, counted)
    assert len(ids) > 4000 and sum(read) < 12 * len(ids)
