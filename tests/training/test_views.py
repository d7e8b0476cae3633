"""A view reads what it says: against the model itself, row by row, without padding, packing or shared prefixes."""

from dataclasses import replace

import pytest
import torch

from arrays import told_batch
from critica.advantages.contrast import Contrast
from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.advantages.worst_prompts import WorstPrompts
from critica.critics.counted import NoBaselineCritic
from critica.functional.view_logprobs import view_logprobs
from critica.objectives.gold_actions import GoldActions, ReachedAnchors
from critica.policies.language_model import LanguagePolicy
from critica.records.checks import RecordError
from critica.records.evidence import ProximalLogprobs, View, Views
from critica.records.views import AnotherContext, AnotherLayer, UnreadableView, filled
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.tokenize import tokenize
from critica.training.observe import Observer, refuse_twins
from critica.training.plan import plan
from critica.training.rereading import refuse_unreadable, reread

HINT = "Think of {answer} and {info.color}"


@pytest.fixture(scope="module")
def policy(tiny_folder):
    return LanguagePolicy.load(str(tiny_folder))


def told(policy, text):
    return ContextTurn(Message("user", text), policy.encode_followup(Message("user", text), ()))


def wrote(policy, text, temperature=1.0):
    ids = policy.encode_text(text)
    return SampledTurn(Message("assistant", text), ids, (-1.0,) * len(ids), temperature, 0)


def group_of(policy, number, prompt, rows, answer="7", **info):
    """One group: each row is a list of turns after the prompt."""
    task = Task(f"task{number}", "none", (Message("user", prompt),), answer, {"color": "red", **info})
    opening = ContextTurn(task.messages[-1], policy.encode(task.messages))
    made = tuple(
        Trajectory(f"{number}/{i}", f"{number}/{i}", task.task_id, f"g{number}", "policy", (opening, *turns),
                   StopReason.END_OF_TEXT)
        for i, turns in enumerate(rows)
    )  # fmt: skip
    return Group(f"g{number}", task, made)


@pytest.fixture(scope="module")
def groups(policy):
    """Ragged prompts and answers, siblings, several turns, two temperatures."""
    first = [[wrote(policy, "12")], [wrote(policy, "3456", 0.7)], [wrote(policy, "1")]]
    second = [
        [wrote(policy, "ab"), told(policy, "no"), wrote(policy, "cde", 0.5)],
        [wrote(policy, "zz"), told(policy, "not this"), wrote(policy, "y"), told(policy, "yes?"), wrote(policy, "x")],
    ]
    return (group_of(policy, 0, "2 and 5: ", first), group_of(policy, 1, "a much longer question: ", second, "q"))


def by_hand(policy, batch, prefix_of):
    """The log-probs of the sampled tokens of each row after `prefix_of(row)` instead of its own prompt."""
    found = torch.zeros(batch.token_ids.shape)
    for n in range(batch.rows):
        length, own = int(batch.lengths[n]), int(batch.prefix_length[n])
        rest = batch.token_ids[n, own:length].tolist()
        prefix = list(prefix_of(n))
        with torch.no_grad():
            logits = policy.model(torch.tensor([prefix + rest])).logits[0]
        for i in range(len(rest)):
            if batch.sampled_mask[n, own + i]:
                law = torch.log_softmax(logits[len(prefix) + i - 1] / batch.temperature[n, own + i], -1)
                found[n, own + i] = law[rest[i]]
    return found


@pytest.mark.parametrize("tokens", [8, 60, 100_000])
@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        (AnotherContext("v", HINT), "{}\nThink of {} and red"),
        (AnotherContext("v", "Say {answer}", empty=True), "Say {1}"),
        (AnotherContext("v"), "{}"),
    ],
)
def test_another_context_is_read_as_the_model_reads_it(policy, groups, spec, hint, tokens):
    batch = tokenize(groups)
    evidence = Observer(policy, frozenset({Views}), tokens, views=(spec,)).observe(groups, batch)
    view = evidence[Views]["v"]
    tasks = [group.task for group in groups for _ in group.trajectories]

    def prefix(n):
        return policy.encode((Message("user", hint.format(tasks[n].prompt, tasks[n].answer)),))

    found = view_logprobs(view, batch)
    assert torch.equal(view.covers, batch.sampled_mask)
    torch.testing.assert_close(found, by_hand(policy, batch, prefix), atol=2e-5, rtol=0)
    own = by_hand(policy, batch, lambda n: policy.encode(tasks[n].messages))
    far = (found - own).abs()[batch.sampled_mask].max()
    assert far < 2e-5 if hint == "{}" else far > 1e-3


