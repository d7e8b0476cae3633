"""Episodes: tokens stay as sampled, context earns and passes nothing, limits end by name, a journal answers again."""

from dataclasses import dataclass, replace

import pytest
import torch

from critica.advantages.gae import Gae
from critica.critics.base import CriticContext
from critica.critics.counted import NoBaseline
from critica.environments.guess import Guess
from critica.policies.followup import NotAppendOnly, followup_text, without_written_end
from critica.records.arrays import ValuePrediction
from critica.records.evidence import Evidence
from critica.records.journal import NoJournal
from critica.records.supervision import Failed, Scored
from critica.records.words import ContextTurn, Message, SampledTurn, StopReason
from critica.rewards.noise_specs import parse_noise
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll, Informative
from critica.rollout.attempts import MultiAttempt
from critica.rollout.episode import CannotConverse
from critica.rollout.gather import gather
from critica.rollout.place import Placement, last_sampled, place
from critica.rollout.protocol import Open, Over, ProtocolContext, Turns, Worth
from critica.rollout.tokenize import tokenize
from critica.training.books import close_books
from fakes import BigramPolicy
from rollout.guessing import NUMBER, TRAIN, Guesser, Truth, request, supervise, tasks


def turns(**settings):
    part = MultiAttempt(feedback="no, {left} left: ", **settings)
    return part.build(ProtocolContext(Guess(4).build(0), WorkerLimits()))


def played(policy=None, supervision=None, live=None, **asked):
    live = live or turns(exactly=3)
    return gather(policy or Guesser(), tasks(), supervision or supervise(), AcceptAll(), request(**asked), turns=live)


