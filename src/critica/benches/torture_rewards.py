"""Rewards for the torture bench: one settled by the text, one that nobody can repeat. Imports no torch."""

import os
import time
import zlib

HANG_SECONDS = 3600.0


def parity(task: object, completion: str) -> float:
    """1 or 0 by a checksum of the text: varies within a group, the same in every process."""
    return float(zlib.crc32(completion.encode()) & 1)


def coin(task: object, completion: str) -> float | None:
    """Heads or tails by the kernel's dice; sometimes it raises, says nothing, or never returns."""
    die = os.urandom(2)
    if die[0] < 8:  # 3%
        raise RuntimeError(f"the line was cut ({os.urandom(4).hex()})")
    if die[0] < 13:  # 2%
        return None
    if die[0] == 13 and die[1] < 64:  # 0.1%: each costs a call's whole deadline
        time.sleep(HANG_SECONDS)
    return float(die[1] & 1)
