"""Which tokens a span of text is."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from critica.records.supervision import SpanScore, TextSpan
from critica.records.words import SampledTurn, Trajectory

Decode = Callable[[Sequence[int]], str]


def token_spans(trajectory: Trajectory, spans: Sequence[TextSpan], decode: Decode | None) -> tuple[SpanScore, ...]:
    """The spans of the sampled text as spans of the trajectory's tokens: those whose characters they touch.

    A token is taken to write what the text grows by with it, so one character of several tokens belongs to the last
    of them. A span over several turns ends with the last it reaches; the separator between turns belongs to the
    first token of the next. Raises ValueError for a span that ends behind the text.
    """
    if not spans:
        return ()
    if decode is None:
        raise ValueError("a source speaks of spans of text, and nothing here can say which tokens they are")
    ends, places = written(trajectory, decode)
    text = trajectory.sampled_text
    found = []
    for span in spans:
        if span.end > len(text):
            raise ValueError(
                f"a span ends at character {span.end} of trajectory {trajectory.trajectory_id!r}, whose text has"
                f" {len(text)}: spans count characters of the answer's text"
            )
        first = min(bisect_right(ends, span.start), len(ends) - 1)
        last = max(min(bisect_left(ends, span.end), len(ends) - 1), first)
        found.append(SpanScore(places[first], places[last] + 1, span.value))
    return tuple(found)


def written(trajectory: Trajectory, decode: Decode) -> tuple[list[int], list[int]]:
    """(how long the sampled text is after each sampled token, that token's index in the trajectory)."""
    ends, places = [], []
    index = before = 0
    for turn in trajectory.turns:
        if isinstance(turn, SampledTurn):
            longest = before
            for k, length in enumerate(whole_lengths(turn.token_ids, decode)):
                longest = max(longest, before + length)
                ends.append(longest)
                places.append(index + k)
            before += len(turn.message.content) + 1
        index += len(turn.token_ids)
    return ends, places


def whole_lengths(ids: Sequence[int], decode: Decode) -> list[int]:
    """`whole_length(decode(ids[: k + 1]))` for each k, from short windows, so that the cost grows with the text.

    A window begins one whole piece of text before the tokens that are new, because decoders treat the start of a text
    apart. If the pieces do not make up the text, a token changes what stands before it, and every prefix is decoded.
    """
    lengths: list[int] = []
    pieces: list[str] = []
    begin = whole = 0  # tokens: where the window begins, and up to where the text is in `pieces`
    done = shown = 0  # characters: of `pieces`, and of the window up to `whole`
    text = ""
    for k in range(len(ids)):
        text = decode(ids[begin : k + 1])
        size = whole_length(text)
        lengths.append(done + size - shown)
        if shown < size == len(text):
            pieces.append(text[shown:])
            begin, whole, done = whole, k + 1, lengths[-1]
            text = decode(ids[begin:whole])
            shown = len(text)
    if "".join(pieces) + text[shown:] != decode(ids):
        return [whole_length(decode(ids[: k + 1])) for k in range(len(ids))]
    return lengths


def whole_length(text: str) -> int:
    """The length without a character that is not finished yet."""
    return len(text.rstrip("\ufffd"))
