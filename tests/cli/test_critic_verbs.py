"""The two critic verbs: parsed as one word of two, explained when wrong."""

import pytest

from critica.cli.critic import AuditCritic, FitCritic
from critica.cli.main import main, overview, parse


def test_both_are_verbs_of_two_words(capsys):
    assert "critic audit" in overview() and "critic fit" in overview()
    audit = parse("critic audit", ["runs/first", "--continuations", "64", "--json"])
    assert isinstance(audit, AuditCritic) and audit.continuations == 64 and audit.json
    words = ["--from", "runs/first", "--critic", "quantile", "--out", "c", "--set", "a=1", "--set", "b=2"]
    fit = parse("critic fit", words)
    assert isinstance(fit, FitCritic) and fit.from_ == "runs/first" and fit.set == ("a=1", "b=2")
    assert main(["critic", "fitt"]) == 2
    assert "critic fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["critic", "audit", "nowhere"], "holds no critic"),
        (["critic", "audit", "x", "--answers", "9", "--samples", "2"], "not so many"),
        (["critic", "fit", "--from", "nowhere", "--out", "o"], "no run folder"),
        (["critic", "fit", "--frm", "x"], "no option --frm"),
    ],
)
def test_wrong_usage_is_told_how_to_do_right(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_the_first_word_of_two_lists_what_may_follow(capsys):
    assert main(["critic", "--help"]) == 0
    assert "critica critic fit" in capsys.readouterr().out
    assert main(["critic"]) == 2
    assert "critica critic audit" in capsys.readouterr().err
