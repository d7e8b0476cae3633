"""A bonus for rare right answers: by hand, where it lands, and that it keeps a second way of being right alive."""

import itertools

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.outcome import Outcome
from critica.critics.base import CriticContext
from critica.critics.counted import GroupMean
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import change_recipe
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.supervision import Abstained, Reward, Scale, Scored
from critica.rollout.novelty import Novelty
from critica.rollout.place import Placement, place
from fakes import BigramPolicy


class Declared:
    low, high = 0.0, 1.0


def rewards(*values):
    outcomes = [Abstained("silent") if value is None else Scored(value) for value in values]
    return tuple(Reward("r", f"t{n}", outcome) for n, outcome in enumerate(outcomes))


def reference(batch, surprises):
    """Each row's mean of -log reference over its sampled tokens is its surprise; context tokens count for nothing."""
    logs = torch.full(batch.token_ids.shape, -77.0)
    return torch.where(batch.sampled_mask, -torch.tensor(surprises)[:, None], logs)


def bonus(values, surprises, groups, rows=None):
    batch = token_batch(rows or ["css"] * len(values), groups)
    told = told_batch(batch, values)
    logs = reference(batch, surprises)
    return Novelty(0.25).bonus(told.total, told.all_known, logs, batch.sampled_mask, batch.group_index).tolist()


def test_the_rarest_right_answer_is_paid_and_no_wrong_one_is():
    """Right with surprises 1, 2, 3: z is -1, 0, 1, so the last gets half of .25; the others are not compared."""
    found = bonus([1.0, 1.0, 1.0, 0.0, None], [1.0, 2.0, 3.0, 9.0, 50.0], [0] * 5, ["css", "cs", "csss", "cs", "cs"])
    assert found == pytest.approx([0.0, 0.0, 0.125, 0.0, 0.0], abs=1e-5)
    assert bonus([1.0, 0.0, 0.0], [5.0, 1.0, 1.0], [0] * 3) == [0.0] * 3  # alone
    assert bonus([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0] * 3) == [0.0] * 3  # all alike
    assert max(bonus([1.0] * 9, [0.0] * 8 + [100.0], [0] * 9)) == pytest.approx(0.25)  # z of 2.67 is cut at 2
    assert bonus([1.0, 1.0, 1.0, 1.0], [1.0, 3.0, 8.0, 9.0], [0, 0, 1, 1])[:2] == pytest.approx(
        bonus([1.0, 1.0], [1.0, 3.0], [0, 0])
    )


def test_it_lands_on_the_last_token_before_anything_else_is_charged():
    batch = token_batch(["css", "css", "css"], [0, 0, 0])
    evidence = Evidence(ReferenceLogprobs("initial", reference(batch, [1.0, 2.0, 3.0])))
    said = rewards(1.0, 1.0, 1.0)
    plain = place(said, batch, Evidence(), Placement(), Declared())
    told = place(said, batch, evidence, Placement(novelty=Novelty(0.4)), Declared())
    assert (told.outcome - plain.outcome).flatten().tolist() == pytest.approx([0.0, 0.0, 0.2], abs=1e-5)
    placed = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.2]])
    torch.testing.assert_close((told.per_token - plain.per_token)[..., 0], placed, rtol=0, atol=1e-5)
    assert Placement(novelty=Novelty(0.1)).needs == {ReferenceLogprobs} and not Placement().needs
    assert Placement(novelty=Novelty(0.1)).without_models() == Placement()


def advantages(values, surprises, groups, coefficient):
    """What GRPO makes of the told outcomes."""
    batch = token_batch(["cs"] * len(values), groups)
    evidence = Evidence(ReferenceLogprobs("initial", reference(batch, surprises)))
    told = place(rewards(*values), batch, evidence, Placement(novelty=Novelty(coefficient)), Declared())
    critic = GroupMean().build(CriticContext(BigramPolicy(), 0, 0.0, 1.0))
    credit = Outcome("group").estimate(batch, told, critic.predict(batch, told, Evidence()), Evidence())
    return credit.advantage[:, 1]


def test_a_prompt_that_is_always_solved_speaks_again():
    silent = advantages([1.0] * 4, [1.0, 1.0, 1.0, 3.0], [0] * 4, 0.0)
    assert silent.tolist() == [0.0] * 4
    loud = advantages([1.0] * 4, [1.0, 1.0, 1.0, 3.0], [0] * 4, 0.25).tolist()
    assert loud == pytest.approx([-0.5, -0.5, -0.5, 1.5], abs=1e-3)


def trained(coefficient, steps=150, rate=0.5):
    """GRPO's exact expected update on three arms, two of them right, one of which the reference rarely takes."""
    right, law0 = (1.0, 1.0, 0.0), torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)
    groups = list(itertools.product(range(3), repeat=4))
    rows = [arm for group in groups for arm in group]
    index = [n for n in range(len(groups)) for _ in range(4)]
    surprise = (-law0.log()).float().tolist()
    credit = advantages([right[a] for a in rows], [surprise[a] for a in rows], index, coefficient).double()
    arms, per_group = torch.tensor(rows).view(-1, 4), credit.view(-1, 4)
    logits = law0.log()
    for _ in range(steps):
        law = logits.softmax(-1)
        chance = law[arms].prod(-1)
        score = torch.nn.functional.one_hot(arms, 3).double() - law
        logits = logits + rate * (chance[:, None] * (per_group[..., None] * score).mean(1)).sum(0)
    return logits.softmax(-1)


def test_without_the_bonus_the_rare_right_arm_is_forgotten_and_with_it_it_grows():
    """The policy starts at the reference: the rare right arm has a seventh of the right mass."""
    plain, paid = trained(0.0), trained(0.25)
    assert float(plain[2]) < 0.05 and float(paid[2]) < 0.1
    share = [float(law[1] / (law[0] + law[1])) for law in (plain, paid)]
    assert share[0] < 0.15 < 0.3 < share[1]


def test_wrong_use_is_refused_and_ranges_follow():
    with pytest.raises(ValueError, match="at least 0"):
        Novelty(-0.1)
    with pytest.raises(ConfigError, match=r"placement\.novelty"):
        change_recipe(RECIPES["novelty"], ["placement.novelty.coefficient=-1"], PARTS)
    (told,) = RECIPES["novelty"].told_scales((Scale("r", 0.0, 1.0),))
    assert (told.low, told.high) == (0.0, 1.25)
    off = change_recipe(RECIPES["novelty"], ["placement.novelty.coefficient=0"], PARTS)
    gspo = RECIPES["gspo"]
    assert (off.critic, off.advantage, off.placement) == (gspo.critic, gspo.advantage, gspo.placement)
    assert (off.objective.surrogate, off.objective.level) == (gspo.objective.surrogate, gspo.objective.level)
