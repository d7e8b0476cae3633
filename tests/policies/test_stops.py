"""Stop strings against the shortest prefix that holds one, in both decoders, and what becomes of the answer's text."""

from itertools import pairwise

import pytest
import torch

from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.decoder import Decoder
from critica.policies.families import read_stack
from critica.policies.language_model import LanguagePolicy
from critica.policies.sampling import stop_table
from critica.policies.truncation import Truncation
from critica.records.words import Message, StopReason
from critica.rollout.samples import answer_text, until_stop
from policies.policies_fixtures import small_tokenizer, tiny_model

REQUESTS = [SampleRequest(tuple(range(5, 5 + n)), tuple((1, n, j) for j in range(12))) for n in (3, 8)]
LIMIT = 40


def policy_of(family: str) -> LanguagePolicy:
    return LanguagePolicy(tiny_model(family, vocab_size=290, max_position_embeddings=96), small_tokenizer())


def shortest(policy: LanguagePolicy, tokens: tuple[int, ...], stops: tuple[str, ...]) -> int:
    """How many tokens until the text holds a stop string; 0 if it never does."""
    texts = (policy.decode_text(tokens[:n]) for n in range(1, len(tokens) + 1))
    return next((n for n, text in enumerate(texts, 1) if any(stop in text for stop in stops)), 0)


def pairs_written(policy: LanguagePolicy, tokens: tuple[int, ...]) -> list[str]:
    """Texts of two tokens in a row that both are letters of their own: strings across a border."""
    whole = [policy.decode_text((t,)) for t in tokens]
    return [a[-1] + b[0] for a, b in pairwise(whole) if a.isprintable() and b.isprintable() and a and b]


@pytest.mark.parametrize("family", ("qwen3", "gpt2"))
@pytest.mark.parametrize("truncation", (Truncation(), Truncation(top_k=20)))
def test_an_answer_ends_with_the_first_token_that_completes_a_stop(family: str, truncation: Truncation) -> None:
    policy = policy_of(family)
    plain = policy.sample(REQUESTS, SampleLimits(LIMIT, 1.2, truncation=truncation), 4)
    rows = [sample for row in plain for sample in row]
    seen = {pair for sample in rows for pair in pairs_written(policy, sample.token_ids[1:])}
    holders = {pair: sum(pair in policy.decode_text(sample.token_ids) for sample in rows) for pair in sorted(seen)}
    stops = tuple(pair for pair, count in holders.items() if 2 <= count <= 5)[:3]
    told: list[tuple[int, tuple[int, ...]]] = []
    limits = SampleLimits(LIMIT, 1.2, truncation=truncation, stop=stops)
    made = policy.sample(REQUESTS, limits, 4, None, lambda row, ids: told.append((row, ids)))
    cut = [sample for row in made for sample in row]
    for before, after in zip(rows, cut, strict=True):
        size = shortest(policy, before.token_ids, stops)
        if size:
            assert after.token_ids == before.token_ids[:size]
            assert after.logprobs == pytest.approx(before.logprobs[:size], abs=1e-4)
            assert after.stop is StopReason.STOP_STRING and after.kept == before.kept.first(size)
            text = answer_text(policy, after, limits)
            assert any(text.endswith(stop) for stop in stops) and policy.decode_text(after.token_ids).startswith(text)
        else:
            assert (after.token_ids, after.stop) == (before.token_ids, before.stop)
    ended = sum(sample.stop is StopReason.STOP_STRING for sample in cut)
    assert 2 < ended < len(cut)
    assert sorted(told) == [(row, sample.token_ids) for row, sample in enumerate(cut)]


def test_the_whole_word_stops_pico_across_its_tokens() -> None:
    policy = LanguagePolicy.load("pico", device="cpu")
    prompt = policy.encode([Message("user", "What is 12 + 34?")])
    asked = [SampleRequest(prompt, tuple((0, 0, j) for j in range(16)))]
    plain = policy.sample(asked, SampleLimits(24, 1.0), 0)[0]
    stop = next(
        text[at : at + 3]
        for sample in plain
        for text in [policy.decode_text(sample.token_ids)]
        for at in range(1, max(1, len(text) - 4))
        if len({policy.decode_text((t,)) for t in sample.token_ids}) > 3
    )
    made = policy.sample(asked, SampleLimits(24, 1.0, stop=(stop,)), 0)[0]
    sizes = [shortest(policy, sample.token_ids, (stop,)) for sample in plain]
    assert any(sizes)
    assert [len(s.token_ids) for s in made] == [n or len(s.token_ids) for n, s in zip(sizes, plain, strict=True)]


def test_letters_of_several_tokens_are_found() -> None:
    tokenizer = small_tokenizer()
    ids = tokenizer("ab→cd", add_special_tokens=False)["input_ids"]
    pieces = [i for i in ids if "\ufffd" in tokenizer.decode([i])]
    assert len(pieces) == 3, "the arrow is three tokens here"

    def text_of(tokens) -> str:
        return tokenizer.decode(list(tokens), skip_special_tokens=True)

    table = stop_table(("→",), text_of, 290, torch.device("cpu"))
    assert all(bool(table[i]) for i in pieces) and not bool(table[ids[0]])
    assert bool(stop_table(("\n",), text_of, 290, torch.device("cpu")).all()), "white space may be hidden in any token"


def test_what_lies_beyond_the_stop_is_no_part_of_the_answer() -> None:
    assert until_stop("<answer>4</answer>\n\nAnd", ("</answer>",)) == "<answer>4</answer>"
    assert until_stop("a##b**c", ("**", "##")) == "a##"
    assert until_stop("nothing", ("##",)) == "nothing" == until_stop("nothing", ())


def test_a_decoder_that_cannot_read_refuses_them() -> None:
    decoder = Decoder(read_stack(tiny_model("qwen3")), (2,), False)
    with pytest.raises(ValueError, match="stop strings"):
        decoder.sample(REQUESTS, SampleLimits(4, stop=("x",)), 0)