def test_a_view_without_other_words_is_the_policy(policy, groups):
    batch = tokenize(groups)
    spec = AnotherContext("same")
    evidence = Observer(policy, frozenset({Views, ProximalLogprobs}), 10_000, views=(spec,)).observe(groups, batch)
    found = view_logprobs(evidence[Views]["same"], batch)
    torch.testing.assert_close(found, evidence[ProximalLogprobs].logprobs, atol=1e-5, rtol=0)


def test_the_last_layer_is_the_policy_and_an_earlier_one_is_the_models_own(policy, groups):
    batch = tokenize(groups)
    specs = (AnotherLayer("last", 1.0), AnotherLayer("first", 0.5), AnotherLayer("least", 0.01))
    evidence = Observer(policy, frozenset({Views, ProximalLogprobs}), 40, views=specs).observe(groups, batch)
    views = evidence[Views]
    torch.testing.assert_close(
        view_logprobs(views["last"], batch), evidence[ProximalLogprobs].logprobs, atol=1e-5, rtol=0
    )
    assert torch.equal(views["first"].states, views["least"].states)  # at least the first of two layers
    for n in range(batch.rows):
        with torch.no_grad():
            hidden = policy.model(batch.token_ids[n : n + 1, : batch.lengths[n]], output_hidden_states=True)
            states = policy.model.model.norm(hidden.hidden_states[1])[0]
        row = torch.zeros_like(batch.sampled_mask)
        row[n] = batch.sampled_mask[n]
        places = batch.sampled_mask[n].nonzero().squeeze(-1) - 1
        torch.testing.assert_close(views["first"].at(row), states[places], atol=2e-5, rtol=0)


def test_nothing_of_a_view_carries_a_gradient(policy, groups):
    batch = tokenize(groups)
    evidence = Observer(
        policy, frozenset({Views}), 10_000, views=(AnotherContext("a", HINT), AnotherLayer("b", 0.5))
    ).observe(groups, batch)
    for name in ("a", "b"):
        view = evidence[Views][name]
        assert not view.states.requires_grad and not view.logits(batch.sampled_mask).requires_grad
        assert not view_logprobs(view, batch).requires_grad
    with pytest.raises(RecordError, match="carry a gradient"):
        View("x", torch.ones(1, 2, requires_grad=True), torch.tensor([[True]]), lambda at: at)


def test_a_view_costs_one_forward_and_no_second_model(policy, groups, monkeypatch):
    batch = tokenize(groups)
    calls = []
    for name in ("sampled_states", "layer_states", "sampled_and_final_states", "frozen_copy"):
        whole = getattr(LanguagePolicy, name)

        def counted(self, *given, _name=name, _whole=whole):
            calls.append(_name)
            return _whole(self, *given)

        monkeypatch.setattr(LanguagePolicy, name, counted)
    Observer(policy, frozenset({Views}), 10_000, views=(AnotherContext("a", HINT),)).observe(groups, batch)
    assert calls == ["sampled_states"]
    calls.clear()
    Observer(policy, frozenset({Views}), 10_000, views=(AnotherLayer("b", 0.5),)).observe(groups, batch)
    assert calls == ["layer_states"]


