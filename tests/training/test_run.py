"""Runs end to end on a tiny policy: repeatable, resumable bit for bit, stoppable, and honest in their books."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from critica.benches.recipes import OTHER_TASKS
from critica.critics.bodies import SharedTrunk, SmallModel
from critica.environments.arithmetic import Arithmetic
from critica.policies.base import PromptTooLong
from critica.recipes.base import Checkpoints, HeldOut
from critica.recipes.catalogue import RECIPES
from critica.records.supervision import Failed
from critica.rewards.base import FailurePolicy, RewardFailures
from critica.rewards.noise_specs import parse_noise
from critica.rewards.verifiers import EnvironmentScorer, Function
from critica.rollout.admission import Informative
from critica.store.errors import CorruptCheckpoint, RunFolderBusy
from critica.store.run_folder import RunFolder
from critica.training.held_out import evaluate
from critica.training.memory import TooLarge, refuse_too_large
from critica.training.progress import Silent
from critica.training.run import StepsBehind, resume, train
from critica.training.saved_recipe import recipe_of


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, by file and name."""
    folder = run / "checkpoints" / f"step_{step}"
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Equal names and equal bits."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_trains_and_moves_its_weights(name, small, tmp_path):
    graded = RECIPES[name].wing == "supervision" and name != "answer_posterior"
    here = {"noise": parse_noise("normal:0.5:sample")} if graded else {}  # grades cannot be flipped
    if name in ("mmpo", "ladder"):
        here = {"environment": RECIPES[name].environment}  # tasks to be read piece by piece, or with easier variants
    if name in OTHER_TASKS:
        here = {"reward": EnvironmentScorer()}  # the game's tasks lack what they read
    if name == "gapd":
        here = {"environment": Arithmetic()}  # whose tasks carry the answer that its teacher is told
    result = train(small(name, steps=2, **here), tmp_path / name)
    assert result.finished and result.progress.step == 2
    start, end = weights(tmp_path / name, 0), weights(tmp_path / name, 2)
    moved = [key for key in start if key.startswith("policy/") and not torch.equal(start[key], end[key])]
    assert bool(moved) == RECIPES[name].curriculum.learns, f"{name}: {len(moved)} weights of the policy moved"
    if (tmp_path / name / "checkpoints" / "step_2" / "critic").exists():
        assert any(k.startswith("critic/") and not torch.equal(start[k], end[k]) for k in start), name


@pytest.mark.parametrize("name", ["dvpo", "grpo"])
def test_a_stopped_run_resumes_to_the_same_bits(name, small, tmp_path):
    """Also through the warm start of a fresh process's objects: nothing is carried over in memory."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(small(name), whole)
    train(small(name, steps=2), cut)
    resume(cut, steps=4)
    assert same(weights(whole, 4), weights(cut, 4))
    for file in ("metrics.jsonl", "ledger.jsonl"):
        assert (whole / file).read_bytes() == (cut / file).read_bytes()
    for step in (3, 4):
        first, second = RunFolder.open(whole).rollouts(step), RunFolder.open(cut).rollouts(step)
        assert first.equals(second)


def test_resume_from_an_earlier_step_cuts_back_what_came_after(small, tmp_path):
    run = tmp_path / "run"
    train(small("grpo"), run)
    before = weights(run, 4)
    resume(run, step=2)
    assert same(before, weights(run, 4))
    assert [line.step for line in RunFolder.open(run).metrics()] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["ppo", "dvpo"])
def test_the_size_of_the_pieces_changes_the_books_by_rounding_only(name, small, tmp_path):
    """In one piece the update also takes over the prediction's forward pass; in many it cannot."""
    lines = []
    for tokens in (24, 10_000):
        recipe = small(name, steps=2)
        recipe = replace(recipe, learner=replace(recipe.learner, tokens_per_microbatch=tokens))
        train(recipe, tmp_path / str(tokens))
        lines.append(list(RunFolder.open(tmp_path / str(tokens)).metrics()))
    for first, second in zip(*lines, strict=True):
        for metric in ("loss/value", "loss/policy", "critic/grad_norm", "policy/grad_norm", "critic/value_mean"):
            assert first[metric] == pytest.approx(second[metric], rel=2e-3, abs=2e-6), metric


