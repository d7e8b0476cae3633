"""Constraints in English: what they count, what cannot be read, and prompts that a text can satisfy."""

import pytest

from critica.environments.constrained import Constrained
from critica.environments.constraint_bounds import Bounds, in_digits, read_bounds
from critica.environments.constraint_rules import read_rule
from critica.environments.constraint_text import attributes, json_depth, paragraphs, sentences, tables, words

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("at least five words", 5, None), ("must not exceed 3", 0, 3), ("between 50 and 100 words", 50, 100),
    ("3-5 words", 3, 5),
     ("no more than twenty words", 0, 20), ("more than 2 words", 3, None), ("fewer than 4 words", 0, 3),
     ("exactly 2 words", 2, 2), ("7 words", 7, 7), ("at least 2 and at most 4 words", 2, 4),
     ("row limit of 10", 0, 10)],
)  # fmt: skip
def test_bounds(text: str, low: int, high: int | None) -> None:
    assert read_bounds(in_digits(text), "words?") == Bounds(low, high)


@pytest.mark.parametrize(
    "text", ["some words", "9 to 4 words", "2 words for 3 people", "at least 5 and at most 3 words"]
)
def test_bounds_that_are_none(text: str) -> None:
    assert read_bounds(in_digits(text), "words?") is None


def test_counts() -> None:
    assert len(words("One, two - three 你好")) == 5 and sentences("A. B! C is 3.5 wide? D") == 4
    assert sentences("你好。再见！") == 2 and paragraphs("a\nb\n\nc\n \n\nd") == 3
    assert tables(f"x\n{TABLE}\ny\n{TABLE}") == [(2, 2), (2, 2)] and tables("a | b") == []
    assert json_depth('x {"a": {"b": [{"c": 1}]}}') == 3 and json_depth("{a}") is None
    assert attributes("<a x='1' y=\"2\"><b/></a>") == [2, 0] and attributes("1 < 2") is None


@pytest.mark.parametrize(
    ("category", "sub", "text", "right", "wrong"),
    [
        ("Language", "English", "The answer must use capitalized letters for each word",
        "The Sea, It's Wide 3 Times", "The sea"),
        ("Language", "English", "The answer must be in all uppercase letters.", "ALL 3", "All"),
        ("Language", "Chinese", "The answer must be in Simplified Chinese", "这是海", "這是海"),
        ("Language", "Chinese", "Must use Traditional Chinese characters", "這是海", "这是海"),
        ("Format", "Markdown", "The answer must include a level 2 heading", "## Sea\nx", "# Sea\n### x"),
        ("Markdown", "Heading levels", "Use at least two heading levels", "# a\n## b", "# a\n# b"),
        ("Format", "Json", "Object nesting levels must not exceed 2", '{"a": {"b": 1}}', '{"a": {"b": {"c": 1}}}'),
        ("XML", "Number of attributes", "Each XML element must have no more than one attribute", "<a x='1'/>",
        "<a x='1' y='2'/>"),
        ("Format", "XML", "Number of attributes must be exactly 2", "<a x='1'/><b y='1'/>", "<a x='1'/>"),
        ("Table", "Row limit", "The table must have no more than two rows", TABLE, TABLE + "\n| 5 | 6 |"),
        ("Format", "Table", "If a table is used, it must not exceed 1 rows", "none", TABLE),
        ("Format", "Table", "The table must have exactly 2 columns", TABLE, "no table"),
        ("Length", "Words", "Range: 2-3 words", "one two", "one two three four"),
        ("Length", "Sentences", "At least: 2 sentences", "A b. C d.", "A b, c d."),
        ("Length", "Paragraphs", "The answer must contain exactly 2 paragraphs", "a\n\nb", "a\nb"),
        ("Content", "Keywords: Must include", "Must include the keyword 'deep sea'", "the Deep Sea", "the sea deep"),
        ("Content", "Keywords", "Must not include the keyword 'sea'", "the river", "the Sea"),
        ("Content", "Keywords", "Include the keyword 'a' at least 2 times", "a a", "a"),
        ("Content", "Identifiers", "The answer must start with 'So:'", " So: yes", "Yes. So: no"),
        ("Content", "Identifiers", "End identifier: must end with 'END'", "x END", "END x"),
        ("Content", "Punctuation", "Ending punctuation must be a period", "Yes.", "Yes. No"),
        ("Content", "Punctuation", "The answer must end with a question mark", "Why?", "Why."),
    ],
)  # fmt: skip
def test_rules(category: str, sub: str, text: str, right: str, wrong: str) -> None:
    rule = read_rule(category, sub, text)
    assert rule is not None and rule(right) and not rule(wrong)


@pytest.mark.parametrize(
    ("category", "sub", "text"),
    [
        ("Content", "Identifiers", "Each example must start with the word 'Example:'"),
        ("Content", "Keywords", "Must include the keyword 'to' as part of the infinitive."),
        ("Language", "English", "The examples must be capitalized."),
        ("Table", "Row limit", "The list of contents should not exceed five rows"),
        ("Format", "Markdown", "Include headings for each subject"),
        ("Style", "Tone", "Be kind"), ("Length", "Words", "Be brief"), ("Content", "Keywords", "Mention the sea"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_no_rule(category: str, sub: str, text: str) -> None:
    assert read_rule(category, sub, text) is None


def test_prompts_state_constraints_that_can_all_be_met() -> None:
    environment = Constrained(least=7, most=7).build(3)
    for index in range(100):
        task = environment.candidate(index)
        rules = [text for _, _, text in task.info["constraints"]]
        assert all(f"{number}. {text}" in task.prompt for number, text in enumerate(rules, 1)) and len(rules) == 7
        keyword, start = rules[3].split("'")[1], rules[5].split("'")[1]
        best = f"{start} {keyword}{'.' if 'period' in rules[4] else '?'}"
        assert environment.score(task, best) == 1.0
        assert environment.score(task, "Nothing of it") == pytest.approx(3 / 7)
    assert environment.candidate(5) == Constrained(least=7, most=7).build(3).candidate(5) != environment.candidate(6)