def test_selected_rows_keep_their_own_states():
    covers = torch.tensor([[False, True, True], [False, True, False], [False, False, True]])
    view = View("v", torch.arange(8.0).reshape(4, 2), covers, lambda at: at)
    chosen = view.select(torch.tensor([2, 0]), 3)
    assert chosen.at(torch.tensor([[False, False, True], [False, False, False]])).tolist() == [[6.0, 7.0]]
    assert chosen.states.tolist() == [[6.0, 7.0], [0.0, 1.0], [2.0, 3.0]]
    assert view.select(torch.tensor([1, 0]), 2).states.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    with pytest.raises(RecordError, match="does not cover"):
        view.at(torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(RecordError, match="3 states for 4 tokens"):
        View("v", torch.zeros(3, 2), covers, lambda at: at)


def test_two_views_of_one_name_are_refused_and_one_declared_twice_is_not():
    refuse_twins((AnotherContext("a", "x"), AnotherContext("a", "x")))
    with pytest.raises(ValueError, match="different views by the name 'a'"):
        refuse_twins((AnotherContext("a", "x"), AnotherContext("a", "y")))


def test_what_a_task_lacks_or_the_model_cannot_hold_is_refused_before_the_run(policy):
    task = Task("t", "none", (Message("user", "2+2="),), "", {"color": "red"})
    answered = replace(task, answer="4")
    refuse_unreadable((AnotherContext("v", HINT), AnotherLayer("l", 0.5)), (answered,), policy, 8)
    for spec, tasks, said in (
        (AnotherContext("v", HINT), (answered, task), "names {answer}, and task 't' has none"),
        (AnotherContext("v", "{info.shape}"), (answered,), "names {info.shape}"),
        (AnotherContext("v", empty=True), (answered,), "no token in front"),
        (AnotherContext("v", "so " * 100), (answered,), "a row of 313 tokens, and the policy's context holds 256"),
        (GoldActions("v"), (task,), "neither an answer nor info.gold_steps"),
    ):
        with pytest.raises(UnreadableView) as caught:
            refuse_unreadable((spec,), tasks, policy, 8)
        assert said in str(caught.value)


def test_what_becomes_too_long_in_the_run_is_refused_there(policy):
    group = group_of(policy, 0, "x", [[wrote(policy, "1" * 120)]])
    with pytest.raises(UnreadableView, match="makes a row of 3"):
        reread((group,), tokenize((group,)), AnotherContext("v", "y" * 200), policy)


def test_a_row_that_begins_otherwise_is_refused(policy):
    group = group_of(policy, 0, "x", [[wrote(policy, "1")]])
    hinted = replace(
        group.trajectories[0], turns=(ContextTurn(Message("user", "xy"), policy.encode_text("xy")), wrote(policy, "1"))
    )
    with pytest.raises(UnreadableView, match="begins with something else"):
        AnotherContext("v", "z").readings(replace(group, trajectories=(hinted,)), policy)


def test_what_a_task_says_is_not_filled_in_again():
    task = Task("t", "none", (Message("user", "q"),), "{info.color}", {"color": "{answer}"})
    assert filled("{answer} {info.color} {other} {", task) == "{info.color} {answer} {other} {"


def test_depths_are_shares():
    for depth in (0.0, -0.5, 1.5):
        with pytest.raises(ValueError, match="share of the model's layers"):
            AnotherLayer("l", depth)


def steps(*told):
    return [{"reached": list(reached), "action": action} for reached, action in told]


def test_gold_actions_are_told_turn_by_turn_and_only_on_the_way(policy):
    """A row on the way at both turns, one that leaves it, one of a task without steps."""
    way = steps(((), "go a"), (("a",), "go b"))
    rows = [
        [wrote(policy, "go a"), told(policy, "a"), wrote(policy, "go b", 0.5)],
        [wrote(policy, "go z"), told(policy, "z"), wrote(policy, "go b")],
    ]
    groups = (
        group_of(policy, 0, "find b from home: ", rows, gold_steps=way),
        group_of(policy, 1, "say 7: ", [[wrote(policy, "6")]]),
    )
    batch = tokenize(groups)
    view = GoldActions("gold", "Next: {action}", ReachedAnchors(r"\b[a-z]\b"))
    found = Observer(policy, frozenset({Views}), 10_000, views=(view,)).observe(groups, batch)[Views]["gold"]
    covered = batch.sampled_mask & ((torch.arange(3) != 1)[:, None] | (batch.turn_index == 1))
    assert torch.equal(found.covers, covered)
    logprobs = view_logprobs(found, batch)

    def after(prompt, answer, temperature=1.0):
        prefix, ids = list(policy.encode_text(prompt)), list(policy.encode_text(answer))
        with torch.no_grad():
            logits = policy.model(torch.tensor([prefix + ids])).logits[0, len(prefix) - 1 : -1]
        laws = torch.log_softmax(logits / temperature, -1)
        return laws.gather(-1, torch.tensor(ids)[:, None]).squeeze(-1)

    def said(row, turn):
        return logprobs[row][(batch.turn_index[row] == turn) & batch.sampled_mask[row]]

    home = "find b from home: "
    torch.testing.assert_close(said(0, 1), after(f"{home}\nNext: go a", "go a"), atol=2e-5, rtol=0)
    torch.testing.assert_close(said(1, 1), after(f"{home}\nNext: go a", "go z"), atol=2e-5, rtol=0)
    torch.testing.assert_close(said(0, 3), after(f"{home}go a\na\nNext: go b", "go b", 0.5), atol=2e-5, rtol=0)
    assert said(1, 3).abs().sum() == 0
    torch.testing.assert_close(said(2, 1), after("say 7: \nNext: 7", "6"), atol=2e-5, rtol=0)


def test_a_view_of_nothing_is_empty(policy):
    group = group_of(policy, 0, "x", [[wrote(policy, "1")]], gold_steps=steps((("a",), "go")))
    batch = tokenize((group,))
    view = Observer(policy, frozenset({Views}), 100, views=(GoldActions("g"),)).observe((group,), batch)[Views]["g"]
    assert not view.covers.any() and view_logprobs(view, batch).abs().sum() == 0


def test_an_answered_turn_that_is_no_message_of_its_own_is_refused(policy):
    odd = ContextTurn(Message("user", "a"), policy.encode_text("something else"))
    rows = [[wrote(policy, "go a"), odd, wrote(policy, "go b")]]
    group = group_of(policy, 0, "x", rows, gold_steps=steps(((), "go a"), (("a",), "go b")))
    with pytest.raises(UnreadableView, match="no single message of its own"):
        GoldActions("g").readings(group, policy)


def test_a_hint_changes_nothing_that_the_student_reads(policy, groups):
    batch, spec = tokenize(groups), AnotherContext("gold", HINT)
    before = batch.token_ids.clone(), batch.sampled_mask.clone(), batch.prefix_length.clone()
    needs = frozenset({Views, ProximalLogprobs})
    hinted = Observer(policy, needs, 10_000, views=(spec,)).observe(groups, batch)
    plain = Observer(policy, frozenset({ProximalLogprobs}), 10_000).observe(groups, batch)
    assert torch.equal(hinted[ProximalLogprobs].logprobs, plain[ProximalLogprobs].logprobs)
    assert all(map(torch.equal, before, (batch.token_ids, batch.sampled_mask, batch.prefix_length)))


def test_credit_spread_by_the_same_context_is_the_inner_credit_to_the_bit(policy, groups):
    """Two forward passes that are packed differently agree to rounding, and rounding is not ranked."""
    batch, inner = tokenize(groups), Outcome("none")
    told = told_batch(batch, [1.0, 0.0, 1.0, 0.0, 1.0])
    for tokens, name, alike in ((10_000, "", True), (30, "", True), (10_000, HINT, False)):
        rule = Contrast(inner, AnotherContext("v", name))
        evidence = Observer(policy, rule.needs, tokens, views=rule.views).observe(groups, batch)
        values = NoBaselineCritic().predict(batch, told, evidence)
        plain = inner.estimate(batch, told, values, evidence)
        spread = rule.estimate(batch, told, values, evidence)
        assert torch.equal(spread.advantage, plain.advantage) is alike
        assert torch.equal(spread.mask, plain.mask)
        torch.testing.assert_close(spread.advantage.sum(-1), plain.advantage.sum(-1))
        assert rule.reads_own_tokens and not inner.reads_own_tokens and Standardized(rule).reads_own_tokens
        assert Standardized(WorstPrompts(rule)).views == rule.views


def test_the_plan_says_what_views_cost(small):
    rows = 12  # 3 prompts of 4 samples of 6 tokens, width 32
    said = plan(small("gcpo"))
    (note,) = [remark for remark in said.remarks if "'guidance'" in remark]
    assert f"over {rows} rows after other words" in note and "no second copy" in note
    bare = small("gcpo", advantage=Outcome("group"))
    assert said.activations_mib - plan(bare).activations_mib == pytest.approx(4 * rows * 6 * 32 / 2**20)
    assert any("expected gradient is not that of the return" in remark for remark in said.remarks)
    assert not any("view" in remark or "expected gradient" in remark for remark in plan(bare).remarks)
    assert any("inner layers" in remark for remark in plan(small("oisd")).remarks)
