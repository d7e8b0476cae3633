"""The decoder against transformers' greedy search, recomputed log-probs, the exact softmax, and its own promises."""

import numpy as np
import pytest
import torch

from critica.functional.random import uniforms
from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.cache import arrange
from critica.policies.decoder import Decoder
from critica.policies.fallback import generate_samples
from critica.policies.families import read_stack
from critica.policies.sampling import draw
from critica.records.words import StopReason
from policies.policies_fixtures import VOCAB, tiny_model

END = (2,)
FAMILIES = ("llama", "qwen2", "qwen3")


SHAPES = ((5, 4), (9, 3), (1, 1), (7, 5))


def prompts(shapes: tuple[tuple[int, int], ...] = SHAPES, seed: int = 0) -> list[SampleRequest]:
    """Requests of (prompt length, samples), each with streams of its own."""
    rng = np.random.default_rng(seed)
    return [
        SampleRequest(tuple(int(x) for x in rng.integers(3, VOCAB, size)), tuple((7, i, j) for j in range(count)))
        for i, (size, count) in enumerate(shapes)
    ]


def logprobs(model, prompt: tuple[int, ...], tokens: tuple[int, ...], temperature: float) -> torch.Tensor:
    ids = torch.tensor([[*prompt, *tokens]])
    with torch.no_grad():
        every = (model(ids).logits[0].double() / temperature).log_softmax(-1)
    return every[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None]).squeeze(1)


@pytest.mark.parametrize("native", (False, True))
@pytest.mark.parametrize("packed", (False, True))
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_generate_token_for_token(family: str, packed: bool, native: bool) -> None:
    model = tiny_model(family)
    requests = prompts()
    decoder = Decoder(read_stack(model), END, packed, native=native)
    made = decoder.sample(requests, SampleLimits(24, 0.0), seed=0)
    ended = 0
    for request, samples in zip(requests, made, strict=True):
        ids = torch.tensor([request.prompt_ids])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        wanted = tuple(out[0, ids.shape[1] :].tolist())
        for sample in samples:
            assert sample.token_ids == wanted
            assert np.allclose(sample.logprobs, logprobs(model, request.prompt_ids, wanted, 1.0), atol=1e-4)
            ended += sample.stop is StopReason.END_OF_TEXT
    assert ended < sum(len(samples) for samples in made)


@pytest.mark.parametrize("native", (False, True))
@pytest.mark.parametrize("temperature", (1.0, 0.6, 1.5))
@pytest.mark.parametrize("family", FAMILIES)
def test_behavior_logprobs_equal_recomputed_ones(family: str, temperature: float, native: bool) -> None:
    for tied, seed in ((True, 0), (False, 1)):
        model = tiny_model(family, tied, seed)
        requests = prompts(seed=seed)
        decoder = Decoder(read_stack(model), END, False, native=native)
        made = decoder.sample(requests, SampleLimits(20, temperature), 0)
        for samples, request in zip(made, requests, strict=True):
            for sample in samples:
                wanted = logprobs(model, request.prompt_ids, sample.token_ids, temperature)
                assert np.allclose(sample.logprobs, wanted, atol=1e-4)
                assert (sample.token_ids[-1] in END) == (sample.stop is StopReason.END_OF_TEXT)
                assert not set(sample.token_ids[:-1]) & set(END)


def test_tokens_are_the_inverse_distribution_function_of_the_rows_own_uniforms() -> None:
    model = tiny_model("qwen3", dtype=torch.float64)
    requests = prompts()
    made = Decoder(read_stack(model), (), False).sample(requests, SampleLimits(12), seed=5)
    for request, samples in zip(requests, made, strict=True):
        for stream, sample in zip(request.streams, samples, strict=True):
            points = uniforms(5, "decode", *stream, count=12)
            ids = torch.tensor([[*request.prompt_ids, *sample.token_ids]])
            with torch.no_grad():
                mass = model(ids).logits[0].double().softmax(-1).cumsum(-1).numpy()
            for t, point in enumerate(points):
                row = mass[len(request.prompt_ids) - 1 + t]
                assert sample.token_ids[t] == int(np.searchsorted(row, point * row[-1], side="right"))


def test_drawing_matches_the_softmax_by_enumeration() -> None:
    """A fine even grid of uniforms draws each token as often as its probability says, to one grid step."""
    logits = torch.tensor([[1.0, -2.0, 0.5, -torch.inf, 0.0, 2.0]], dtype=torch.float64)
    count = 20_000
    points = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    for temperature in (1.0, 0.7, 2.0):
        chosen, scored = draw(logits.expand(count, -1), points, temperature)
        mass = (logits[0] / temperature).softmax(-1)
        assert torch.allclose(torch.bincount(chosen, minlength=6).double() / count, mass, atol=2 / count)
        assert torch.allclose(scored, mass.log()[chosen])
        assert not (chosen == 3).any()


