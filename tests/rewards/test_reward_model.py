"""Transformers reward models as sources: transformers' own numbers, shares that add up, and nothing silent."""

import math
from itertools import pairwise

import pytest
import torch

from critica.environments.digit_sum import DigitSum
from critica.records.supervision import Abstained, Failed, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.reward_model import RewardModel
from critica.rewards.reward_model_network import new_attention, open_reward_network
from critica.rewards.reward_model_text import RewardModelProblem, buckets, read_text
from critica.rewards.sentences import sentence_spans
from rewards.tiny_judges import byte_tokenizer, tiny_folder

TASK = Task("t", "e", (Message("user", "How much is 2 + 2? "),), "4", {"secret": "s"})
TEXTS = ("4", "It is 5. No, wait! é𝄞 It is 4.", "so <|end|> yes", "Never. Ever? ")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("judges")
    return {
        "plain": tiny_folder(root / "plain"),
        "chat": tiny_folder(root / "chat", chat=True, family="Llama", seed=1),
        "tokens": tiny_folder(root / "tokens", kind="ForTokenClassification", family="Bert", seed=2),
        "encoder": tiny_folder(root / "encoder", family="Bert", seed=3, labels=3),
        "language": tiny_folder(root / "language", kind="ForCausalLM", seed=4),
    }


def asked(*texts):
    return [ScoreRequest(TASK, str(i), text) for i, text in enumerate(texts)]


def live(folder, **more):
    return RewardModel(str(folder), **more).build(DigitSum().build(0))


def score(verdict):
    return verdict.parts["reward_model/score"]


def test_the_score_is_what_transformers_says_of_each_text_alone(folders):
    from transformers import AutoModelForSequenceClassification

    for name, label in (("plain", 0), ("chat", 0), ("encoder", 2)):
        source = live(folders[name], label=label, tokens_per_batch=90)
        model = AutoModelForSequenceClassification.from_pretrained(folders[name]).eval()
        tokenizer = byte_tokenizer(name == "chat")
        for text, verdict in zip(TEXTS, source.verdicts(asked(*TEXTS)), strict=True):
            ids = list(read_text(tokenizer, TASK.messages, text).token_ids)
            with torch.inference_mode():
                expected = float(model(input_ids=torch.tensor([ids])).logits[0, label])
            assert score(verdict) == pytest.approx(expected, abs=1e-5)
            assert isinstance(verdict.outcomes[0], Scored)
            assert verdict.outcomes[0].value == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-6)
            assert verdict.cost == len(ids)
        again = source.verdicts(asked(*TEXTS))
        assert again == source.verdicts(asked(*TEXTS))


def test_only_the_template_speaks_special_tokens(folders):
    tokenizer = byte_tokenizer(chat=True)
    reading = read_text(tokenizer, TASK.messages, "so <|end|> yes")
    assert tokenizer.decode(reading.token_ids[: reading.start]).endswith("<|start|>assistant\n")
    assert tokenizer.decode(reading.token_ids[reading.stop :]) == "<|end|>\n"
    assert tokenizer.convert_tokens_to_ids("<|end|>") not in reading.token_ids[reading.start : reading.stop]
    assert tokenizer.decode(reading.token_ids[reading.start : reading.stop]) == "so <|end|> yes"
    assert reading.ends[-1] == len("so <|end|> yes")


def test_token_shares_are_the_heads_own_and_add_up(folders):
    from transformers import AutoModelForTokenClassification

    source = live(folders["tokens"], level="token", squash="none", low=-9.0, high=9.0)
    model = AutoModelForTokenClassification.from_pretrained(folders["tokens"]).eval()
    for text, verdict in zip(TEXTS, source.verdicts(asked(*TEXTS)), strict=True):
        reading = read_text(byte_tokenizer(), TASK.messages, text)
        with torch.inference_mode():
            own = model(input_ids=torch.tensor([reading.token_ids])).logits[0, reading.start : reading.stop, 0]
        assert score(verdict) == pytest.approx(float(own.mean()), abs=1e-5)
        assert math.fsum(span.value for span in verdict.spans) == pytest.approx(score(verdict), abs=1e-5)
        assert verdict.outcomes == (Scored(score(verdict)),)
        assert verdict.spans[0].value == pytest.approx(float(own[0]) / len(own), abs=1e-6)
        assert [s.start for s in verdict.spans][1:] == [s.end for s in verdict.spans][:-1]
        assert verdict.spans[-1].end == len(text)


def test_sentence_shares_are_differences_of_one_head(folders):
    """Without attention they telescope: R = f(end) - f(start), and each share is f(its end) - f(its start)."""
    from transformers import AutoModelForSequenceClassification

    text = TEXTS[1]
    (verdict,) = live(folders["plain"], level="sentence", squash="none", low=-99.0, high=99.0).verdicts(asked(text))
    model = AutoModelForSequenceClassification.from_pretrained(folders["plain"]).eval()
    reading = read_text(byte_tokenizer(), TASK.messages, text)
    values = []
    for end in (0, *(end for _, end in sentence_spans(text))):
        ids = reading.token_ids[: reading.start + len(text[:end].encode())]  # a byte is a token
        with torch.inference_mode():
            values.append(float(model(input_ids=torch.tensor([ids])).logits[0, 0]))
    assert [(s.start, s.end) for s in verdict.spans] == list(sentence_spans(text)) == [(0, 9), (9, 19), (19, 30)]
    assert [s.value for s in verdict.spans] == pytest.approx([b - a for a, b in pairwise(values)],
                                                             abs=1e-5)  # fmt: skip
    assert score(verdict) == pytest.approx(values[-1] - values[0], abs=1e-5)


