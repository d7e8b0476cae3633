"""What goes wrong in parsers, as seeded generators: texts, values, and mutations of whatever is valid."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INPUTS = 10_000
TEXTS = (
    "", " ", "none", "None", "null", "true", "TRUE", "nan", "-nan", "inf", "-inf", "1e999", "-1e-999", "1e999999999",
    "0x10", "1_000", "0_1", "1,000", "1,2", "٣", "１２", "²", "½", "−5", "–5", "\u200f5", "5\u200f", "\u202e21", "\x00",
    "a\x00b", "\ufeff", "\ud800", "\udcff", "\u2028", "\x85", "\x1c", "\r", "\n", "a\nb", "😀", "ß", "K", "'", '"',
    '""', '"""', "\\", "\\u0041", "=", "==", "a=b", "{", "}", "{}", "[", "]", "[]", "[[", "#", "# x", ".", "..", "/",
    "//", "~", ":", "::", ";", ",", ",,", "*", "%", "%s", "{0}", "$HOME", "<answer>", "</answer>", "<|im_end|>",
    "<eos>", "use", "__class__", "__init__", "self", "0", "-0", "-0.0", "1", "-1", "007", "3.0", "1.5", ".5", "5.",
    "1e5", "1E-5", "2024-01-01", "10:00", "flip", "pico", "rg:", "9" * 400, "9" * 5000, "[" * 2000,
    "[" * 2000 + "]" * 2000, "{a=" * 1000, "(" * 1500, "a" * 5000, "=" * 3000, "\\" * 999, "x" * 300 + ".py:X",
    "\x00.py:X", "no.py:X", "no.jsonl", "\x00.jsonl", "a" * 300 + ".parquet", "/dev/null", "/", "..toml",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**64), 10**400, 0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, float("inf"),
    float("-inf"), float("nan"), [], [[]], [1], [0.5, "a"], [None], {}, {"use": ""}, {"use": 3}, {"use": "gae"},
    {"use": "none"}, {"": ""}, {"a": 1}, {"use": "no.py:X"}, [{}], [{"use": "dataset"}], [[[[[]]]]],
)  # fmt: skip


class Hung(AssertionError):
    """A call did not come back in time."""


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise `Hung` in whatever still runs after so many seconds; a call that never comes back fails its test."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hung(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def text_like(rng: random.Random, valid: tuple[str, ...]) -> str:
    """A valid text changed in one to three places, or a nasty one, or noise."""
    choice = rng.random()
    if choice < 0.08:
        return rng.choice(TEXTS)
    if choice < 0.13:
        return "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0x500), rng.randrange(0x110000)))) for _ in
                       range(rng.randrange(12)))  # fmt: skip
    text = rng.choice(valid)
    for _ in range(rng.randrange(1, 4)):
        text = changed(rng, text)
    return text


def changed(rng: random.Random, text: str) -> str:
    """The text with a piece cut, doubled, swapped, or something nasty put in."""
    at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    to = min(to, at + 8)
    kind = rng.randrange(6)
    if kind == 0:
        return text[:at] + text[to:]
    if kind == 1:
        return text[:to] + text[at:]
    if kind == 2:
        return text[:at] + text[at:to][::-1] + text[to:]
    if kind == 3:
        return text[:at] + rng.choice(TEXTS) + text[to:]
    if kind == 4:
        return text[:at] + rng.choice(TEXTS) + text[at:]
    return text[:at] + chr(rng.randrange(32, 127)) + text[at + 1 :]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """The bytes with a few flipped, cut, or repeated."""
    noisy = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if not noisy:
            break
        at = rng.randrange(len(noisy))
        kind = rng.randrange(4)
        if kind == 0:
            noisy[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            noisy[at] = rng.randrange(256)
        elif kind == 2:
            del noisy[at : at + rng.randrange(1, 9)]
        else:
            noisy[at:at] = noisy[at : at + rng.randrange(1, 9)]
    return bytes(noisy)


def value(rng: random.Random) -> Any:
    """Any value that TOML or JSON could bring."""
    return rng.choice(VALUES) if rng.random() < 0.6 else rng.choice(TEXTS)


def mutated(rng: random.Random, tree: Any) -> Any:
    """A copy of a tree of tables and lists with one place changed: replaced, dropped, renamed, added or nested."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        copy = dict(tree)
        kind = rng.random()
        if kind < 0.55:
            copy[key] = mutated(rng, tree[key])
        elif kind < 0.65:
            del copy[key]
        elif kind < 0.75:
            copy[changed(rng, str(key))] = copy.pop(key)
        elif kind < 0.85:
            copy[rng.choice(TEXTS)] = value(rng)
        else:
            copy[key] = rng.choice(([copy[key]], {"use": copy[key]}, {key: copy[key]}))
        return copy
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        at = rng.randrange(len(tree))
        return [*tree[:at], mutated(rng, tree[at]), *tree[at + rng.randrange(2) :]]
    if isinstance(tree, str) and rng.random() < 0.4:
        return changed(rng, tree)
    return value(rng)