def test_drawing_at_the_edges_never_takes_an_impossible_token() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]])
    points = torch.tensor([0.0, 1.0 - 2**-53, 0.5], dtype=torch.float64)
    chosen, scored = draw(logits.expand(3, -1), points, 1.0)
    assert chosen.tolist() == [1, 2, 2]
    assert scored.isfinite().all()


def test_greedy_takes_the_smallest_id_among_equals() -> None:
    chosen, scored = draw(torch.tensor([[0.0, 3.0, 3.0]]), torch.zeros(1, dtype=torch.float64), 0.0)
    assert chosen.tolist() == [1]
    assert scored.item() == pytest.approx(float(torch.tensor([0.0, 3.0, 3.0]).log_softmax(-1)[1]))


@pytest.mark.parametrize("native", (False, True))
def test_a_rows_tokens_do_not_depend_on_its_neighbors_or_on_dropping_them(native: bool) -> None:
    model = tiny_model("qwen3")
    requests = prompts(((6, 8), (4, 8), (11, 2)))
    end_ids = tuple(range(2, 9))  # ends are common, so rows finish at very different times
    stack = read_stack(model)
    decoder = Decoder(stack, end_ids, False, native=native)
    together = decoder.sample(requests, SampleLimits(30), 1)
    lengths = [len(sample.token_ids) for samples in together for sample in samples]
    assert len(set(lengths)) > 4
    for request, samples in zip(requests, together, strict=True):
        for stream, sample in zip(request.streams, samples, strict=True):
            ((alone,),) = decoder.sample([SampleRequest(request.prompt_ids, (stream,))], SampleLimits(30), 1)
            assert alone.token_ids == sample.token_ids
            assert np.allclose(alone.logprobs, sample.logprobs, atol=1e-4)
            assert alone.stop == sample.stop
    backwards = decoder.sample(requests[::-1], SampleLimits(30), 1)
    assert [[s.token_ids for s in row] for row in backwards[::-1]] == [[s.token_ids for s in row] for row in together]


def test_a_small_cache_cuts_the_rows_into_chunks_with_the_same_tokens() -> None:
    model = tiny_model("llama")
    stack, requests = read_stack(model), prompts(((6, 5), (4, 5)))
    whole = Decoder(stack, END, False).sample(requests, SampleLimits(10), 2)
    cut = Decoder(stack, END, False, cache_bytes=6_000)
    assert len(cut._chunks(requests, SampleLimits(10))) > 2
    made = cut.sample(requests, SampleLimits(10), 2)
    assert [[s.token_ids for s in row] for row in made] == [[s.token_ids for s in row] for row in whole]


def test_forced_length_and_longer_limits_extend_a_sample() -> None:
    model = tiny_model("qwen2")
    stack, requests = read_stack(model), prompts()
    ends = tuple(range(2, 12))
    forced = Decoder(stack, ends, False).sample(requests, SampleLimits(9, 1.0, 9), 3)
    assert {len(sample.token_ids) for row in forced for sample in row} == {9}
    assert not any(set(sample.token_ids) & set(ends) for row in forced for sample in row)
    short = Decoder(stack, END, False).sample(requests, SampleLimits(5), 3)
    long = Decoder(stack, END, False).sample(requests, SampleLimits(15), 3)
    for a, b in zip((s for row in short for s in row), (s for row in long for s in row), strict=True):
        assert b.token_ids[: len(a.token_ids)] == a.token_ids


def test_the_same_call_gives_the_same_bits_and_another_seed_other_tokens() -> None:
    stack, requests = read_stack(tiny_model("qwen3")), prompts()
    first, second, other = (Decoder(stack, END, False).sample(requests, SampleLimits(16), seed) for seed in (4, 4, 5))
    assert first == second
    assert first != other


class StopAtThird:
    """Forbids token 5 and stops row 1 at its third token."""

    def __init__(self) -> None:
        self.calls = 0

    def on_logits(self, hidden, logits, rows):
        self.calls += 1
        assert hidden.shape[0] == logits.shape[0] == rows.shape[0]
        logits = logits.clone()
        logits[:, 5] = -torch.inf
        return logits, (rows == 1) & (self.calls == 3)

    def on_tokens(self, tokens, rows):
        return torch.zeros(len(rows), dtype=torch.bool)


