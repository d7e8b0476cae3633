"""Runs whose judge begins early: the bits of one that is only asked, also after a crash in the middle of writing."""

from dataclasses import replace

import pytest

from critica.policies.language_model import LanguagePolicy
from critica.rewards.judge_base import Asking
from critica.rewards.judge_criteria import Criterion
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_reward import JudgeReward, JudgeRewardSource
from critica.rewards.judge_server import JudgeServer
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train
from rollout.test_hints import Fickle


def bits(run):
    folder = RunFolder.open(run).checkpoints.latest().path
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.safetensors"))}
    return found | {name: (run / name).read_text() for name in ("metrics.jsonl", "ledger.jsonl")}


def test_hints_and_a_crash_while_hints_are_under_way_change_no_bit(small, tmp_path, monkeypatch):
    """Over HTTP. The third step is cut off while it is written, with questions open; the journal knows none of them."""
    client = Fickle(garbage=0.05)
    judge = JudgeReward(criteria=(Criterion("good", "Is it good?"),), asking=Asking(questions=10_000))
    with JudgeServer(client) as server:
        recipe = small("rloo", reward=replace(judge, judge=HttpJudge(server.url, "fickle")))
        recipe = replace(recipe, failures=replace(recipe.failures, max_share=0.5))
        train(recipe, tmp_path / "hinted")
        first = client.asked.copy()
        monkeypatch.setattr(JudgeRewardSource, "takes_hints", False)
        train(recipe, tmp_path / "plain")
        assert bits(tmp_path / "hinted") == bits(tmp_path / "plain")
        assert client.asked - first == first  # what was begun early was asked once, as it is without

        monkeypatch.setattr(JudgeRewardSource, "takes_hints", True)
        whole, begun = LanguagePolicy.sample, []

        def dies(self, requests, limits, seed, control=None, ended=None):
            def heard(row, tokens):
                ended(row, tokens)
                begun.append(row)
                if requests[0].streams[0][0] == 3 and row == 5:
                    raise KeyboardInterrupt

            return whole(self, requests, limits, seed, control, ended and heard)

        monkeypatch.setattr(LanguagePolicy, "sample", dies)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "cut")
        monkeypatch.setattr(LanguagePolicy, "sample", whole)
        assert len(begun) > 24 and not (tmp_path / "cut" / "journal" / "step_3.jsonl").exists()
        resume(tmp_path / "cut")
    assert bits(tmp_path / "cut") == bits(tmp_path / "plain")
