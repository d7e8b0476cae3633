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
            for k in range(len(turn.token_ids)):
                longest = max(longest, before + whole_length(decode(turn.token_ids[: k + 1])))
                ends.append(longest)
                places.append(index + k)
            before += len(turn.message.content) + 1
        index += len(turn.token_ids)
    return ends, places


def whole_length(text: str) -> int:
    """The length without a character that is not finished yet."""
    return len(text.rstrip("\ufffd"))
