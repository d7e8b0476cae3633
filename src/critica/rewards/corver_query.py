"""What a sentence claims, as words that a corpus should hold together, and what their count is worth."""

import re
from collections.abc import Sequence
from typing import Protocol

from critica.rewards.corpus_index import WORD

_PRONOUNS = """
he her hers herself him himself his i it its itself me mine my our ours she that their theirs them themselves
these they this those us we which who whom you your yours
"""
_OTHERS = """
a about after again against all also am an and answer any are as at be because been before being below between
both but by can could did do does done during each few for from had has have having hence here how however if
in into is just may might more most must no nor not of off on only onto or other out over own question same
shall should so some such than the then there therefore through thus to too under until up very was were what
when where while why will with without would yes yet
"""
PRONOUNS = frozenset(_PRONOUNS.split())
STOP = PRONOUNS | frozenset(_OTHERS.split())
SHORTEST = 3  # letters of a content word that has no capital


class QueryExtractor(Protocol):
    """The words of a sentence's claim; None where it makes none that could be looked up."""

    def query(self, sentence: str) -> tuple[str, ...] | None: ...


class ContentWords:
    """The sentence's capitalized words that are no stop words, else its other content words of three letters or more.

    Published is the same choice inside of a triplet (head, relation, tail) that a 0.5B model extracts; here the whole
    sentence stands in for the triplet, so long sentences ask for more than the claim, and are found less often. A
    sentence that begins with a pronoun is left out, as triplets with one are: what it speaks of is not in it.
    """

    def query(self, sentence: str) -> tuple[str, ...] | None:
        """At least two different words, in their order, or None."""
        words = [match.group() for match in WORD.finditer(re.sub(r"<[^<>]*>", " ", sentence))]
        if not words or words[0].lower() in PRONOUNS:
            return None
        content = [word for word in words if word.lower() not in STOP]
        named = [word.lower() for word in content if word[0].isupper() or word[0].isdigit()]
        plain = [word.lower() for word in content if len(word) >= SHORTEST]
        chosen = tuple(dict.fromkeys(named if len(set(named)) > 1 else plain))
        return chosen if len(chosen) > 1 else None


def worth_of(count: int | None, bounds: Sequence[int], worths: Sequence[float]) -> float:
    """worths[k] for bounds[k-1] <= count < bounds[k]; 0 for None. Published: -.3, -.1, 0, .1 at bounds 1, 5, 20."""
    return 0.0 if count is None else worths[sum(count >= bound for bound in bounds)]
