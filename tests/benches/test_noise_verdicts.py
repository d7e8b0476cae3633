"""What the noise bench says of its runs: arithmetic by hand, and no sentence that the intervals do not allow."""

import math
from dataclasses import replace

import pytest

from critica.benches.noise_claims import claims
from critica.benches.noise_figure import noise_figure
from critica.benches.noise_mechanism import Mechanism
from critica.benches.noise_page import noise_page
from critica.benches.noise_settings import NoiseSettings
from critica.benches.noise_trial import Point, Trial
from critica.benches.noise_verdict import Board, board_of

MACHINE = {"processor": "P", "commit": "c", "versions": {"torch": "2"}}
T2, T4 = 4.302653, 2.776445  # Student's 97.5% quantiles with 2 and 4 degrees of freedom


def trial(arm: str, noise: str, seed: int, final: float, start: float = 0.3) -> Trial:
    points = (Point(0, 0, 0.0, start), Point(1, 100, 1.0, final, Mechanism(0.2, 0.1 * seed, 0.5, 0.2)))
    return Trial(1, f"{arm}{noise}{seed}", "worked", noise, arm, seed, 2e-4, points, final + 0.1, arm == "grpo", "abc")


def runs(table: dict[tuple[str, str], list[float]]) -> list[Trial]:
    return [trial(arm, noise, seed, x) for (arm, noise), row in table.items() for seed, x in enumerate(row)]


def board(table: dict[tuple[str, str], list[float]]) -> Board:
    found = board_of("worked", runs(table), 320)
    assert found is not None
    return found


FLIP, GROUPS = "flip:0.2:sample", "flip:0.4:group"
CLEAN = {("grpo", "none"): [0.8, 0.8, 0.8], ("ppo", "none"): [0.8, 0.81, 0.79], ("dvpo", "none"): [0.8, 0.82, 0.81]}


def test_a_cell_by_hand() -> None:
    found = board({**CLEAN, ("grpo", FLIP): [0.6, 0.6, 0.6], ("dvpo", FLIP): [0.7, 0.74, 0.72]})
    cell = found.cell(FLIP, "dvpo")
    assert cell is not None and cell.kept is not None and cell.over["ppo"] is None
    half = T2 * 0.02 / math.sqrt(3)
    assert (cell.final.estimate, cell.final.low, cell.final.high) == pytest.approx((0.72, 0.72 - half, 0.72 + half))
    assert cell.greedy.estimate == pytest.approx(0.82) and cell.worst == 0.7
    assert cell.area.estimate == pytest.approx(0.51), "from .3 straight to .72"
    shares = [0.7 / 0.8, 0.74 / 0.82, 0.72 / 0.81]
    assert cell.kept.estimate == pytest.approx(sum(shares) / 3)
    gain = cell.over["grpo"]
    assert gain is not None and (gain.estimate, gain.low) == pytest.approx((0.12, 0.12 - half))
    clean = found.cell("none", "dvpo")
    assert clean is not None and clean.kept is None and clean.over["ppo"] is not None
    assert clean.over["ppo"].estimate == pytest.approx((0.0 + 0.01 + 0.02) / 3)
    group = found.cell(FLIP, "grpo")
    assert group is not None and group.over["grpo"] is None and group.own_outcome
    within = cell.mechanism["within"]
    assert within is not None and within.estimate == pytest.approx(0.1)


def test_differences_and_shares_are_paired_by_the_seeds_that_both_have() -> None:
    """Seeds 0 and 1 of dvpo, 1 and 2 of grpo: seed 1 alone pairs, and one pair has no interval."""
    trials = [
        trial("dvpo", FLIP, 0, 0.9),
        trial("dvpo", FLIP, 1, 0.7),
        trial("grpo", FLIP, 1, 0.6),
        trial("grpo", FLIP, 2, 0.1),
    ]
    found = board_of("worked", trials, 320)
    cell = found.cell(FLIP, "dvpo") if found else None
    assert cell is not None and cell.over["grpo"] is not None and cell.kept is None
    assert cell.over["grpo"].estimate == pytest.approx(0.1) and math.isinf(cell.over["grpo"].low)
    said = " ".join(claims(found)) if found else ""
    assert "better beyond the interval: none; worse: none" in said
    assert board_of("short", trials, 320) is None


