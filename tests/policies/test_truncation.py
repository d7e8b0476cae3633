"""Truncated sampling against hand-made laws, transformers' warpers, exact enumeration, and the learner's log-probs."""

from itertools import chain

import numpy as np
import pytest
import torch

from critica.functional import head
from critica.functional.kept_laws import KeptLaws
from critica.functional.logprobs import logprobs_and_entropies
from critica.policies.base import Sample, SampleLimits
from critica.policies.decoder import Decoder
from critica.policies.fallback import generate_samples
from critica.policies.families import read_stack
from critica.policies.language_model import LanguagePolicy
from critica.policies.power_sampling import PowerSampler, PowerSampling
from critica.policies.sampling import draw, draw_truncated
from critica.policies.scoring import scores_of
from critica.policies.truncation import Truncation, among
from critica.records.kept_tokens import NOTHING_CUT, KeptTokens
from critica.records.words import StopReason
from policies.policies_fixtures import VOCAB, tiny_model
from policies.test_decoder import prompts

LAW = torch.tensor([[0.06, 0.5, 0.04, 0.1, 0.3]]).log()
CUT = Truncation(top_p=0.8, top_k=9, min_p=0.02)


def left(logits: torch.Tensor, truncation: Truncation) -> list[set[int]]:
    ids, counts = truncation.best(logits)
    return [set(row[:count].tolist()) for row, count in zip(ids, counts.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        (Truncation(), {0, 1, 2, 3, 4}),
        (Truncation(top_k=3), {1, 4, 3}),
        (Truncation(top_p=0.79), {1, 4}),
        (Truncation(top_p=0.81), {1, 4, 3}),
        (Truncation(top_p=1e-6), {1}),
        (Truncation(top_k=3, top_p=0.85), {1, 4}),  # of .9: .56 + .33 reach it
        (Truncation(min_p=0.19), {1, 4, 3}),
        (Truncation(min_p=0.21), {1, 4}),
        (Truncation(top_k=99), {0, 1, 2, 3, 4}),
    ],
)
def test_hand_made_sets(truncation: Truncation, kept: set[int]) -> None:
    assert left(LAW, truncation) == [kept]


def test_the_sets_are_those_of_transformers() -> None:
    import transformers as hf

    logits = torch.randn(200, 40, generator=torch.Generator().manual_seed(0)) * 2
    ours = left(logits, Truncation(top_p=0.7, top_k=12, min_p=0.1))
    wanted = logits
    for warper in (hf.TopKLogitsWarper(12), hf.TopPLogitsWarper(0.7), hf.MinPLogitsWarper(0.1)):
        wanted = warper(torch.zeros(200, 1, dtype=torch.long), wanted)
    assert ours == [set(row.isfinite().nonzero().squeeze(-1).tolist()) for row in wanted]
    assert len({len(one) for one in ours}) > 3


def test_draws_follow_the_renormalized_law() -> None:
    points = (torch.arange(10_000) + 0.5) / 10_000
    truncation, heat = Truncation(top_p=0.81), 0.5
    chosen, said, counts, ids = draw_truncated(LAW.expand(10_000, 5), points, heat, truncation)
    cooled = LAW.exp()[0] ** 2
    kept = torch.tensor(sorted(left(LAW / heat, truncation)[0]))
    law = cooled[kept] / cooled[kept].sum()
    for token, chance in zip(kept.tolist(), law.tolist(), strict=True):
        drawn = chosen == token
        assert float(drawn.double().mean()) == pytest.approx(chance, abs=2e-4)
        assert torch.allclose(said[drawn].exp(), torch.tensor(chance), atol=1e-6)
    assert set(chosen.tolist()) == set(kept.tolist())
    assert counts.tolist() == [len(kept)] * 10_000 and len(ids) == len(kept) * 10_000