def test_the_sigmoid_is_shared_out_in_the_order_of_the_text(folders):
    (verdict,) = live(folders["plain"], level="sentence", low=-1.0, high=3.0).verdicts(asked(TEXTS[1]))
    (raw,) = live(folders["plain"], level="sentence", squash="none", low=-99.0, high=99.0).verdicts(asked(TEXTS[1]))
    assert isinstance(verdict.outcomes[0], Scored)
    assert math.fsum(s.value for s in verdict.spans) == pytest.approx(verdict.outcomes[0].value - 1.0, abs=1e-6)
    assert all(a.value * b.value > 0 for a, b in zip(verdict.spans, raw.spans, strict=True))
    assert verdict.spans[0].value == pytest.approx(4 / (1 + math.exp(-raw.spans[0].value)) - 2, abs=1e-6)


def test_attention_weighs_sentences_and_is_saved(folders, tmp_path):
    network = open_reward_network(str(folders["plain"]), "sentence")
    network.attention = new_attention(16, 4, 7)
    network.save(tmp_path / "sentences")
    settings = dict(squash="none", low=-99.0, high=99.0)
    (plain,) = live(folders["plain"], level="sentence", **settings).verdicts(asked(TEXTS[1]))
    (weighed,) = live(tmp_path / "sentences", **settings).verdicts(asked(TEXTS[1]))
    ratios = [a.value / b.value for a, b in zip(weighed.spans, plain.spans, strict=True)]
    assert sum(ratios) == pytest.approx(3.0, abs=1e-3) and max(ratios) - min(ratios) > 0.01 and min(ratios) > 0
    (one,) = live(tmp_path / "sentences", **settings).verdicts(asked("4"))
    (same,) = live(folders["plain"], level="sentence", **settings).verdicts(asked("4"))
    assert score(one) == pytest.approx(score(same), abs=1e-6)  # one sentence: its weight is one
    with pytest.raises(RewardModelProblem, match="fitted to judge by sentence"):
        live(tmp_path / "sentences", level="token")


def test_nothing_is_clipped_and_nothing_is_cut(folders):
    (verdict,) = live(folders["plain"], squash="none", low=100.0, high=101.0).verdicts(asked("4"))
    assert isinstance(verdict.outcomes[0], Failed) and "outside its declared range" in verdict.outcomes[0].error
    long, fine = live(folders["plain"]).verdicts(asked("x" * 200, "4"))
    assert isinstance(long.outcomes[0], Failed) and "at most 160 tokens" in long.outcomes[0].error
    assert isinstance(fine.outcomes[0], Scored)
    (empty,) = live(folders["plain"], level="token").verdicts(asked("  "))
    assert isinstance(empty.outcomes[0], Abstained)
    assert live(folders["plain"]).scales[0].low == 0.0 and live(folders["plain"], low=-2.0).scales[0].low == -2.0


def test_it_sees_the_prompt_and_neither_answer_nor_secrets(folders):
    source, seen = live(folders["plain"]), []
    judge = source.judge
    source.judge = lambda items: seen.extend(items) or judge(items)
    source.verdicts(asked("4"))
    (item,) = seen
    assert item.task.prompt == TASK.prompt and item.task.answer == "" and not item.task.info


def test_wrong_folders_are_refused_with_the_way_out(folders, tmp_path):
    with pytest.raises(RewardModelProblem, match="Qwen3ForCausalLM, which has no head for rewards"):
        live(folders["language"])
    with pytest.raises(RewardModelProblem, match="one number about a whole text"):
        live(folders["encoder"], level="sentence")
    with pytest.raises(RewardModelProblem, match="labels 0 to 2"):
        live(folders["encoder"], label=3)
    with pytest.raises(RewardModelProblem, match="no reward model"):
        live(tmp_path / "nothing")
    with pytest.raises(ValueError, match="declare the range"):
        RewardModel("x", low=1.0, high=1.0)


def test_buckets_hold_every_row_once_and_bound_the_padded_size():
    lengths = [5, 90, 5, 7, 30, 31, 1, 200]
    made = buckets(lengths, 64)
    assert sorted(i for batch in made for i in batch) == list(range(8))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 64 for batch in made)
    assert made[0] == [6, 0, 2, 3] and buckets([], 10) == []


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two!  Three", ["One. ", "Two!  ", "Three"]),
        ("It costs 3.14. (Really?) e.g.x", ["It costs 3.14. ", "(Really?) ", "e.g.x"]),
        ("a\n\nb\n", ["a\n\n", "b\n"]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("  lead. x", ["  lead. ", "x"]),
        (" \n ", []),
        ("", []),
        ("...", ["..."]),
    ],
)
def test_sentences(text, pieces):
    spans = sentence_spans(text)
    assert [text[a:b] for a, b in spans] == pieces
    assert "".join(text[a:b] for a, b in spans) in (text, "")