def test_what_is_kept_is_averaged_over_the_columns_that_all_arms_have() -> None:
    """dvpo keeps .9 under flips and .5 under group flips, and has a third column that grpo lacks: .7 over two."""
    table = {
        ("grpo", "none"): [0.8, 0.8], ("grpo", FLIP): [0.72, 0.72], ("grpo", GROUPS): [0.4, 0.4],
        ("dvpo", "none"): [0.8, 0.8], ("dvpo", FLIP): [0.72, 0.72], ("dvpo", GROUPS): [0.4, 0.4],
        ("dvpo", "majority:8"): [0.8, 0.8], ("dvpo", "inverse"): [0.1, 0.1], ("grpo", "inverse"): [0.1, 0.1],
    }  # fmt: skip
    found = board(table)
    share, columns = found.retained["dvpo"]
    assert columns == 2 and share.estimate == pytest.approx(0.7), "controls are no noisy columns"
    assert found.noisy == (FLIP, GROUPS, "majority:8") and found.noises[-1] == "inverse"


def test_keeping_is_claimed_denied_or_left_open_by_the_interval() -> None:
    def kept(share: list[float]) -> str:
        table = {("dvpo", "none"): [0.8] * len(share), ("dvpo", FLIP): [0.8 * x for x in share]}
        return claims(board({**table, ("grpo", "none"): [0.8] * 2, ("grpo", FLIP): [0.6, 0.6]}))[0]

    assert "is kept by: dvpo 97% [97, 97]; less by: grpo" in kept([0.97, 0.97])
    assert "is kept by: none; less by: grpo 75% [75, 75], dvpo 90% [90, 90]" in kept([0.9, 0.9]).replace(
        "dvpo 90% [90, 90], grpo 75% [75, 75]", "grpo 75% [75, 75], dvpo 90% [90, 90]"
    )
    assert "undecided: dvpo 97%" in kept([0.95, 0.99]), "97% on average, but with two seeds anything from 72 to 122"
    lines = claims(board({**CLEAN, **{(arm, FLIP): [0.4, 0.41, 0.4] for arm in ("grpo", "ppo", "dvpo")}}))
    assert any(line.startswith("GRPO keeps at most 85%: yes") for line in lines)
    lines = claims(board({**CLEAN, **{(arm, FLIP): [0.78, 0.79, 0.78] for arm in ("grpo", "ppo", "dvpo")}}))
    assert any(line.startswith("GRPO keeps at most 85%: no") for line in lines)
    lines = claims(board({("grpo", "none"): [0.8], ("grpo", FLIP): [0.4]}))
    assert any(line.startswith("GRPO keeps at most 85%: undecided (50% (one seed))") for line in lines)
    assert "nothing is said" in claims(board({("grpo", FLIP): [0.4]}))[0]


def test_above_both_rivals_needs_intervals_that_do_not_overlap() -> None:
    base = {**CLEAN, ("grpo", FLIP): [0.6, 0.61, 0.59], ("ppo", FLIP): [0.6, 0.61, 0.62]}
    said = " ".join(claims(board({**base, ("dvpo", FLIP): [0.7, 0.71, 0.72]})))
    assert "dvpo lies above GRPO and PPO with intervals that do not overlap in 1 of 1 noisy columns" in said
    near = " ".join(claims(board({**base, ("dvpo", FLIP): [0.63, 0.65, 0.67]})))
    assert "In none of 1 noisy columns does any arm's interval lie wholly above both" in near
    assert "better beyond the interval: dvpo under" in near, "paired by seed it is better, which is another statement"
    only_ppo = {**base, ("ppo", FLIP): [0.4, 0.41, 0.42], ("dvpo", FLIP): [0.59, 0.6, 0.61]}
    assert "In none of 1 noisy columns" in " ".join(claims(board(only_ppo)))
    half = {**base, ("dvpo", FLIP): [0.7, 0.71, 0.72]}
    half |= {(arm, GROUPS): [0.5, 0.51, 0.52] for arm in ("grpo", "ppo", "dvpo")}
    assert "in 1 of 2 noisy columns (`flip:0.2:sample`): not most of them" in " ".join(claims(board(half)))


def test_paired_verdicts_follow_the_sign_and_one_seed_decides_nothing() -> None:
    base = {("grpo", FLIP): [0.6, 0.61, 0.62], ("ppo", FLIP): [0.6, 0.61, 0.62]}
    above = " ".join(claims(board({**base, ("dvpo", FLIP): [0.65, 0.66, 0.671]})))
    assert "against grpo, paired by seed: better beyond the interval: dvpo under `flip:0.2:sample` +5.0" in above
    below = " ".join(claims(board({**base, ("dvpo", FLIP): [0.55, 0.56, 0.571]})))
    assert "against ppo, paired by seed: better beyond the interval: none; worse: dvpo" in below
    one = " ".join(claims(board({key: row[:1] for key, row in base.items()} | {("dvpo", FLIP): [0.9]})))
    assert "better beyond the interval: none; worse: none; undecided: 2 of 2" in one
    assert "In none of 1 noisy columns" in one