@pytest.mark.parametrize("native", (False, True))
@pytest.mark.parametrize("temperature", (1.0, 0.7))
def test_recorded_logprobs_are_of_the_law_that_was_sampled_from(native: bool, temperature: float) -> None:
    model, requests = tiny_model("qwen3"), prompts()
    limits = SampleLimits(20, temperature, truncation=CUT)
    made = Decoder(read_stack(model), (2,), False, native=native).sample(requests, limits, 3)
    sizes = set()
    for request, samples in zip(requests, made, strict=True):
        for sample in samples:
            ids = torch.tensor([[*request.prompt_ids, *sample.token_ids]])
            with torch.no_grad():
                logits = model(ids).logits[0, len(request.prompt_ids) - 1 : -1].double() / temperature
            counts, kept = sample.kept.arrays()
            assert len(counts) == len(sample.token_ids)
            for t, part in enumerate(np.split(kept, np.cumsum(counts)[:-1])):
                assert sample.token_ids[t] in part
                law = logits[t, part.astype(np.int64)]
                place = part.tolist().index(sample.token_ids[t])
                assert sample.logprobs[t] == pytest.approx(float(law.log_softmax(-1)[place]), abs=1e-4)
                assert set(part.tolist()) == left(logits[t : t + 1], CUT)[0]
                sizes.add(len(part))
    assert len(sizes) > 3


def test_finished_rows_and_chunks_keep_their_own_sets() -> None:
    model, requests = tiny_model("qwen3"), prompts()
    limits = SampleLimits(20, 1.0, truncation=CUT)
    whole = Decoder(read_stack(model), (2, 5, 9), False).sample(requests, limits, 3)
    lengths = {len(sample.token_ids) for row in whole for sample in row}
    assert len(lengths) > 3, "rows are to end at different times"
    chunked = Decoder(read_stack(model), (2, 5, 9), False, cache_bytes=9_000).sample(requests, limits, 3)
    for ours, theirs in zip(whole, chunked, strict=True):
        assert [(s.token_ids, s.kept) for s in ours] == [(s.token_ids, s.kept) for s in theirs]


def test_generate_keeps_the_same_sets() -> None:
    model, requests = tiny_model("llama"), prompts()
    limits = SampleLimits(15, 0.9, truncation=CUT)
    ours = Decoder(read_stack(model), (2,), False).sample(requests, limits, 3)
    theirs = generate_samples(model, (2,), requests, limits, 3, rows_at_once=4)
    for a, b in zip(chain(*ours), chain(*theirs), strict=True):
        assert (a.token_ids, a.stop, a.kept) == (b.token_ids, b.stop, b.kept)
        assert np.allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_one_token_left_is_greedy_and_certain() -> None:
    model, requests = tiny_model("qwen2"), prompts()
    decoder = Decoder(read_stack(model), (2,), False)
    greedy = decoder.sample(requests, SampleLimits(12, 0.0), 0)
    one = decoder.sample(requests, SampleLimits(12, 1.0, truncation=Truncation(top_k=1)), 0)
    assert [[s.token_ids for s in row] for row in greedy] == [[s.token_ids for s in row] for row in one]
    assert all(logprob == 0 for row in one for s in row for logprob in s.logprobs)


def test_off_is_off_and_greedy_keeps_nothing() -> None:
    model, requests = tiny_model("qwen2"), prompts()
    decoder = Decoder(read_stack(model), (2,), False)
    plain = decoder.sample(requests, SampleLimits(12), 0)
    assert all(s.kept == NOTHING_CUT for row in plain for s in row)
    cold = decoder.sample(requests, SampleLimits(12, 0.0, truncation=CUT), 0)
    assert cold == decoder.sample(requests, SampleLimits(12, 0.0), 0)
    everything = decoder.sample(requests, SampleLimits(12, truncation=Truncation(top_k=VOCAB)), 0)
    assert [[(s.token_ids, s.logprobs) for s in row] for row in plain] == [
        [(s.token_ids, s.logprobs) for s in row] for row in everything
    ]


def laws_of(sets: list[list[int]]) -> KeptLaws:
    counts, ids = [len(one) for one in sets], [token for one in sets for token in one]
    return KeptLaws(torch.tensor(counts), torch.tensor(ids, dtype=torch.long))


