"""CME, TRACE and CorVer as sources: numbers by hand, shares that add up, and what may not pass."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from critica.environments.catalogue import parse_environment
from critica.environments.digit_sum import DigitSum
from critica.functional.repetition import repeated_share
from critica.functional.trace import (
    ArgumentRules,
    jaccard,
    state_score,
    trace_score,
    transition_score,
    transitions,
)
from critica.records.supervision import Abstained, Failed, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.corpus_index import CorpusIndex, CorpusProblem
from critica.rewards.corver import CorVer
from critica.rewards.corver_query import ContentWords, worth_of
from critica.rewards.cross_entropy_source import CrossEntropy, shares_on_text
from critica.rewards.reward_model_text import RewardModelProblem, read_text
from critica.rewards.trace_labels import ModelLabels, Phrases, read_rules
from critica.rewards.trace_source import Trace
from critica.rewards.verifiers import Exact
from rewards.tiny_judges import byte_tokenizer, tiny_folder

TASK = Task("t", "e", (Message("user", "Say: "),), "Paris is in France.")
F = frozenset


def asked(*texts):
    return [ScoreRequest(TASK, str(i), text) for i, text in enumerate(texts)]


def value(outcome):
    assert isinstance(outcome, Scored)
    return outcome.value


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("judge") / "language", kind="ForCausalLM")


def cme(folder, **more):
    return CrossEntropy(str(folder), **more).build(DigitSum().build(0))


def test_cross_entropy_is_transformers_mean_log_prob_of_the_answer(language):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(language).eval()
    texts = ("one two", "x", "é𝄞 mixed <eos> text")
    told = cme(language, low=-50.0, dense=True, tokens_per_batch=70).verdicts(asked(*texts))
    for text, verdict in zip(texts, told, strict=True):
        reading = read_text(byte_tokenizer(), TASK.messages, text)
        ids = torch.tensor([reading.token_ids])
        with torch.inference_mode():
            logs = model(input_ids=ids).logits[0].log_softmax(-1)
        own = [float(logs[t - 1, ids[0, t]]) for t in range(reading.start, reading.stop)]
        assert value(verdict.outcomes[0]) == pytest.approx(sum(own) / len(own), abs=1e-4)
        assert math.fsum(s.value for s in verdict.spans) == pytest.approx(value(verdict.outcomes[0]), abs=1e-5)
        assert verdict.spans[-1].end == len(text) and verdict.spans[0].start == 0
        if text.isascii():
            assert [s.value for s in verdict.spans] == pytest.approx([one / len(own) for one in own], abs=1e-5)


def test_what_flows_beats_what_is_shuffled_and_loops_get_the_floor():
    """Under pico: what it writes itself, greedily, is likelier than the same letters shuffled."""
    from critica.policies.base import SampleLimits, SampleRequest
    from critica.policies.language_model import LanguagePolicy

    environment = parse_environment("pico").build(0)
    policy, tasks = LanguagePolicy.load("pico", None, "cpu"), environment.held_out(4)
    source = CrossEntropy("pico", low=-30.0).build(environment)
    requests = [SampleRequest(policy.encode(task.messages), ((7,),)) for task in tasks]
    for i, (task, (sample,)) in enumerate(zip(tasks, policy.sample(requests, SampleLimits(16, 0.0), 0), strict=True)):
        text = policy.decode_text(sample.token_ids) * 2
        letters = list(text)
        np.random.default_rng(i).shuffle(letters)
        pair = [ScoreRequest(task, "a", text), ScoreRequest(task, "b", "".join(letters))]
        flows, shuffled = (v.parts["cross_entropy/mean_logprob"] for v in source.verdicts(pair))
        assert flows > shuffled
    (loop,) = source.verdicts(asked("abcabc" * 9))
    assert value(loop.outcomes[0]) == -30.0 and loop.parts["cross_entropy/looped"] == 1.0 and not loop.spans
    (free,) = replace_guard(source, 1.0).verdicts(asked("abcabc" * 9))
    assert (
        value(free.outcomes[0]) == pytest.approx(free.parts["cross_entropy/mean_logprob"])
        and free.parts["cross_entropy/looped"] == 0.0
    )


def replace_guard(source, most_repeated):
    source._config = replace(source._config, most_repeated=most_repeated)
    return source


def test_floor_emptiness_and_length_are_said(language):
    (floored,) = cme(language, low=-0.001).verdicts(asked("some text"))
    assert floored.outcomes == (Scored(-0.001),) and floored.parts["cross_entropy/floored"] == 1.0
    empty, long = cme(language).verdicts(asked("", "x" * 300))
    assert isinstance(empty.outcomes[0], Abstained) and isinstance(long.outcomes[0], Failed)
    for wrong in ({"low": 0.0}, {"low": -math.inf}, {"most_repeated": 1.5}, {"gram": 0}):
        with pytest.raises(ValueError, match="CrossEntropy"):
            CrossEntropy("x", **wrong)


def test_repetition_and_shares_by_hand():
    assert repeated_share([1, 2, 1, 2, 1, 2], 2) == pytest.approx(3 / 5)
    assert repeated_share([1, 2, 3, 4], 2) == 0.0 and repeated_share([5] * 9, 4) == pytest.approx(5 / 6)
    assert repeated_share([1, 1], 4) == 0.0
    spans = shares_on_text([1.0, 2.0, 4.0, 8.0], [1, 1, 3, 3])
    assert [(s.start, s.end, s.value) for s in spans] == [(0, 1, 1.0), (1, 3, 14.0)]


RULES = ArgumentRules(
    {F({"claim"}): 1.0, F({"claim", "data"}): 1.0, F({"claim", "qualifier"}): 0.5},
    {("data", "claim"): 0.5, ("claim", "data"): 0.25, ("claim", "claim"): 0.25},
)


def test_trace_by_hand():
    assert jaccard(F({"claim"}), F({"claim", "data"})) == 0.5 and jaccard(F(), F()) == 0.0
    said = [F({"claim"}), F({"data"}), F({"claim", "qualifier"}), F()]
    # 1; max(0, 1/2, 0) = 1/2; max(1/2, 1/3, .5 * 1) = 1/2; 0
    assert state_score(said, RULES) == pytest.approx(0.5)
    law = transitions(said)
    assert law == {("claim", "data"): 0.5, ("data", "claim"): 0.25, ("data", "qualifier"): 0.25}
    # |.5-.25| + |.25-.5| + |.25-0| + |0-.25| = 1 -> distance 1/2
    assert transition_score(said, RULES) == pytest.approx(0.5)
    assert trace_score(said, RULES) == pytest.approx(0.7 * 0.5 + 0.3 * 0.5)
    assert trace_score([F({"claim"})], RULES) == pytest.approx(0.7) and trace_score([], RULES) == 0.0
    good = [F({"data"}), F({"claim"}), F({"data"}), F({"claim"}), F({"claim"})]
    assert transition_score(good, RULES) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="are no labels"):
        ArgumentRules({F({"hope"}): 1.0}, RULES.ideal)
    with pytest.raises(ValueError, match="not to 1"):
        ArgumentRules(RULES.allowed, {("data", "claim"): 0.4})


def test_the_shipped_rules_and_phrases():
    rules = read_rules()
    assert len(rules.allowed) > 24 and rules.allowed[F({"qualifier", "claim"})] == 0.5
    labels = Phrases().labels(["Because it rains, perhaps.", "Soda.", "So the answer is 4, but check it."])
    assert labels == [F({"warrant", "qualifier"}), F(), F({"claim", "rebuttal", "evaluation"})]


def test_a_classifier_needs_the_eight_names_and_says_what_its_logits_say(tmp_path):
    from transformers import AutoModelForSequenceClassification

    from critica.functional.trace import LABELS

    folder = tiny_folder(tmp_path / "eight", family="Bert", labels=8)
    with pytest.raises(RewardModelProblem, match="no output named 'claim'"):
        ModelLabels.open(str(folder), 0.5)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): name.upper() for i, name in enumerate(reversed(LABELS))}
    (folder / "config.json").write_text(json.dumps(config))
    texts = ["One two.", "Something else entirely.", ""]
    found = ModelLabels.open(str(folder), 0.5).labels(texts)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for text, labels in zip(texts[:2], found[:2], strict=True):
        with torch.inference_mode():
            logits = model(**byte_tokenizer()(text, return_tensors="pt")).logits[0]
        assert labels == {name for i, name in enumerate(reversed(LABELS)) if logits[i] > 0}
    assert found[2] == F() and any(found[:2])


def test_trace_gives_two_objectives():
    source = Trace(then=Exact()).build(DigitSum().build(0))
    right, wrong, empty = source.verdicts(asked("Paris is in France.", "Given two facts. So the answer is 4.", ""))
    assert [scale.name for scale in source.scales] == ["accuracy", "trace"]
    assert [value(v.outcomes[0]) for v in (right, wrong, empty)] == [1.0, 0.0, 0.0]
    rules = read_rules()
    step = rules.ideal["data", "claim"]
    assert wrong.parts["trace/state"] == 1.0 and wrong.parts["trace/transitions"] == pytest.approx(step)
    assert value(wrong.outcomes[1]) == pytest.approx(0.7 + 0.3 * step)
    assert value(empty.outcomes[1]) == 0.0 and value(right.outcomes[1]) == 0.0  # no phrase, no label
    source.close()


CORPUS = "\n\n".join(
    [*["Paris lies in France."] * 20, *["Berlin lies in Germany."] * 5, "Rome, Italy", "Oslo", "Norway"]
)


def test_the_index_counts_windows_that_hold_all_words(tmp_path):
    index = CorpusIndex.of_text(CORPUS)
    assert index.windows == 28
    assert [index.count(q) for q in (["paris"], ["Paris", "FRANCE"], ["oslo", "norway"], ["nowhere"])] == [20, 20, 0, 0]
    assert CorpusIndex.of_text("a b c d e f", window=3).count(["a", "d"]) == 0  # on both sides of a cut
    assert CorpusIndex.of_text("a b c d e f", window=6).count(["a", "d"]) == 1
    path, keep = tmp_path / "corpus.txt", tmp_path / "index"
    path.write_text(CORPUS)
    made = CorpusIndex.of_file(path, keep=keep)
    again = CorpusIndex.of_file(path, keep=keep)
    assert not isinstance(made._postings, np.memmap) and isinstance(again._postings, np.memmap)
    assert again.count(["berlin", "germany"]) == 5 and again.source == made.source
    path.write_text(CORPUS + "\n\nBerlin Germany")
    assert CorpusIndex.of_file(path, keep=keep).count(["berlin", "germany"]) == 6  # another text, another index
    (keep / "starts.npy").write_bytes(b"nonsense")
    with pytest.raises(CorpusProblem, match="delete it"):
        CorpusIndex.of_file(path, keep=keep)
    with pytest.raises(CorpusProblem, match="no words"):
        CorpusIndex.of_text(" .. ")


def test_counts_agree_with_counting():
    draw = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12)]
    texts = [[words[k] for k in draw.integers(0, 12, 6)] for _ in range(60)]
    index = CorpusIndex.of_text("\n\n".join(" ".join(text) for text in texts))
    for _ in range(30):
        query = [words[k] for k in draw.integers(0, 12, 3)]
        assert index.count(query) == sum(set(query) <= set(text) for text in texts)


def test_claims_and_their_worth():
    query = ContentWords().query
    assert query("Paris is the capital of France.") == ("paris", "france")
    assert query("It is the capital of France.") is None  # what `it` is stands elsewhere
    assert query("The capital lies inland.") == ("capital", "lies", "inland")
    assert query("Yes.") is None and query("") is None and query("Paris!") is None
    assert query("<think>Paris and France</think>") == ("paris", "france")
    config = CorVer()
    counts = (None, 0, 1, 4, 5, 19, 20, 500)
    assert [worth_of(c, config.bounds, config.worths) for c in counts] == [0.0, -0.3, -0.1, -0.1, 0.0, 0.0, 0.1, 0.1]


def test_corver_pays_each_sentence_on_its_own_words(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(CORPUS)
    source = CorVer(then=Exact(), corpus=str(path)).build(DigitSum().build(0))
    text = "Paris is in France. Oslo is in Italy. It is so."
    (told,) = source.verdicts(asked(text))
    assert [(s[2], s[3]) for s in source.worths(text)] == [(0.1, 20), (-0.3, 0), (0.0, None)]
    first, second = len("Paris is in France. "), len("Oslo is in Italy. ")
    assert value(told.outcomes[1]) == pytest.approx((0.1 * first - 0.3 * second) / len(text))
    assert value(told.outcomes[0]) == -1.0
    assert math.fsum(s.value for s in told.spans) == pytest.approx(value(told.outcomes[1]))
    words = ["Paris ", "is ", "in ", "France. ", "Oslo ", "is ", "in ", "Italy. "]
    assert [text[s.start : s.end] for s in told.spans] == words
    assert all(s.objective == 1 and (s.value > 0) is (s.end <= first) for s in told.spans)
    assert told.parts["corver/unheard_of"] == 1.0 and told.parts["corver/looked_up"] == 2.0
    (right,) = source.verdicts(asked("Paris is in France."))
    assert value(right.outcomes[0]) == 2.0 and value(right.outcomes[1]) == pytest.approx(0.1)
    (empty,) = source.verdicts(asked(""))
    assert value(empty.outcomes[1]) == 0.0 and not empty.spans
    source.close()
    with pytest.raises(ValueError, match="one entry more"):
        CorVer(bounds=(1, 5))
