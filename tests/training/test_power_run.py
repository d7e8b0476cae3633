"""Power sampling on a transformers policy: what is noted while decoding, likelier answers, a run without updates."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.language_model import LanguagePolicy
from critica.policies.power_sampling import PowerSampler, PowerSampling, Recorder
from critica.recipes.base import Checkpoints
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.training.plan import plan
from critica.training.run import train


def test_what_is_noted_while_decoding_is_what_a_forward_pass_says(tiny_folder):
    policy = LanguagePolicy.load(str(tiny_folder))
    watch = Recorder([2, 5, 3], 0.8)
    asked = [SampleRequest((5, 6, 7), ((1, 0), (1, 1))), SampleRequest((9,), ((2, 0),))]
    rows = policy.sample(asked, SampleLimits(5, 0.4), 3, watch)
    flat = [(asked[i].prompt_ids, row) for i, made in enumerate(rows) for row in made]
    assert [len(row.token_ids) for _, row in flat] == [2, 5, 3]
    for number, (prompt, row) in enumerate(flat):
        ids = torch.tensor([[*prompt, *row.token_ids]])
        with torch.no_grad():
            logits = policy.model(ids).logits[0, len(prompt) - 1 : -1].double()
        law = torch.distributions.Categorical(logits=logits / 0.8)
        tokens = torch.tensor(row.token_ids)
        assert watch.logprobs[number] == pytest.approx(law.log_prob(tokens).tolist(), abs=1e-4)
        assert watch.entropies[number] == pytest.approx(law.entropy().tolist(), abs=1e-4)
        cooled = torch.distributions.Categorical(logits=logits / 0.4).log_prob(tokens)
        assert list(row.logprobs) == pytest.approx(cooled.tolist(), abs=1e-4)


def test_a_real_policys_answers_get_likelier(tiny_folder):
    """The mean log-prob of an answer rises with the power; the same seed gives the same answers."""
    policy = LanguagePolicy.load(str(tiny_folder))
    asked, means = [SampleRequest((5, 6, 7), tuple((0, n) for n in range(24)))], []
    for part in (PowerSampling(1.0, 4, 2), PowerSampling(50.0, 4, 2)):
        (rows,) = PowerSampler(policy, part).sample(asked, SampleLimits(6), 1)
        assert rows == PowerSampler(policy, part).sample(asked, SampleLimits(6), 1)[0]
        means.append(sum(sum(row.logprobs) for row in rows) / len(rows))
    assert means[1] > means[0] + 1


def test_a_recipe_that_trains_nothing_records_what_it_writes(small, tmp_path):
    part = PowerSampling(power=4.0, moves=2, blocks=2)
    keep = Checkpoints(every=2, keep=9)
    recipe = small("power_sampling", steps=2, decoding=part, noise=RECIPES["grpo"].noise, checkpoint=keep)
    train(recipe, tmp_path / "run")
    first, last = (load_file(tmp_path / f"run/checkpoints/step_{n}/policy/model.safetensors") for n in (0, 2))
    assert all(torch.equal(first[name], last[name]) for name in first)
    entries = [json.loads(line) for line in (tmp_path / "run/ledger.jsonl").read_text().splitlines()]
    assert {(entry["state"], entry["reason"]) for entry in entries} == {("masked", "watching")}
    assert sum(entry["kind"] == "sample" for entry in entries) == 2 * 3 * 4
    plain = replace(recipe, decoding=RECIPES["grpo"].decoding)
    train(plain, tmp_path / "plain")
    logs = []
    for run in ("run", "plain"):
        lines = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        logs.append([line["policy/sampled_logprob"] for line in lines if "policy/sampled_logprob" in line])
    assert not logs[0] or min(logs[0]) > max(logs[1])


def test_what_may_be_learned_from_power_samples_is_nothing():
    with pytest.raises(ConfigError, match="curriculum=watching"):
        change_recipe(RECIPES["grpo"], ["decoding=power_sampling"], PARTS)
    with pytest.raises(ConfigError, match="control=none"):
        change_recipe(RECIPES["power_sampling"], ["control=value_guidance"], PARTS)
    planned = plan(RECIPES["power_sampling"])
    assert planned.optimizer_mib == 0 == planned.policy_updates and planned.activations_mib == 0
    assert any("nobody learns" in remark for remark in planned.remarks)
