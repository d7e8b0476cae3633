"""`critica bench NAME --help` speaks of that benchmark, and of no other."""

from dataclasses import fields

import pytest

from critica.benches.catalogue import BENCHES
from critica.cli.main import main


@pytest.mark.parametrize("name", BENCHES)
def test_help_names_every_setting_with_its_default(name, capsys):
    assert main(["bench", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"critica bench {name} " in said and BENCHES[name].purpose in said
    for setting in fields(BENCHES[name].settings):
        assert f"  {setting.name} = " in said
    assert all(change in said for change in BENCHES[name].quick)


def test_the_stop_rules_settings_and_slice(capsys):
    main(["bench", "--help", "stop_rule"])
    said = capsys.readouterr().out
    assert "  rounds = 30" in said and "--quick sets rounds=6, prompts=4." in said
    assert "threshold that nothing reaches" in said  # what it measures


def test_without_a_known_name_it_is_the_verbs_own_help(capsys):
    main(["bench", "--help"])
    assert "--seeds" in capsys.readouterr().out