def test_the_expected_gradient_under_the_law_sampled_from_is_zero_over_the_kept_set_alone() -> None:
    """The reason to keep the set: sum_a q(a) grad log pi(a) = 0 holds for pi_K, and not for the whole vocabulary."""
    logits = torch.randn(1, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    kept = [1, 4, 6]
    q = logits.detach()[0, kept].softmax(-1)
    rows = logits.expand(3, 7)
    tokens, heat = torch.tensor(kept), torch.ones(3, dtype=torch.float64)
    over_kept = logprobs_and_entropies(laws_of([kept] * 3).restrict(rows, torch.arange(3)), tokens, heat)[0]
    assert torch.allclose(over_kept, q.log())
    ours = torch.autograd.grad((q * over_kept).sum(), logits, retain_graph=True)[0]
    assert torch.allclose(ours, torch.zeros_like(ours), atol=1e-12)
    over_all = logprobs_and_entropies(rows, tokens, heat)[0]
    theirs = torch.autograd.grad((q * over_all).sum(), logits)[0]
    mass = float(logits.detach().softmax(-1)[0, kept].sum())
    assert float(theirs[0, kept].sum()) == pytest.approx(1 - mass, abs=1e-9) and 1 - mass > 0.1


def test_no_gradient_outside_and_the_whole_vocabulary_where_nothing_was_cut() -> None:
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(2)).requires_grad_()
    laws = laws_of([[0, 2], [], [5]])
    shown = laws.restrict(logits, torch.arange(3))
    assert shown.isfinite().tolist() == [
        [True, False, True, False, False, False], [True] * 6, [False] * 5 + [True],
    ]  # fmt: skip
    said, entropies = logprobs_and_entropies(shown, torch.tensor([2, 3, 5]), torch.ones(3))
    (said.sum() + entropies.sum()).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert (logits.grad[0, [1, 3, 4, 5]] == 0).all() and (logits.grad[0, [0, 2]] != 0).all()
    assert (logits.grad[1] != 0).all() and (logits.grad[2] == 0).all()
    assert float(entropies[2].detach()) == 0 and float(said[2].detach()) == 0
    again = laws.restrict(logits[[2, 0]], torch.tensor([2, 0]))
    assert torch.equal(again, shown[[2, 0]])


def test_chunks_of_tokens_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = LanguagePolicy(tiny_model("qwen3"), None)
    chance = torch.Generator().manual_seed(0)
    states = torch.randn(90, 16, generator=chance).requires_grad_()
    tokens, heat = torch.randint(0, VOCAB, (90,), generator=chance), torch.full((90,), 0.8)
    sets = [sorted({int(t), *range(n % 7)}) if n % 3 else [] for n, t in enumerate(tokens)]
    found = []
    for entries in (1 << 24, 1):
        monkeypatch.setattr(head, "ENTRIES", entries)
        said, entropies = scores_of(policy, states, tokens, heat, kept=laws_of(sets))
        found.append((said, entropies, torch.autograd.grad((said * torch.arange(90)).sum(), states)[0]))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_what_a_limit_leaves_of_a_sample_keeps_the_right_sets() -> None:
    kept = KeptTokens.of([2, 1, 3], [7, 8, 9, 4, 5, 6])
    cut = Sample((7, 9, 5), (-1.0, 0.0, -2.0), StopReason.END_OF_TEXT, kept).within(2)
    assert cut == Sample((7, 9), (-1.0, 0.0), StopReason.TOKEN_LIMIT, KeptTokens.of([2, 1], [7, 8, 9]))
    assert KeptTokens.join([(2, NOTHING_CUT), (1, KeptTokens.of([1], [3]))]) == KeptTokens.of([0, 0, 1], [3])
    assert KeptTokens.join([(2, NOTHING_CUT), (1, NOTHING_CUT)]) == NOTHING_CUT


@pytest.mark.parametrize("wrong", [{"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"min_p": 1.0}, {"min_p": -0.1}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Truncation(**wrong)


def test_power_sampling_takes_none() -> None:
    sampler = PowerSampler(LanguagePolicy(tiny_model("qwen3"), None), PowerSampling(moves=1, blocks=1))
    with pytest.raises(ValueError, match="top_p"):
        sampler.sample(prompts(), SampleLimits(4, truncation=CUT), 0)


def test_a_law_that_is_no_number_stays_none() -> None:
    logits = torch.full((1, 5), torch.nan)
    said = draw_truncated(logits, torch.tensor([0.3]), 1.0, CUT)[1]
    assert not said.isfinite().any()
    assert not draw(logits, torch.tensor([0.3]), 1.0)[1].isfinite().any()
    assert among(LAW, *Truncation(top_k=2).best(LAW))[0].isfinite().sum() == 2