class SeenRows:
    """Stops row i after i + 1 tokens, by counting how often it was shown."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def on_logits(self, hidden, logits, rows):
        for row in rows.tolist():
            self.seen[row] = self.seen.get(row, 0) + 1
        return logits, torch.tensor([self.seen[row] == row + 1 for row in rows.tolist()])

    def on_tokens(self, tokens, rows):
        return torch.zeros(len(rows), dtype=torch.bool)


def test_decode_control_changes_logits_and_stops_rows() -> None:
    stack, requests = read_stack(tiny_model("llama")), prompts()
    made = Decoder(stack, (), False).sample(requests, SampleLimits(40), 0, StopAtThird())
    free = Decoder(stack, (), False).sample(requests, SampleLimits(40), 0)
    cut = Decoder(stack, (), False, cache_bytes=30_000).sample(requests, SampleLimits(40), 0, SeenRows())
    assert [len(sample.token_ids) for row in cut for sample in row] == [1 + i for i in range(13)]
    flat = [sample for row in made for sample in row]
    assert any(5 in sample.token_ids for row in free for sample in row)
    assert not any(5 in sample.token_ids for sample in flat)
    assert [len(sample.token_ids) for sample in flat] == [40, 3, *[40] * 11]
    assert flat[1].stop is StopReason.EARLY_STOPPED and flat[0].stop is StopReason.TOKEN_LIMIT


class CountedRows:
    """Stops row i after i + 1 tokens, told once a step; notes every token that it is shown."""

    def __init__(self) -> None:
        self.seen: dict[int, list[int]] = {}

    def on_drawn(self, hidden, logits, tokens, rows, writing):
        assert hidden.shape[0] == logits.shape[0] == tokens.shape[0] == rows.shape[0] == writing.shape[0]
        stops = torch.zeros_like(writing)
        for slot in writing.nonzero().squeeze(-1).tolist():
            row = int(rows[slot])
            self.seen.setdefault(row, []).append(int(tokens[slot]))
            stops[slot] = len(self.seen[row]) == row + 1
        return stops if bool(stops.any()) else None


@pytest.mark.parametrize("native", (True, False))
def test_a_watch_is_told_every_token_once_and_stops_rows(native: bool) -> None:
    """Also where slots stand in for nobody, and where rows decode in several chunks."""
    stack, requests = read_stack(tiny_model("llama")), prompts()
    watch = CountedRows()
    made = Decoder(stack, (), False, cache_bytes=30_000, native=native).sample(requests, SampleLimits(40), 0, watch)
    free = Decoder(stack, (), False, native=native).sample(requests, SampleLimits(40), 0)
    flat = [sample for row in made for sample in row]
    assert [list(sample.token_ids) for sample in flat] == [watch.seen[row] for row in range(13)]
    assert [len(sample.token_ids) for sample in flat] == list(range(1, 14))
    assert {sample.stop for sample in flat} == {StopReason.EARLY_STOPPED}
    whole = [sample.token_ids for row in free for sample in row]
    assert [full[: len(sample.token_ids)] for sample, full in zip(flat, whole, strict=True)] == [
        s.token_ids for s in flat
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_grid_holds_every_row_once_beside_its_own_prompt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owners = np.sort(rng.integers(0, 6, int(rng.integers(1, 60))))
    grid = arrange(owners, np.arange(len(owners)))
    assert sorted(grid.rows[grid.rows >= 0].tolist()) == list(range(len(owners)))
    parents = np.repeat(grid.parents, grid.size)
    assert (owners[grid.filled] == parents).all()
    assert len(grid.rows) <= 1.1 * len(owners)


def test_equal_groups_fill_their_grid_exactly() -> None:
    grid = arrange(np.repeat(np.arange(16), 8), np.arange(128))
    assert grid.size == 8 and (grid.rows == np.arange(128)).all()


def test_generate_draws_the_same_tokens_as_the_decoder() -> None:
    model = tiny_model("qwen3")
    requests = prompts()
    for limits in (SampleLimits(12), SampleLimits(12, 0.0), SampleLimits(12, 0.7, 4)):
        ours = Decoder(read_stack(model), END, False).sample(requests, limits, 6)
        theirs = generate_samples(model, END, requests, limits, 6, rows_at_once=5)
        for a, b in zip((s for row in ours for s in row), (s for row in theirs for s in row), strict=True):
            assert a.token_ids == b.token_ids and a.stop == b.stop
            assert np.allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_zero_new_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="max_new_tokens"):
        Decoder(read_stack(tiny_model("llama")), END, False).sample(prompts(), SampleLimits(0), 0)