def test_a_run_has_collapsed_below_the_lower_end_of_the_start() -> None:
    """.3 of 320 has the Wilson interval from .2523 on: .26 may be chance, .25 is not."""
    found = board({("grpo", FLIP): [0.26, 0.25, 0.1], ("ppo", FLIP): [0.26, 0.3, 0.4]})
    assert found.floor == pytest.approx(0.2524, abs=2e-4)
    cells = [found.cell(FLIP, arm) for arm in ("grpo", "ppo")]
    assert [cell.collapsed for cell in cells if cell] == [2, 0]
    assert any("grpo under `flip:0.2:sample` 2 of 3 seeds" in line and "ppo" not in line for line in claims(found))


def test_runs_that_found_nothing_to_learn_from_are_named() -> None:
    trials = [replace(trial("dapo", "inverse", seed, 0.3), idle_after=64 if seed else None) for seed in range(3)]
    found = board_of("worked", trials, 320)
    said = " ".join(claims(found)) if found else ""
    assert "stayed as it was: dapo under `inverse` 2 of 3 seeds" in said
    assert "stayed as it was" not in " ".join(claims(board(CLEAN)))


def test_the_number_of_comparisons_is_said() -> None:
    table = {
        (arm, noise): [0.5, 0.52] for arm in ("grpo", "ppo", "dvpo", "rloo", "surprise") for noise in (FLIP, GROUPS)
    }
    assert claims(board(table))[-1].startswith("16 paired comparisons with 95% intervals: by chance alone about 1")


def test_the_page_and_the_figure_show_what_was_found_and_nothing_in_bold_that_is_not_sure() -> None:
    table = {
        **CLEAN,
        ("grpo", FLIP): [0.6, 0.61, 0.62],
        ("ppo", FLIP): [0.6, 0.61, 0.62],
        ("dvpo", FLIP): [0.6, 0.64, 0.6],
    }
    table |= {("grpo", "random:0.5"): [0.3, 0.31, 0.3]}
    trials = runs(table)
    found = board(table)
    page = noise_page(MACHINE, NoiseSettings(), 5, [found], trials, {"grpo": 2e-4, "ppo": 1e-4})
    assert "**" not in page.replace("**+5", "") and "random:0.5 (control)" in page
    assert "Not searched for, at 0.0002: dvpo." in page and "| grpo | 80.0 ± 0.0 | 61.0 ± 2.5 |" in page
    assert "`vapo`" not in page, "only arms that were run are described"
    assert "0.20 ± 0.00 †" in page, "the group mean has seen the outcome"
    sure = board({**table, ("dvpo", FLIP): [0.65, 0.66, 0.671]})
    assert "**+5.0 [" in noise_page(MACHINE, NoiseSettings(), 5, [sure], trials, {})
    picture = noise_figure(found, trials)
    assert picture.count("<polyline") == 7 and 'font-weight="bold">random:0.5<' in picture
    shorter = [replace(one, points=one.points[:2]) for one in trials]
    assert noise_figure(found, shorter).count("<polyline") == 7


def test_the_page_names_its_own_settings() -> None:
    settings = NoiseSettings(grid="sweep", noises=("inverse",))
    page = noise_page(MACHINE, settings, 3, [], [], {})
    assert "`critica bench noise --seeds 3 --set 'grid=\"sweep\"' --set 'noises=[\"inverse\"]'`" in page


def test_who_gains_from_coin_tosses_is_named() -> None:
    """The start is .3: .8, .81, .79 lie above it beyond their interval, .5, .1, .6 do not."""
    found = board({**CLEAN, ("grpo", "random:0.5"): [0.5, 0.1, 0.6], ("dvpo", "random:0.5"): [0.8, 0.81, 0.79]})
    (line,) = [line for line in claims(found) if "control" in line]
    assert "dvpo 30 -> 80" in line and "grpo" not in line and "as little of the supervision" in line
    (line,) = [line for line in claims(board({**CLEAN, ("grpo", "inverse"): [0.1, 0.1, 0.1]})) if "control" in line]
    assert "interval: none." in line and "supervision" not in line
    assert not [line for line in claims(board(CLEAN)) if "control" in line]
