"""What is said of chat templates before training: each fault by a template that has it, and silence for sound ones."""

import pytest

from critica.policies.followup import NotAppendOnly
from critica.policies.language_model import LanguagePolicy
from critica.policies.template_check import UnfitTemplate, check_template
from critica.records.words import Message
from policies.policies_fixtures import small_tokenizer, tiny_model

SOUND = (
    "{% for m in messages %}<|{{ 'assistant' if m['role'] == 'assistant' else 'user' }}|>"
    "{{ m['content'] }}{% if m['role'] == 'assistant' %}<eos>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ENDLESS = SOUND.replace("<eos>", "<pad>")
UNOPENED = SOUND.replace("{% if add_generation_prompt %}<|assistant|>{% endif %}", "")
DEAF = SOUND.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + SOUND
SHORT = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and not loop.last %}"
    "<|assistant|>{{ m['content'] | upper }}<eos>"
    "{% else %}<|user|>{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FORGETS = SOUND.replace(
    "{{ m['content'] }}",
    "{{ (m['content'].split('</think>') | last).lstrip('\\n') if not loop.last else m['content'] }}",
)
BARE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


def policy_of(template: str | None, system: str = "") -> LanguagePolicy:
    policy = LanguagePolicy(tiny_model("qwen3", vocab_size=290), small_tokenizer(template))
    policy.system = system
    return policy


@pytest.mark.parametrize("template", (SOUND, None))
@pytest.mark.parametrize("system", ("", "what is the sum"))
def test_nothing_is_said_of_a_sound_template(template: str | None, system: str) -> None:
    assert check_template(policy_of(template, system), True, ("</answer>",)) == ()


def test_an_end_of_turn_that_ends_no_answer_is_named() -> None:
    (said,) = check_template(policy_of(ENDLESS), False)
    assert "'<pad>'" in said and "eos_token_id" in said


def test_an_answer_that_is_not_opened_is_said() -> None:
    (said,) = check_template(policy_of(UNOPENED), False)
    assert "add_generation_prompt" in said


def test_a_template_that_rewrites_is_refused_for_several_turns_alone() -> None:
    assert check_template(policy_of(SHORT), False) == ()
    with pytest.raises(NotAppendOnly, match="single_turn"):
        check_template(policy_of(SHORT), True)


def test_thinking_that_is_forgotten_is_said_for_several_turns_alone() -> None:
    assert check_template(policy_of(FORGETS), False) == ()
    (said,) = check_template(policy_of(FORGETS), True)
    assert "<think>" in said and "earlier" in said


def test_tokens_that_merge_across_borders_are_said() -> None:
    """The blank before an answer is a token of its own where the prompt ends with it, else part of a word's."""
    policy = policy_of(BARE)
    whole = policy.encode_text("question answer")
    assert whole != (*policy.encode_text("question "), *policy.encode_text("answer"))
    assert any("read whole" in said for said in check_template(policy, True))


@pytest.mark.parametrize("template", (STRICT, DEAF))
def test_a_system_prompt_that_is_not_taken_is_refused(template: str) -> None:
    assert check_template(policy_of(template), False) == ()
    with pytest.raises(UnfitTemplate, match=r"policy\.system"):
        check_template(policy_of(template, "be brief"), False)


def test_stop_strings_that_are_special_tokens_are_refused() -> None:
    with pytest.raises(UnfitTemplate, match="ends an answer anyway"):
        check_template(policy_of(None), False, ("<eos>",))
    with pytest.raises(UnfitTemplate, match="eos_token_id"):
        check_template(policy_of(SOUND), False, ("<|user|>",))


def test_the_system_prompt_stands_first_unless_the_task_brings_one() -> None:
    policy = policy_of(SOUND, "what is")
    asked = Message("user", "the sum")
    wanted = policy.tokenizer("<|user|>what is<|user|>the sum<|assistant|>", add_special_tokens=False)["input_ids"]
    assert policy.encode([asked]) == tuple(wanted)
    own = policy.tokenizer("<|user|>three<|user|>the sum<|assistant|>", add_special_tokens=False)["input_ids"]
    assert policy.encode([Message("system", "three"), asked]) == tuple(own)
    bare = policy_of(None, "what is")
    assert bare.decode_text(bare.encode([asked])) == "what is\nthe sum"
