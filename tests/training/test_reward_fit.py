"""Reward models from preference pairs: they learn, stop, resume to the same bits, and are opened by the source."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from critica.cli.main import main
from critica.environments.digit_sum import DigitSum
from critica.functional.bradley_terry import pair_losses
from critica.records.supervision import Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.reward_model import RewardModel
from critica.training import reward_fit
from critica.training.reward_audit import audit_reward_model
from critica.training.reward_fit import RewardKind, RewardPlan, fit_reward_model
from critica.training.reward_folder import CannotFitReward, NotARewardModel, read_report, start_network
from critica.training.reward_learning import backward, named_weights, read_answers
from critica.training.reward_pairs import BadPairs, read_pairs, slices_of, split_by_prompt
from critica.training.reward_robust import Robust, Weigher
from critica.training.reward_slices import mean_difference, read_margins, read_slices
from rewards.tiny_judges import tiny_folder

WORDS = {"a": ("good", "poor"), "b": ("true", "fake")}
PLAN = RewardPlan(updates=12, pairs=8, judge_every=4, patience=9, held_out=0.3, seed=1, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(reward_fit, "configure", lambda threads: None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_folder(tmp_path_factory.mktemp("base"), kind="ForCausalLM"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return written(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", 48)


def written(path: Path, count: int, seed: int = 0, wrong: float = 0.0) -> Path:
    """Pairs of two topics whose better answers use different words; a share of topic b is labeled wrong."""
    draw = random.Random(seed)
    lines = []
    for i in range(count):
        topic = "ab"[i % 2]
        good, bad = (f"{word} {draw.randint(0, 99)}. Yes" for word in WORDS[topic])
        if topic == "b" and draw.random() < wrong:
            good, bad = bad, good
        lines.append({"prompt": f"ask {i}", "chosen": good, "rejected": bad, "topic": topic, "row": i})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize("level", ["sequence", "sentence", "token"])
def test_a_fit_orders_new_pairs_and_its_folder_is_a_source(level, model, pairs, tmp_path):
    out = tmp_path / "made"
    report = fit_reward_model(pairs, model, out, RewardKind(level=level, attention=4), PLAN)
    assert report["history"][0] == {"update": 0, "accuracy": 0.5, "loss": pytest.approx(0.693147, abs=1e-5)}
    assert report["accuracy"] >= 0.9 and report["best_update"] > 0
    assert {s["name"] for s in report["slices"]} == {"all", "topic=a", "topic=b"}  # and not the rows' numbers
    assert report["pairs_sha256"] == read_pairs(pairs).sha256 and report == read_report(out)
    source = RewardModel(str(out)).build(DigitSum().build(0))
    task = Task("t", "e", (Message("user", "ask 900"),), "")
    told = source.verdicts([ScoreRequest(task, str(i), text) for i, text in enumerate(("good 5. Yes", "poor 5. Yes"))])
    better, worse = (verdict.outcomes[0] for verdict in told)
    assert isinstance(better, Scored) and isinstance(worse, Scored) and better.value > worse.value
    assert bool(told[0].spans) is (level != "sequence")
    if level == "sequence":
        from transformers import AutoModelForSequenceClassification

        assert AutoModelForSequenceClassification.from_pretrained(out).num_labels == 1
    assert fit_reward_model(pairs, model, out, RewardKind(level=level, attention=4), PLAN) == report


def test_a_stopped_fit_goes_on_to_the_same_bits(model, pairs, tmp_path):
    kind = RewardKind(level="sentence", attention=4, robust="group_dro:topic:0.5")

    class Stop(Exception):
        pass

    def stop(message):
        if message.startswith("update 8"):
            raise Stop

    with pytest.raises(Stop):
        fit_reward_model(pairs, model, tmp_path / "cut", kind, PLAN, stop)
    with pytest.raises(NotARewardModel, match="not finished"):
        read_report(tmp_path / "cut")
    said = []
    report = fit_reward_model(pairs, model, tmp_path / "cut", kind, PLAN, said.append)
    assert said[0] == "going on after update 8"
    assert report == fit_reward_model(pairs, model, tmp_path / "whole", kind, PLAN)
    for name in ("model.safetensors", "attention.safetensors"):
        one, other = load_file(tmp_path / "cut" / name), load_file(tmp_path / "whole" / name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(CannotFitReward, match="another fit"):
        fit_reward_model(pairs, model, tmp_path / "cut", RewardKind(), PLAN)


def gradients(network, pairs, robust, cells):
    for weight in network.parameters():
        weight.grad = None
    rows = list(range(len(pairs)))
    readings, answers = read_answers(network, pairs)
    loss = backward(network, Weigher(Robust.parse(robust), pairs), (list(readings), list(answers)), rows, cells)
    return loss, {name: w.grad.clone() for name, w in named_weights(network) if w.grad is not None}


def test_gradients_are_those_of_the_pairs_loss_at_any_batch_size(model, pairs):
    network = start_network(model, "sentence", 4, 0)
    torch.nn.init.normal_(network.model.score.weight, 0.0, 0.5, generator=torch.Generator().manual_seed(1))
    some = read_pairs(pairs).pairs[:6]
    loss, found = gradients(network, some, "none", 100_000)
    small, cut = gradients(network, some, "none", 40)
    zero, ball = gradients(network, some, "kl_ball:0.0:topic", 100_000)
    for weight in network.parameters():
        weight.grad = None
    readings, answers = read_answers(network, some)
    scores = torch.stack([judged.score for judged in network.judge(readings, answers)])
    direct = pair_losses(scores[::2] - scores[1::2]).mean()
    direct.backward()
    assert (
        loss == pytest.approx(small, abs=1e-6) == pytest.approx(zero, abs=1e-6) == pytest.approx(float(direct.detach()))
    )
    for name, weight in named_weights(network):
        if weight.grad is not None:
            for other in (found, cut, ball):
                assert torch.allclose(other[name], weight.grad, atol=1e-5)
    worst, _ = gradients(network, some, "kl_ball:9.0:topic", 100_000)
    by_topic = [float(pair_losses(read_margins(scores.detach()))[k::2].mean()) for k in (0, 1)]
    assert worst == pytest.approx(max(by_topic), abs=1e-5)


def test_group_dro_follows_the_slice_that_loses():
    pairs = [*read_pairs_of([("a", 1), ("a", 2), ("b", 3)])]
    weigher = Weigher(Robust.parse("group_dro:topic:1.0"), pairs)
    losses = torch.tensor([1.0, 3.0, 2.0 + torch.log(torch.tensor(3.0))])
    assert float(weigher.loss(losses, [0, 1, 2])) == pytest.approx(0.25 * 2 + 0.75 * float(losses[2]), abs=1e-5)
    assert weigher.weights.tolist() == pytest.approx([0.25, 0.75])
    plain = Weigher(Robust.parse("group_dro:topic:0.0"), pairs)
    assert float(plain.loss(losses, [0, 1, 2])) == pytest.approx((2.0 + float(losses[2])) / 2)
    for spec in ("kl_ball", "kl_ball:-1", "dro:3", "group_dro", "none:1"):
        with pytest.raises(BadPairs, match=r"write|radius"):
            Robust.parse(spec)
    with pytest.raises(BadPairs, match="no column 'style'"):
        Weigher(Robust.parse("group_dro:style"), pairs)


def read_pairs_of(rows):
    from critica.training.reward_pairs import Pair

    for topic, number in rows:
        yield Pair((Message("user", f"p{number}"),), "x", "y", {"topic": topic})


def test_poison_in_training_shows_in_its_slice_and_in_the_audit(model, tmp_path, capsys):
    """All of topic b exchanged: the model orders held-out clean pairs of b wrongly, a right; the report says so."""
    pairs, out = written(tmp_path / "pairs.jsonl", 96), tmp_path / "poisoned"
    options = ["--updates", "24", "--pairs-per-update", "8", "--judge-every", "24", "--learning-rate", "0.003"]
    assert main(["reward", "fit", "--pairs", str(pairs), "--model", model, "--out", str(out), "--flip", "topic=b:1.0",
                 *options]) == 0  # fmt: skip
    report = read_report(out)
    accuracy = {s["name"]: s["accuracy"]["estimate"] for s in report["slices"]}
    shift = {s["name"]: s["shift"] for s in report["slices"]}
    assert report["exchanged_on_purpose"] > 30
    if report["best_update"]:  # with half of the held-out pairs wrong the fit may stand at its start
        assert accuracy["topic=a"] > 0.8 > 0.2 > accuracy["topic=b"]
        assert shift["topic=b"]["high"] < 0 < shift["topic=a"]["low"]
    capsys.readouterr()
    told, clean = written(tmp_path / "told.jsonl", 120, 5, wrong=0.8), written(tmp_path / "clean.jsonl", 120, 6)
    audit = ["reward", "audit", str(out), "--slice", "topic", "--pairs"]
    assert main([*audit, str(told), "--clean", str(clean), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["alarms"] == ["topic=b"] and found["same_file"] is False
    assert found["fitted_on"] == report["pairs_sha256"] and found["pairs_sha256"] == read_pairs(told).sha256
    assert main([*audit, str(clean), "--clean", str(written(tmp_path / "more.jsonl", 120, 8))]) == 0
    shown = capsys.readouterr().out
    assert "ALARM" not in shown and "at most 0.05" in shown and "topic=b" in shown
    assert audit_reward_model(out, pairs).same_file


def test_the_bench_reads_a_fitted_folder(model, pairs, tmp_path, capsys):
    out, items = tmp_path / "made", tmp_path / "items.jsonl"
    fit_reward_model(pairs, model, out, RewardKind(), PLAN)
    lines = [{"id": str(i), "subset": name, "prompt": f"ask {900 + i}", "chosen": [f"{good} 7. Yes"],
              "rejected": [f"{bad} {k}. Yes" for k in (7, 8, 9)]}
             for i, (name, (good, bad)) in enumerate((*WORDS.items(), ("a", WORDS["a"][::-1])))]  # fmt: skip
    items.write_text("\n".join(map(json.dumps, lines)))
    assert main(["reward", "bench", str(out), "--items", str(items), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {s["name"]: s["score"] for s in report["subsets"]} == {"a": 0.5, "b": 1.0} and report["score"] == 0.75


def test_slices_by_hand():
    pairs = [*read_pairs_of([("a", 1), ("a", 1), ("a", 2), ("b", 3), ("b", 4)])]
    margins = torch.tensor([2.0, -1.0, 3.0, 0.0, -2.0])
    assert not slices_of(pairs)  # too few pairs a value, unless they are asked for
    every, a, b = read_slices(margins, pairs, slices_of(pairs, ["topic"]))
    assert (every.name, every.pairs, every.prompts) == ("all", 5, 4)
    assert a.accuracy.estimate == pytest.approx(0.75) and b.accuracy.estimate == pytest.approx(0.25)
    assert a.margin == pytest.approx(4 / 3) and b.margin == pytest.approx(-1.0)
    assert a.shift.estimate == pytest.approx((0.5 + 3.0) / 2 + 1.0)  # prompt 1 counts once
    by_hand = mean_difference([0.0, 2.0], [5.0, 7.0])
    half = 1.959964 * 2**0.5
    assert (by_hand.low, by_hand.high) == (pytest.approx(5 - half, abs=1e-5), pytest.approx(5 + half, abs=1e-5))


def test_pairs_are_read_or_refused_with_their_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    chat = {"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "yes"}],
            "rejected": "no", "n": 3}  # fmt: skip
    path.write_text(json.dumps(chat) + "\n\n")
    (pair,) = read_pairs(path).pairs
    assert (pair.prompt_text, pair.chosen, pair.rejected, dict(pair.columns)) == ("q", "yes", "no", {"n": "3"})
    for line, problem in (
        ('{"prompt": "q", "chosen": "x"}', "line 1: rejected is missing"),
        ("nonsense", "line 1: no JSON"),
        ('{"prompt": 3, "chosen": "x", "rejected": "y"}', "prompt is a text"),
        ('{"prompt": "q", "chosen": ["x"], "rejected": "y"}', "chosen is a text"),
        ("", "holds no pairs"),
    ):
        path.write_text(line)
        with pytest.raises(BadPairs, match=problem):
            read_pairs(path)


def test_prompts_are_wholly_on_one_side():
    pairs = [*read_pairs_of([("a", n // 3) for n in range(30)])]
    train, held_out = split_by_prompt(pairs, 0.2, 4)
    assert sorted(train + held_out) == list(range(30)) and len(held_out) == 6
    assert not {pairs[i].prompt_text for i in train} & {pairs[i].prompt_text for i in held_out}
    assert split_by_prompt(pairs, 0.2, 4) == (train, held_out) != split_by_prompt(pairs, 0.2, 5)
    with pytest.raises(BadPairs, match="same prompt"):
        split_by_prompt(pairs[:3], 0.2, 4)


def test_wrong_use_is_refused(model, pairs, tmp_path):
    bert = str(tiny_folder(tmp_path / "bert", family="Bert"))
    with pytest.raises(CannotFitReward, match="one number about a whole text"):
        fit_reward_model(pairs, bert, tmp_path / "out", RewardKind(level="token"), PLAN)
    with pytest.raises(CannotFitReward, match="held_out"):
        RewardPlan(held_out=1.0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(CannotFitReward, match="not empty"):
        fit_reward_model(pairs, model, tmp_path / "full", RewardKind(), PLAN)
    long = tmp_path / "long.jsonl"
    long.write_text("\n".join(json.dumps({"prompt": p, "chosen": "x" * 300, "rejected": "y"}) for p in "pq"))
    with pytest.raises(CannotFitReward, match="pair 1 has 301 tokens"):
        fit_reward_model(long, model, tmp_path / "new", RewardKind(), PLAN)
