"""Critics made of critics: what they predict, what they need, who learns, and what is kept."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext, Remembering, Trainable
from critica.critics.blend import Blend
from critica.critics.bodies import SharedTrunk
from critica.critics.bottleneck import Bottleneck
from critica.critics.bounded import BoundedCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.combine import leaves
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.lagged import Lagged
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.sizes import head_parameters, holdings
from critica.critics.targets import MonteCarlo
from critica.records.arrays import Categorical, Gaussian, Point, Quantiles
from critica.records.evidence import Evidence, HiddenStates
from critica.records.protocols import Stateful
from fakes import BigramPolicy

SHARED = SharedTrunk()
BATCH = token_batch(["csss", "css.", "cs.."], [0, 0, 0])
TOLD = told_batch(BATCH, [1.0, 0.0, 0.25])
STATES = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
EVIDENCE = Evidence(HiddenStates(STATES, torch.randn(3, 4, generator=torch.Generator().manual_seed(2))))


def live(part, seed=3, shaken=True):
    critic = part.build(CriticContext(BigramPolicy(width=4, dtype=torch.float32), seed, 0.0, 1.0))
    if shaken and isinstance(critic, Trainable):
        shake(critic, 7)
    return critic


@torch.no_grad()
def shake(critic, seed, size=0.05):
    generator = torch.Generator().manual_seed(seed)
    for _, weight in critic.trainable():
        weight.add_(size * torch.randn(weight.shape, generator=generator))


def expect(critic):
    return critic.predict(BATCH, TOLD, EVIDENCE)


def losses(critic):
    values = expect(critic)
    return critic.loss(STATES, BATCH, MonteCarlo().build(BATCH, TOLD, values), values)


def test_an_ensemble_is_the_mean_of_its_members_with_their_laws_side_by_side():
    for part, law in (
        (QuantileCritic(2, 5, 8, tail=NO_TAIL, body=SHARED), Quantiles),
        (CategoricalCritic(5, body=SHARED), Categorical),
        (GaussianCritic(8, body=SHARED), Gaussian),
        (ScalarCritic(SHARED), Quantiles),
    ):
        critic = live(Ensemble(part, 3))
        found, each = expect(critic), [expect(member) for _, member in critic.parts()]
        torch.testing.assert_close(found.mean, torch.stack([one.mean for one in each]).mean(0))
        torch.testing.assert_close(found.bootstrap, torch.stack([one.bootstrap for one in each]).mean(0))
        assert isinstance(found.law, law) and law is Ensemble(part, 3).law
        if isinstance(found.law, Quantiles):
            assert found.law.values.shape[2] == 3 * (2 if isinstance(part, QuantileCritic) else 1)
            torch.testing.assert_close(found.law.values.mean((2, 3)), found.mean)
        if isinstance(found.law, Categorical):
            assert found.law.probs.shape[2] == 3
        if isinstance(found.law, Gaussian):
            means = torch.stack([one.mean for one in each])
            within = torch.stack([one.law.spread for one in each]).square().mean(0)
            torch.testing.assert_close(found.law.spread.square(), within + means.var(0, correction=0))


def test_members_start_apart_when_their_heads_are_random_and_alike_else():
    heads = [member.head.hidden_weight for _, member in live(Ensemble(QuantileCritic(1, 4, 8, body=SHARED), 2),
                                                             shaken=False).parts()]  # fmt: skip
    assert not torch.equal(*heads)
    again = live(Ensemble(QuantileCritic(1, 4, 8, body=SHARED), 2), shaken=False)
    assert torch.equal(heads[0], dict(again.trainable())["head.member_0.hidden_weight"])


def test_each_member_learns_from_its_own_share_and_on_average_from_all():
    critic = live(Ensemble(ScalarCritic(SHARED), 2, 0.5))
    values = expect(critic)
    targets = MonteCarlo().build(BATCH, TOLD, values)
    one, other = critic.loss(STATES, BATCH, targets, values)
    assert one.weight == other.weight == 2.0
    whole = critic.parts()[0][1].loss(STATES, BATCH, targets, values)[0]
    torch.testing.assert_close(one.values, whole.values)
    assert bool((one.mask <= targets.mask).all())
    rows = {tuple(term.mask.any(-1).tolist()) for term in (one, other)}
    again = critic.loss(STATES, BATCH, targets, values)
    assert torch.equal(again[0].mask, one.mask) and torch.equal(again[1].mask, other.mask)
    many = token_batch(["cs"] * 400, [0] * 400)
    many = replace(many, trajectory_ids=tuple(f"1.{i}.0" for i in range(400)))
    full = (replace(one, values=torch.zeros(400, 2), mask=many.sampled_mask),)
    drawn = [critic.taught(member, full, many)[0].mask[:, 1] for member in (0, 1)]
    assert abs(float(drawn[0].float().mean()) - 0.5) < 0.1 and float((drawn[0] == drawn[1]).float().mean()) < 0.65
    assert rows  # drawn by identity, not by order: the same rows in another order draw the same
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    mixed = critic.taught(0, full, many.select(order))[0].mask[:, 1]
    assert torch.equal(mixed, drawn[0][order])


def test_one_member_at_full_share_is_that_critic():
    part = QuantileCritic(2, 5, 8, body=SHARED, tail=NO_TAIL)
    whole = live(Ensemble(part, 1, 1.0))
    (member,) = (critic for _, critic in whole.parts())
    torch.testing.assert_close(expect(whole).mean, expect(member).mean)
    for ours, theirs in zip(losses(whole), losses(member), strict=True):
        torch.testing.assert_close(ours.values, theirs.values)


def test_parameters_keep_their_kind_and_are_listed_once():
    critic = live(Lagged(Ensemble(QuantileCritic(1, 4, 8, body=SHARED), 2)))
    names = [name for name, _ in critic.trainable()]
    assert all(name.startswith("head.live.member_") for name in names)
    assert len(names) == 8 == len({id(weight) for _, weight in critic.trainable()})
    assert len(list(leaves(critic))) == 4  # two that learn, two that follow


def test_a_lagged_critic_follows_by_its_rate_and_predicts_from_behind():
    critic = live(Lagged(ScalarCritic(SHARED), 0.25), shaken=False)
    assert isinstance(critic, Trainable) and isinstance(critic, Remembering) and isinstance(critic, Stateful)
    with torch.no_grad():
        critic.live.head.bias.fill_(1.0)
    assert float(expect(critic).mean.max()) == 0.0
    for turn in (1, 2, 3):
        critic.remember(BATCH, TOLD)
        assert float(expect(critic).mean.max()) == pytest.approx(1 - 0.75**turn)
    (term,) = losses(critic)  # the live one is taught: it says 1, and row 0 was told 1
    torch.testing.assert_close(term.values[0, 1:], torch.zeros(3))
    assert term.values.requires_grad and not expect(critic).mean.requires_grad


def test_rate_one_is_the_critic_itself():
    critic = live(Lagged(QuantileCritic(1, 4, 8, tail=NO_TAIL, body=SHARED), 1.0))
    critic.remember(BATCH, TOLD)
    torch.testing.assert_close(expect(critic).mean, expect(critic.live).mean)


def test_a_lagged_copy_is_saved_apart_and_forgets_when_told_that_nothing_happened(tmp_path):
    part = Lagged(Ensemble(ScalarCritic(SHARED), 2), 0.5)
    critic, other = live(part), live(part, shaken=False)
    critic.remember(BATCH, TOLD)
    shake(critic, 9)
    critic.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"live", "lagged"}
    assert {path.name for path in (tmp_path / "live").iterdir()} == {"member_0", "member_1"}
    other.load(tmp_path)
    other.load_state_dict(critic.state_dict())
    assert torch.equal(expect(other).mean, expect(critic).mean)
    assert torch.equal(expect(other.live).mean, expect(critic.live).mean)
    assert not torch.equal(expect(critic).mean, expect(critic.live).mean)
    begun = {**critic.state_dict(), "updates": 0}
    other.load_state_dict(begun)
    assert torch.equal(expect(other).mean, expect(other.live).mean)


def test_a_blend_by_hand_and_at_its_ends():
    critic = live(Blend(0.25, LeaveOneOut(), ScalarCritic(SHARED)))
    counted, head = (expect(part) for _, part in critic.parts())
    found = expect(critic)
    torch.testing.assert_close(found.mean, 0.25 * counted.mean + 0.75 * head.mean)
    torch.testing.assert_close(found.bootstrap, 0.75 * head.bootstrap)
    assert float(found.support[0, 1]) == 2.0 and found.law == Point()
    assert not found.uses_own_outcome and not found.uses_siblings
    torch.testing.assert_close(expect(live(Blend(1.0, GroupMean(), ScalarCritic(SHARED)))).mean,
                               expect(live(GroupMean())).mean)  # fmt: skip
    torch.testing.assert_close(expect(live(Blend(0.0, GroupMean(), ScalarCritic(SHARED)))).mean,
                               expect(live(ScalarCritic(SHARED))).mean)  # fmt: skip
    assert expect(live(Blend(0.5, GroupMean(), LeaveOneOut()))).uses_siblings
    assert expect(live(Blend(0.5, GroupMean(), ScalarCritic(SHARED)))).uses_own_outcome
    assert not expect(live(Blend(0.0, GroupMean(), ScalarCritic(SHARED)))).uses_own_outcome


def test_a_blend_is_silent_where_either_part_is():
    lonely = token_batch(["cs", "cs"], [0, 1])
    told = told_batch(lonely, [1.0, 0.0])
    evidence = Evidence(HiddenStates(STATES[:2], STATES[:2]))
    values = live(Blend(0.5, LeaveOneOut(), ScalarCritic(SHARED))).predict(lonely, told, evidence)
    assert not bool(values.mask.any()) and float(values.mean.abs().max()) == 0.0


def test_a_blend_learns_only_if_a_part_does():
    assert isinstance(live(Blend(0.5, GroupMean(), ScalarCritic(SHARED))), Trainable)
    assert not isinstance(live(Blend(0.5, GroupMean(), NoBaseline())), Trainable)
    assert live(Blend(0.5, GroupMean(), ScalarCritic(SHARED))).needs == frozenset({HiddenStates})
    assert live(Blend(0.5, GroupMean(), NoBaseline())).needs == frozenset()
    assert len(losses(live(Blend(0.5, ScalarCritic(SHARED), CategoricalCritic(3, body=SHARED))))) == 2


def test_traits_are_those_of_the_parts():
    assert Blend().group_based and not Blend().distributional
    assert not Blend(0.5, NoBaseline(), ScalarCritic()).group_based
    assert Lagged(QuantileCritic()).needs_distributional_targets
    assert Ensemble(QuantileCritic(tail=NO_TAIL)).distributional and not Ensemble(ScalarCritic()).distributional
    assert not Lagged(ScalarCritic()).distributional and Lagged(GaussianCritic()).law is Gaussian


def test_wrong_combinations_are_refused_by_a_sentence():
    for wrong in (
        lambda: Ensemble(ScalarCritic(clip=0.2)), lambda: Lagged(ScalarCritic(clip=0.2)),
        lambda: Blend(0.5, GroupMean(), ScalarCritic(clip=0.2)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="set its clip=0"):
            wrong()
    with pytest.raises(ValueError, match="members of an ensemble must learn"):
        Ensemble(GroupMean())
    with pytest.raises(ValueError, match=r"critic\.critic=scalar"):
        live(Lagged(NoBaseline()))
    with pytest.raises(ValueError, match="must read alike"):
        live(Blend(0.5, ScalarCritic(SharedTrunk(weight=0.1)), ScalarCritic(SharedTrunk(weight=0.7))))
    for wrong in (lambda: Ensemble(members=0), lambda: Ensemble(share=0.0), lambda: Lagged(rate=0.0),
                  lambda: Blend(1.5)):  # fmt: skip
        with pytest.raises(ValueError, match=r"\(0, 1\]|\[0, 1\]"):
            wrong()


@pytest.mark.parametrize(
    "part",
    [
        ScalarCritic(SHARED), BoundedCritic(SHARED), QuantileCritic(3, 5, 8, body=SHARED),
        CategoricalCritic(7, body=SHARED), GaussianCritic(8, body=SHARED), GaussianCritic(8, fixed=1.0, body=SHARED),
        ScalarCritic(SHARED, hidden=6), BoundedCritic(SHARED, 6, (Bottleneck(5),)),
        QuantileCritic(3, 5, 8, body=SHARED, regularizers=(Bottleneck(5),)),
        Ensemble(GaussianCritic(8, body=SHARED), 3), Lagged(Ensemble(ScalarCritic(SHARED), 2)),
        Blend(0.5, GroupMean(), CategoricalCritic(7, body=SHARED)), GroupMean(),
    ],
)  # fmt: skip
def test_a_plan_counts_the_numbers_that_are_there(part):
    critic = live(part)
    trained = sum(weight.numel() for _, weight in critic.trainable()) if isinstance(critic, Trainable) else 0
    assert sum(one.trained * head_parameters(one.part, 4) for one in holdings(part)) == trained
    learners = [leaf for leaf in leaves(critic) if isinstance(leaf, Trainable)]
    held = sum(weight.numel() for leaf in learners for _, weight in leaf.trainable())
    assert sum(one.held * head_parameters(one.part, 4) for one in holdings(part)) == held