def test_the_books_balance_and_noise_is_kept_beside(small, tmp_path):
    train(small("rloo"), tmp_path / "run")
    store = RunFolder.open(tmp_path / "run")
    lines = [line for line in store.ledger() if line["kind"] == "sample"]
    assert len(lines) == 4 * 12 == len({line["trajectory_id"] for line in lines})
    assert {line["state"] for line in lines} <= {"trained", "masked"}
    prompts = [line for line in store.ledger() if line["kind"] == "prompt"]
    assert len(prompts) == 12 == len({line["task_id"] for line in prompts})


@pytest.fixture
def ctrl_c():
    """Python's own answer to Ctrl-C, also where the tests run in the background and inherited an ignored one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_after_the_step_with_a_checkpoint(small, tmp_path, ctrl_c):
    class Press(Silent):
        def step(self, record):
            if record.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    result = train(small("grpo", steps=50), tmp_path / "run", reporter=lambda steps, done: Press())
    assert not result.finished and 2 <= result.progress.step <= 3
    resumed = resume(tmp_path / "run", steps=4)
    assert resumed.finished
    train(small("grpo"), tmp_path / "whole")
    assert same(weights(tmp_path / "whole", 4), weights(tmp_path / "run", 4))


def test_ctrl_c_twice_stops_at_once(small, tmp_path, ctrl_c):
    class PressTwice(Silent):
        def step(self, record):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(small("grpo", steps=50), tmp_path / "run", reporter=lambda steps, done: PressTwice())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_run_in_the_same_folder_is_refused(small, tmp_path):
    train(small("grpo", steps=1), tmp_path / "run")
    with pytest.raises(RunFolderBusy, match="critica resume"):
        train(small("grpo", steps=1), tmp_path / "run")


def test_a_corrupt_checkpoint_is_named_and_the_good_one_offered(small, tmp_path):
    run = tmp_path / "run"
    train(small("grpo"), run)
    target = run / "checkpoints" / "step_4" / "policy" / "model.safetensors"
    data = bytearray(target.read_bytes())
    data[-1] ^= 1
    target.write_bytes(bytes(data))
    with pytest.raises(CorruptCheckpoint, match=r"model\.safetensors.*step 2"):
        resume(run, steps=6)
    assert resume(run, steps=6, step=2).progress.step == 6


def test_a_reward_that_raises_stops_the_run_with_the_evidence(small, tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text("def score(task, completion):\n    raise ValueError('no verdict today')\n")
    with pytest.raises(RewardFailures, match="no verdict today"):
        train(small("grpo", reward=Function(f"{reward}:score")), tmp_path / "run")


def test_failures_count_even_where_admission_turns_groups_away(small, tmp_path):
    """A reward that always raises leaves no group informative; the reader must see the exception, not the admission."""
    reward = tmp_path / "reward.py"
    reward.write_text("def score(task, completion):\n    raise ValueError('no verdict today')\n")
    recipe = small("grpo", reward=Function(f"{reward}:score"), admission=Informative(max_rounds=2))
    with pytest.raises(RewardFailures, match="no verdict today"):
        train(recipe, tmp_path / "run")


def test_a_run_can_be_resumed_before_its_first_evaluation_is_done(small, tmp_path):
    seen = []

    def notify(message):
        seen.append((message, (tmp_path / "run" / "checkpoints" / "step_0").is_dir()))

    train(small("grpo", steps=1, held_out=HeldOut(prompts=4)), tmp_path / "run", notify=notify)
    assert [there for message, there in seen if "before training" in message] == [True]
    assert len(list((tmp_path / "run" / "evaluations").glob("*.json"))) == 4


def test_what_cannot_be_built_leaves_no_run_behind(small, tmp_path):
    broken = small("ppo", policy=replace(small("ppo").policy, device="cuda"))
    with pytest.raises(ValueError, match="no CUDA device"):
        train(broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_half_precision_weights_are_refused_unless_only_adapters_train(small, tmp_path):
    with pytest.raises(ValueError, match=r"policy\.dtype=float32"):
        train(small("grpo", policy=replace(small("grpo").policy, dtype="bfloat16")), tmp_path / "run")


def test_more_steps_are_remembered_and_fewer_refused(small, tmp_path):
    run = tmp_path / "run"
    train(small("grpo", steps=2), run)
    resume(run, steps=3)
    assert recipe_of(RunFolder.open(run)).steps == 3
    with pytest.raises(StepsBehind, match="is at step 3 and 1 steps"):
        resume(run, steps=1)


def test_as_many_checkpoints_stay_as_were_asked_for(small, tmp_path):
    train(small("grpo", checkpoint=Checkpoints(every=1, keep=4)), tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").checkpoints.steps == (1, 2, 3, 4)


@pytest.mark.parametrize("detached", [True, False])
def test_critic_warmup_leaves_the_policy_alone(detached, small, tmp_path):
    recipe = small("ppo", steps=2)
    critic = replace(recipe.critic, body=SharedTrunk(detached=detached))
    train(replace(recipe, critic=critic, learner=replace(recipe.learner, critic_warmup_steps=2)), tmp_path / "run")
    start, end = weights(tmp_path / "run", 0), weights(tmp_path / "run", 2)
    assert all(torch.equal(start[key], end[key]) for key in start if key.startswith("policy/"))
    assert any(not torch.equal(start[key], end[key]) for key in start if key.startswith("critic/"))


def test_a_small_model_of_another_width_can_be_the_critics_body(small, tiny_folder, tmp_path):
    from transformers import Qwen3Config, Qwen3Model

    narrow = json.loads((tiny_folder / "config.json").read_text()) | {"hidden_size": 16, "intermediate_size": 24}
    Qwen3Model(Qwen3Config(**narrow)).save_pretrained(tmp_path / "narrow")
    recipe = small("dvpo", steps=1)
    train(replace(recipe, critic=replace(recipe.critic, body=SmallModel(str(tmp_path / "narrow")))), tmp_path / "run")


def test_a_few_failures_are_masked_not_zeroed(small, tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text(
        "def score(task, completion):\n"
        "    if completion and ord(completion[0]) % 3 == 0:\n"
        "        raise ValueError('odd letter')\n"
        "    return float(len(completion) % 2)\n"
    )
    run = tmp_path / "run"
    train(small("rloo", reward=Function(f"{reward}:score"), steps=3, failures=FailurePolicy(0.9)), run)
    store = RunFolder.open(run)
    failed = [line for line in store.ledger() if line["state"] == "failed" and line["kind"] == "sample"]
    table = [row for step in (1, 2, 3) for row in store.rollouts(step).to_pylist()]
    unknown = {row["trajectory_id"] for row in table if row["outcome_state"] == "failed"}
    assert {line["trajectory_id"] for line in failed} == unknown
    assert all("odd letter" in str(line["reason"]) for line in failed)


def test_the_saved_config_is_a_valid_recipe_and_the_same_one(small, tmp_path):
    recipe = small("dvpo", steps=1)
    train(recipe, tmp_path / "run")
    assert replace(recipe_of(RunFolder.open(tmp_path / "run")), provenance=recipe.provenance) == recipe


def test_evaluation_of_a_run_reads_its_last_policy(small, tmp_path):
    train(small("grpo", steps=1), tmp_path / "run")
    report = evaluate(tmp_path / "run", prompts=8, samples=2)
    assert len(report.prompts) == 8 and report.policy_version == 1
    assert list((tmp_path / "run" / "evaluations").glob("*.json"))


def test_checkpoints_are_folders_that_transformers_opens(small, tmp_path):
    from transformers import AutoModel, AutoModelForCausalLM

    train(small("dvpo", steps=1), tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints" / "step_1"
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy")
    critic = AutoModel.from_pretrained(folder / "critic")
    kept = load_file(folder / "policy" / "model.safetensors")
    assert torch.equal(policy.state_dict()["model.embed_tokens.weight"], kept["model.embed_tokens.weight"])
    assert "lm_head.weight" not in critic.state_dict()
    assert json.loads((folder / "progress.json").read_text())["progress"]["step"] == 1


def test_a_batch_that_cannot_fit_is_refused_with_what_to_lower(small):
    with pytest.raises(TooLarge, match=r"learner\.tokens_per_microbatch|sampling\.prompts_per_step"):
        refuse_too_large(small("grpo"), room_mib=1.0)
    refuse_too_large(small("grpo"), room_mib=100_000.0)


def test_a_prompt_longer_than_the_context_names_its_task(small, tmp_path):
    recipe = small("grpo", sampling=replace(small("grpo").sampling, max_new_tokens=250))
    with pytest.raises(PromptTooLong, match=r"task 'digit_sum.*context holds 256.*lower max_new_tokens"):
        train(recipe, tmp_path / "run")


def test_failed_is_not_a_number():
    with pytest.raises(TypeError):
        Failed("boom") + 0.0  # type: ignore[operator]
