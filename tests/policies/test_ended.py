"""Who is told that a row has ended: every row once, with all its tokens, while longer ones are still written."""

import pytest
import torch

from critica.policies.base import SampleLimits
from critica.policies.decoder import Decoder
from critica.policies.fallback import generate_samples
from critica.policies.families import read_stack
from critica.records.words import StopReason
from policies.policies_fixtures import tiny_model
from policies.test_decoder import END, prompts

LIMITS = SampleLimits(24, 1.5)
SHAPES = ((5, 30), (9, 20), (1, 1))


class Stops:
    """Gives up every third row after its second token."""

    def __init__(self):
        self.written = {}

    def on_drawn(self, hidden, logits, tokens, rows, writing):
        stop = torch.zeros_like(writing)
        for slot, row in enumerate(rows.tolist()):
            if writing[slot]:
                self.written[row] = self.written.get(row, 0) + 1
                stop[slot] = row % 3 == 0 and self.written[row] == 2
        return stop


@pytest.mark.parametrize("native", (False, True))
@pytest.mark.parametrize("chunked", (False, True))
def test_every_row_is_told_of_once_with_its_tokens_as_it_ends(native, chunked):
    heard = []
    decoder = Decoder(read_stack(tiny_model("qwen3")), END, False, 40_000 if chunked else 1 << 30, native)
    made = decoder.sample(prompts(SHAPES), LIMITS, 3, None, lambda row, tokens: heard.append((row, tokens)))
    rows = [sample for samples in made for sample in samples]
    assert sorted(heard) == [(row, sample.token_ids) for row, sample in enumerate(rows)]
    assert {sample.stop for sample in rows} == {StopReason.END_OF_TEXT, StopReason.TOKEN_LIMIT}
    lengths = [len(tokens) for _, tokens in heard]
    assert (lengths == sorted(lengths)) != chunked  # shorter rows first; a chunk begins when the one before has ended
    assert made == decoder.sample(prompts(SHAPES), LIMITS, 3)


def test_a_row_that_was_given_up_is_nobodys_business():
    heard = {}
    decoder = Decoder(read_stack(tiny_model("qwen3")), END, False)
    made = decoder.sample(prompts(SHAPES), LIMITS, 3, Stops(), heard.__setitem__)
    rows = [sample for samples in made for sample in samples]
    stopped = {row for row, sample in enumerate(rows) if sample.stop is StopReason.EARLY_STOPPED}
    assert len(stopped) > 5 and heard == {r: s.token_ids for r, s in enumerate(rows) if r not in stopped}


def test_the_plain_sampler_tells_of_each_batch():
    heard, model = [], tiny_model("qwen3")
    made = generate_samples(
        model, END, prompts(SHAPES), LIMITS, 3, 16, ended=lambda row, tokens: heard.append((row, tokens))
    )
    assert heard == list(enumerate(sample.token_ids for samples in made for sample in samples))