def test_what_was_sampled_stays_and_messages_are_appended():
    policy = Guesser()
    gathered = played(policy)
    batch = tokenize(gathered.groups)
    rows = [t for group in gathered.groups for t in group.trajectories]
    assert {len(t.turns) for t in rows} == {2, 4, 6}
    for n, trajectory in enumerate(rows):
        assert all(isinstance(turn, (ContextTurn, SampledTurn)[k % 2]) for k, turn in enumerate(trajectory.turns))
        prompt = policy.encode(gathered.groups[n // 3].task.messages)
        assert trajectory.turns[0].token_ids == prompt
        text = policy.decode_text(batch.token_ids[n, batch.valid_mask[n]].tolist())
        guesses = trajectory.sampled_text.split("\n")
        expected = policy.decode_text(prompt) + guesses[0]
        for k, guess in enumerate(guesses[1:]):
            expected += f"\nno, {2 - k} left: " + guess
        assert text == expected
        assert batch.token_ids[n, batch.sampled_mask[n]].tolist() == [NUMBER[guess] for guess in guesses]
        assert batch.node_index[n, batch.sampled_mask[n]].tolist() == list(range(len(guesses)))
        assert batch.turn_index[n, batch.sampled_mask[n]].tolist() == list(range(1, 2 * len(guesses), 2))
    # what each later call of the decoder was shown is what stood there: nothing was encoded again
    shown = {ids for call in policy.calls[1:] for ids, _ in call}
    starts = {tuple(batch.token_ids[n, :end].tolist()) for n in range(batch.rows) for end in range(batch.lengths[n])}
    assert shown <= starts


def test_random_numbers_are_counted_by_step_slot_index_and_turn():
    policy = Guesser()
    gathered = played(policy)
    streams = [stream for call in policy.calls for _, members in call for stream in members]
    assert len(streams) == len(set(streams))
    assert {len(stream) for stream in streams} == {3, 4}
    assert {stream[3] for stream in streams if len(stream) == 4} == {1, 2}
    alone = gather(
        Guesser(), tasks(prompts=1), supervise(), AcceptAll(), request(prompts=1), turns=turns(exactly=3)
    )  # fmt: skip
    assert alone.groups[0].trajectories == gathered.groups[0].trajectories  # whoever plays beside it


def test_gae_skips_what_the_policy_read_and_pays_its_last_own_token():
    """Against GAE on the sampled tokens alone, by the double loop over them."""
    gathered = played()
    batch = tokenize(gathered.groups)
    told = place(gathered.rewards, batch, Evidence(), Placement(), Truth())
    last = last_sampled(batch)
    assert bool((told.per_token[..., 0] != 0).sum(-1).le(1).all())
    assert torch.equal(told.per_token[torch.arange(batch.rows), last, 0], told.outcome[:, 0])
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(batch.token_ids.shape, generator=generator)  # also on context: it must not matter
    values = ValuePrediction(mean, batch.sampled_mask, torch.rand(batch.rows, generator=generator))
    found = Gae(discount=0.9, decay=0.8).estimate(batch, told, values, Evidence()).advantage
    for n in range(batch.rows):
        own = batch.sampled_mask[n].nonzero().squeeze(-1).tolist()
        worth = [float(mean[n, t]) for t in own] + [0.0]
        paid = [0.0] * (len(own) - 1) + [float(told.outcome[n, 0])]
        for i, t in enumerate(own):
            expected = sum(
                (0.9 * 0.8) ** (k - i) * (paid[k] + 0.9 * worth[k + 1] - worth[k]) for k in range(i, len(own))
            )
            assert float(found[n, t]) == pytest.approx(expected, abs=1e-6)
    assert bool((found[~batch.sampled_mask] == 0).all())


def test_limits_end_episodes_by_name():
    never = supervise(lambda task, text: Scored(0.0))
    stops = lambda gathered: {t.stop for g in gathered.groups for t in g.trajectories}  # noqa: E731
    assert stops(played(supervision=never)) == {StopReason.TURN_LIMIT}
    assert stops(played(supervision=supervise(lambda task, text: Scored(1.0)))) == {StopReason.ANSWERED}
    cut = played(supervision=never, live=turns(exactly=3, episode_tokens=2))
    assert stops(cut) == {StopReason.TOKEN_LIMIT}
    assert {len(t.sampled_text.split("\n")) for g in cut.groups for t in g.trajectories} == {2}
    prompt = max(len(t.turns[0].token_ids) for g in cut.groups for t in g.trajectories)
    full = played(Guesser(context_length=prompt + 1 + len("\nno, 2 left: ") + 3), never)
    assert stops(full) == {StopReason.TOKEN_LIMIT}
    assert {len(t.turns) for g in full.groups for t in g.trajectories} == {4}  # the second message did not fit


def test_a_turn_is_cut_where_the_episodes_budget_ends():
    class Wordy(Guesser):
        def sample(self, requests, limits, seed, control=None, ended=None):
            made = super().sample(requests, limits, seed)
            long = lambda s: replace(s, token_ids=s.token_ids * 3, logprobs=s.logprobs * 3)  # noqa: E731
            return [[long(one) for one in row] for row in made]

    gathered = played(Wordy(), supervise(lambda task, text: Scored(0.0)), turns(exactly=3, episode_tokens=4))
    lengths = {tuple(len(turn.token_ids) for turn in t.turns[1::2]) for g in gathered.groups for t in g.trajectories}
    assert lengths == {(3, 1)}
    assert {t.stop for g in gathered.groups for t in g.trajectories} == {StopReason.TOKEN_LIMIT}


def test_a_verdict_that_failed_ends_the_episode_without_an_outcome():
    def rule(task, text):
        return Failed("the judge fell over") if text == "1" else Scored(0.0)

    gathered = played(supervision=supervise(rule, failures=replace(supervise().failures, max_share=1.0)))
    rows = [t for g in gathered.groups for t in g.trajectories]
    broken = {t.trajectory_id for t in rows if t.sampled_text.endswith("1")}
    assert broken and len(broken) < len(rows)
    for reward in gathered.rewards:
        assert isinstance(reward.outcome, Failed) == (reward.trajectory_id in broken)
    assert all((t.stop is StopReason.ENVIRONMENT_ERROR) == (t.trajectory_id in broken) for t in rows)


class Pages(NoJournal):
    """A journal in memory."""

    __slots__ = ()
    answers: list = []  # noqa: RUF012

    def recall(self, step):
        return tuple(self.answers)

    def record(self, step, answers):
        self.answers.extend(answers)


def test_a_step_done_again_is_told_the_same_turn_by_turn():
    """The second time the source would say otherwise, and is not asked."""
    journal = Pages()
    first = played(supervision=replace(supervise(), journal=journal))
    liar = replace(supervise(lambda task, text: Scored(0.0)), journal=journal)
    again = played(supervision=liar)
    assert again == first and liar.source.asked == []
    assert played(supervision=replace(liar, journal=NoJournal())) != first
    Pages.answers.clear()


def test_noise_reaches_the_verdict_that_decides_whether_to_go_on():
    every = played(supervision=supervise(noise=parse_noise("flip:1.0:sample")))
    for group in every.groups:
        for trajectory in group.trajectories:
            guesses = trajectory.sampled_text.split("\n")
            # told right when wrong: a wrong guess ends the episode, the right one does not
            assert guesses[-1] != group.task.answer and all(guess == group.task.answer for guess in guesses[:-1])
    told = {r.trajectory_id: r for r in every.rewards}
    assert all(r.outcome.value == 1.0 and r.tampering is not None for r in told.values())
    clean = {t.trajectory_id: 1.0 if len(t.turns) > 2 else -0.5 for g in every.groups for t in g.trajectories}
    assert {name: r.clean_value for name, r in told.items()} == clean


@dataclass
class Relay(Turns):
    """Two scenes: the first writes a guess that nobody judges, the second is judged; the first earns its negative."""

    def opening(self, task, stream):
        return task.messages

    def asks(self, seen):
        return seen.now.label == "second"

    def reply(self, table, seen):
        return [
            Over() if one.now.label else Open((Message("user", f"after {one.now.texts[0]}: "),), "second", "reader")
            for one in seen
        ]

    def worth(self, seen, read):
        value = read(seen.scenes[1].told[0])
        return Worth((-value,)), Worth((value,))


def test_a_replaced_context_is_a_trajectory_of_its_own_with_its_own_siblings():
    gathered = played(live=Relay())
    batch = tokenize(gathered.groups)
    assert [g.key for g in gathered.groups] == [k for i in range(4) for k in (f"1.{i}", f"1.{i}@second")]
    assert {g.trajectories[0].role for g in gathered.groups if "@" in g.key} == {"reader"}
    for n, name in enumerate(batch.trajectory_ids):
        parent = int(batch.parent_index[n])
        assert (batch.trajectory_ids[parent] + "@second" == name) if "@" in name else parent == -1
        mates = [m for m in range(batch.rows) if int(batch.episode_index[m]) == int(batch.episode_index[n])]
        assert len(mates) == 2
    told = {r.trajectory_id: r.outcome.value for r in gathered.rewards}
    assert {v for v in told.values() if v > 0} == {1.0}
    assert all(told[name] == -told[f"{name}@second"] for name in told if "@" not in name)
    credit = Gae(1.0, 1.0).estimate(
        batch, placed := place(gathered.rewards, batch, Evidence(), Placement(), Truth(low=-1.0)),
        NoBaseline().build(CriticContext(Guesser(), 0, -1.0, 1.0)).predict(batch, placed, Evidence()), Evidence(),
    )  # fmt: skip
    entries = close_books(gathered, batch, credit, TRAIN)
    assert sum(e.kind == "prompt" for e in entries) == 4 and sum(e.kind == "sample" for e in entries) == 24


def test_a_prompts_further_scenes_are_turned_away_with_it():
    live = Relay()
    gathered = gather(Guesser(), tasks(), supervise(), Informative(8), request(step=3, samples=2), turns=live)
    away = {entry.trajectory_id for entry in gathered.turned_away}
    kept = {t.trajectory_id for g in gathered.groups for t in g.trajectories}
    keys = [g.key for g in gathered.groups]
    assert keys and keys[1::2] == [f"{key}@second" for key in keys[::2]]
    assert away and not away & kept
    assert {name.partition("@")[0] for name in away} == {name for name in away if "@" not in name}
    assert sorted(away | kept) == sorted(gathered.asked)


def test_a_policy_that_cannot_be_spoken_to_again_is_refused():
    with pytest.raises(CannotConverse, match="protocol=single_turn"):
        played(BigramPolicy())


def chatml(told, opened):
    text = "".join(f"<s>{m['role']}\n{m['content']}<e>\n" for m in told)
    return text + ("<s>assistant\n" if opened else "")


def test_a_templates_difference_is_what_follows_an_answer():
    message = {"role": "user", "content": "no, again"}
    assert followup_text(chatml, message, "M") == "<e>\n<s>user\nno, again<e>\n<s>assistant\n"
    # the end that the policy wrote itself is not written twice; one that it did not reach is
    assert without_written_end((9, 5, 6), (4, 9), (9,)) == (5, 6)
    assert without_written_end((9, 5, 6), (4, 4), (9,)) == (9, 5, 6)
    assert without_written_end((9, 5, 6), (4, 8), (8, 9)) == (9, 5, 6)


def test_templates_that_rewrite_or_refuse_are_refused_with_a_sentence():
    def thinking(told, opened):
        last = max(i for i, m in enumerate(told) if m["role"] == "user")
        shown = [
            m | {"content": "<think></think>" + m["content"]} if m["role"] == "assistant" and i < last else m
            for i, m in enumerate(told)
        ]
        return chatml(shown, opened)

    def strict(told, opened):
        if any(m["role"] == "system" for m in told[1:]):
            raise ValueError("System message must be at the beginning")
        return chatml(told, opened)

    with pytest.raises(NotAppendOnly, match="rewrites an answer"):
        followup_text(thinking, {"role": "user", "content": "x"}, "M")
    with pytest.raises(NotAppendOnly, match="takes no system message"):
        followup_text(strict, {"role": "system", "content": "x"}, "M")
