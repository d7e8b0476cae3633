"""Fitting a critic to stored rollouts: it learns, stops, resumes to the same bits, and starts a run."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.critics.learned import HEAD_FILE
from critica.critics.scalar import ScalarCritic
from critica.records.arrays import Samples
from critica.store.run_folder import RunFolder
from critica.training import critic_fit
from critica.training.assemble import assemble
from critica.training.critic_audit import AuditPlan, audit_critic
from critica.training.critic_data import NoRollouts, batch_of, read_stored
from critica.training.critic_fit import CannotFit, FitPlan, constant_error, fit_critic
from critica.training.critic_folder import CriticFolder, NotACritic
from critica.training.run import train
from critica.training.warm_start_critic import WrongCritic, warm_start_critic

PLAN = FitPlan(updates=6, groups=3, judge_every=2, patience=9, held_out=0.4, seed=2)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(small, kept):
    folder = kept / "ppo"
    if not folder.exists():
        train(small("ppo", steps=6), folder)
    return folder


def weights(folder):
    return {f"{p.name}:{k}": v for p in sorted(folder.glob("*.safetensors")) for k, v in load_file(p).items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_stored_rows_are_the_rows_that_were_trained_on(run):
    data = read_stored(run, 0.4, 0)
    groups = [*data.train, *data.held_out]
    assert data.rows == 6 * 12 and len(groups) == 18
    assert not {g[0].prompt for g in data.train} & {g[0].prompt for g in data.held_out}
    again = read_stored(run / "rollouts", 0.4, 0)
    assert again == data
    rows = [row for group in groups for row in group]
    batch, told = batch_of(rows, data.low, data.high, prefix="3:")
    table = RunFolder.open(run).rollouts(1).to_pylist()[0]
    n = next(i for i, row in enumerate(rows) if row.name == table["trajectory_id"])
    length = len(table["token_ids"])
    assert batch.token_ids[n, :length].tolist() == table["token_ids"] and not batch.valid_mask[n, length:].any()
    assert batch.sampled_mask[n, :length].tolist() == table["sampled_mask"]
    assert float(told.outcome[n]) == table["reward_told"] == float(told.per_token[n].sum())
    assert batch.trajectory_ids[n] == "3:" + table["trajectory_id"]
    assert batch.prefix_length[n] == table["sampled_mask"].index(True)


def test_a_prompt_that_was_asked_twice_stays_on_one_side(run, tmp_path):
    import pyarrow.parquet as pq

    for path in (run / "rollouts").glob("*.parquet"):
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[b"critica"])
        for copy in range(4):
            told = {b"critica": json.dumps(facts | {"step": facts["step"] + 100 * copy}).encode()}
            names = [f"{copy}:{name}" for name in table["trajectory_id"].to_pylist()]
            renamed = table.set_column(table.column_names.index("trajectory_id"), "trajectory_id", [names])
            pq.write_table(renamed.replace_schema_metadata(told), tmp_path / f"{copy}-{path.name}")
    data = read_stored(tmp_path, 0.4, 0)
    assert data.rows == 4 * 6 * 12 and len(data.train) + len(data.held_out) == 4 * 18
    assert not {g[0].prompt for g in data.train} & {g[0].prompt for g in data.held_out}


def test_it_learns_and_keeps_the_best(run, tmp_path):
    said = []
    folder = fit_critic(run, tmp_path / "fit", plan=replace(PLAN, updates=30, patience=3), notify=said.append)
    m = folder.manifest
    assert m.best_error < m.first_error and m.critic == "ScalarCritic" and m.why_stopped
    history = json.loads((tmp_path / "fit/checkpoints" / f"step_{m.updates}" / "progress.json").read_text())
    assert m.best_error == min(item["error"] for item in history) and len(said) == len(history)
    assert m.best_update == next(item["update"] for item in history if item["error"] == m.best_error)
    best = load_file(tmp_path / "fit/checkpoints" / f"step_{m.updates}" / "best.safetensors")
    assert torch.equal(load_file(folder.weights / HEAD_FILE)["weight"], best["head.weight"])
    assert f"{m.best_error:.5f}" in (tmp_path / "fit/README.md").read_text()
    from transformers import AutoModel

    assert AutoModel.from_pretrained(folder.weights).config.hidden_size == 32
    report = audit_critic(tmp_path / "fit", plan=AuditPlan(4, 2, 1, 2, 2))
    assert report.critic == "ScalarCritic" and report.age == 0


def test_patience_ends_the_fit(run, tmp_path):
    plan = replace(PLAN, updates=200, judge_every=1, patience=2)
    folder = fit_critic(run, tmp_path / "fit", plan=plan, settings=["learner.critic.learning_rate=0.3"])
    assert folder.manifest.updates < 200 and "no better" in folder.manifest.why_stopped


@pytest.mark.parametrize("critic", ["scalar", "quantile"])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(critic, run, tmp_path, monkeypatch):
    settings = ["critic.body=shared"] if critic == "quantile" else []
    whole = fit_critic(run, tmp_path / "whole", critic, plan=PLAN, settings=settings)
    judge, calls = critic_fit._judge, []

    def stop_after_two(fit, out, update, notify):
        judge(fit, out, update, notify)
        calls.append(update)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(critic_fit, "_judge", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        fit_critic(run, tmp_path / "cut", critic, plan=PLAN, settings=settings)
    with pytest.raises(NotACritic, match="not finished"):
        CriticFolder.open(tmp_path / "cut")
    said = []
    cut = fit_critic(run, tmp_path / "cut", critic, plan=PLAN, settings=settings, notify=said.append)
    assert said[0] == "going on after update 2" and calls[2:] == [4, 6]
    assert same(weights(whole.weights), weights(cut.weights))
    assert whole.manifest == cut.manifest
    assert fit_critic(run, tmp_path / "cut", critic, plan=PLAN, settings=settings, notify=said.append) == cut
    assert "finished" in said[-1]


def test_a_law_is_fitted_to_laws(run):
    recipe = critic_fit.recipe_for(run, "quantile", "", PLAN, ["critic.quantiles=8"])
    data = read_stored(run, 0.4, 0)
    batch, told = batch_of(data.train[0], data.low, data.high)
    from critica.records.arrays import Quantiles, ValuePrediction

    grid = torch.zeros(*batch.token_ids.shape)
    law = Quantiles((torch.arange(8) + 0.5) / 8, grid[..., None, None].expand(*grid.shape, 3, 8))
    values = ValuePrediction(grid, batch.sampled_mask, grid[:, 0], law)
    assert isinstance(recipe.target.build(batch, told, values), Samples)
    assert critic_fit.recipe_for(run, "scalar", "", PLAN, []).target.build(batch, told, values).values.max() <= 1


def test_the_constant_is_weighed_by_tokens(run):
    data = read_stored(run, 0.4, 0)
    flat = [[(row.told, sum(row.sampled)) for group in side for row in group] for side in (data.train, data.held_out)]
    middle = sum(t * n for t, n in flat[0]) / sum(n for _, n in flat[0])
    wanted = sum((t - middle) ** 2 * n for t, n in flat[1]) / sum(n for _, n in flat[1])
    assert constant_error(data) == pytest.approx(wanted)


def test_a_run_starts_from_it(run, small, tmp_path):
    folder = fit_critic(run, tmp_path / "fit", plan=PLAN)
    recipe = small("ppo")
    assembly = assemble(recipe)
    try:
        warnings = warm_start_critic(assembly.state.critic, recipe, folder.path)
        assembly.state.critic.save(tmp_path / "saved")
        assert same(weights(tmp_path / "saved"), weights(folder.weights))
        assert any("fitted beside the policy" in text for text in warnings)
        with pytest.raises(WrongCritic, match="hidden=7"):
            warm_start_critic(assembly.state.critic, small("ppo", critic=ScalarCritic(hidden=7)), folder.path)
    finally:
        assembly.close()
    counted = assemble(small("grpo"))
    counted.close()
    with pytest.raises(WrongCritic, match="no weights"):
        warm_start_critic(counted.state.critic, small("grpo"), folder.path)


def test_what_cannot_be_fitted_is_refused(run, tmp_path, small):
    with pytest.raises(CannotFit, match="counts and has no weights"):
        fit_critic(run, tmp_path / "a", "group_mean", plan=PLAN)
    train(small("grpo", steps=1), tmp_path / "grpo")
    with pytest.raises(CannotFit, match="counts and has no weights"):
        fit_critic(tmp_path / "grpo", tmp_path / "a", plan=PLAN)
    assert isinstance(critic_fit.recipe_for(tmp_path / "grpo", "scalar", "", PLAN, []).critic, ScalarCritic)
    with pytest.raises(NoRollouts, match="holds no rollouts"):
        fit_critic(tmp_path / "nothing", tmp_path / "b", policy="pico", plan=PLAN)
    with pytest.raises(CannotFit, match="--policy"):
        fit_critic(run / "rollouts", tmp_path / "c", plan=PLAN)
    fit_critic(run, tmp_path / "d", plan=replace(PLAN, updates=1))
    with pytest.raises(CannotFit, match="another fit"):
        fit_critic(run, tmp_path / "d", plan=replace(PLAN, updates=2))
    with pytest.raises(CannotFit, match="share between 0 and 1"):
        FitPlan(held_out=1.0)
