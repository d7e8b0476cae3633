"""The speed bench's plan: who meets whom, on which policy, and what was promised about the outcome."""

import sys
from dataclasses import dataclass
from pathlib import Path

from critica.benches.contest import Contender, Match
from critica.benches.policies import TASKS
from critica.benches.ratios import Promise, Quantity, Rule

PEERS = Path(__file__).parent / "peers"
PROMPTS, GROUP, NEW_TOKENS = 16, 8, 64
COLUMNS = ("default", "fast")
DECODE_FLOOR = {"1m": 2.3, "5m": 2.2}
GRPO_FLOOR = {"1m": 2.0, "5m": 2.5}
PPO_FLOOR, MEMORY_CEILING, DVPO_CEILING, SHARED_CEILING = 2.5, 1.1, 1.15, 1.3
SCALING_PROMPTS = (2, 4, 8, 16, 32, 64, 128)  # times 8 samples of 64 tokens: 1k to 64k tokens a step
SCALING_CEILING = 0.15

GRPO = ("--recipe", "grpo", "--set", "objective.penalties=[]")
PPO = ("--recipe", "ppo", "--set", "critic.body=own")
PPO_WITH_REFERENCE = (*PPO, "--set", "placement.reference_kl=0.05")  # TRL's PPO always reads a reference
PPO_SHARED = ("--recipe", "ppo", "--set", "critic.body=shared")
DVPO = ("--recipe", "dvpo", "--set", "critic.body=own")


@dataclass(frozen=True, slots=True)
class Field:
    """What every match of one policy size shares. A peer's interpreter is None when it is not there."""

    size: str
    policy: Path
    threads: int
    grpo_peer: Path | None
    ppo_peer: Path | None
    generate_peer: bool

    def ours(self, name: str, module: str, *words: str, natural: bool, prompts: int = PROMPTS) -> Contender:
        """A contender that is Critica itself."""
        command = (sys.executable, "-m", f"critica.benches.{module}", *self._shared(natural, prompts), *words)
        return Contender(name, command, self._units(natural, prompts))

    def peer(self, name: str, python: Path | str, script: str, *words: str, natural: bool) -> Contender:
        """A contender that is a script under peers/."""
        command = (str(python), str(PEERS / script), *self._shared(natural, PROMPTS), *words)
        return Contender(name, command, self._units(natural, PROMPTS))

    def _shared(self, natural: bool, prompts: int) -> tuple[str, ...]:
        words = ("--policy", str(self.policy), "--tasks", str(self.policy / TASKS), "--prompts", str(prompts))
        more = ("--group", str(GROUP), "--max-new", str(NEW_TOKENS), "--threads", str(self.threads))
        return (*words, *more, *(("--natural",) if natural else ()))

    def _units(self, natural: bool, prompts: int) -> int:
        """Units that together last about a second, so that the clock of neighbors has something to count."""
        if prompts != PROMPTS:
            return max(1, min(4, PROMPTS // prompts))
        return {("1m", False): 2, ("1m", True): 4, ("5m", False): 1, ("5m", True): 2}.get((self.size, natural), 1)


def length_name(natural: bool) -> str:
    """How long answers are."""
    return "natural" if natural else "forced"


def matches_of(field: Field) -> list[Match]:
    """Every match of one size, the shortest first."""
    found = []
    for natural in (False, True):
        found.append(decode_match(field, natural))
    for natural in (False, True):
        found += [grpo_match(field, natural), ppo_match(field, natural)]
    found.append(family_match(field))
    if field.size == "1m":
        found.append(scaling_match(field))
    return found


def decode_match(field: Field, natural: bool) -> Match:
    """The decoder against transformers' `generate`."""
    contenders = [field.ours("critica", "decode_contender", natural=natural)]
    if field.generate_peer:
        script = (sys.executable, "hf_generate.py")
        contenders.append(field.peer("hf-default", *script, natural=natural))
        contenders.append(field.peer("hf-fast", *script, "--fast", natural=natural))
    return Match(f"decode-{field.size}-{length_name(natural)}", tuple(contenders))


def grpo_match(field: Field, natural: bool) -> Match:
    """A whole GRPO step against TRL's."""
    contenders = [field.ours("critica", "step_contender", *GRPO, natural=natural)]
    if field.grpo_peer:
        script = (field.grpo_peer, "trl_grpo.py")
        contenders.append(field.peer("trl-default", *script, natural=natural))
        contenders.append(field.peer("trl-fast", *script, "--fast", natural=natural))
        if not natural:
            contenders.append(field.peer("trl-checkpointing", *script, "--checkpointing", natural=natural))
    return Match(f"grpo-{field.size}-{length_name(natural)}", tuple(contenders))


def ppo_match(field: Field, natural: bool) -> Match:
    """A whole PPO step with a full-size separate critic against TRL's."""
    contenders = [
        field.ours("critica", "step_contender", *PPO_WITH_REFERENCE, natural=natural),
        field.ours("critica-recipe", "step_contender", *PPO, natural=natural),
    ]
    if field.ppo_peer:
        script = (field.ppo_peer, "trl_ppo.py")
        contenders.append(field.peer("trl-default", *script, natural=natural))
        contenders.append(field.peer("trl-fast", *script, "--fast", natural=natural))
    return Match(f"ppo-{field.size}-{length_name(natural)}", tuple(contenders))


def family_match(field: Field) -> Match:
    """Critica's recipes among themselves."""
    entries = (("grpo", GRPO), ("ppo-shared", PPO_SHARED), ("ppo", PPO), ("dvpo", DVPO))
    made = [field.ours(name, "step_contender", *words, natural=False) for name, words in entries]
    return Match(f"family-{field.size}-forced", tuple(made))


def scaling_match(field: Field) -> Match:
    """GRPO steps of 1k to 64k sampled tokens."""
    made = [
        field.ours(f"{tokens_per_step(n)}", "step_contender", *GRPO, natural=False, prompts=n) for n in SCALING_PROMPTS
    ]
    return Match(f"scaling-{field.size}-forced", tuple(made))


def tokens_per_step(prompts: int) -> int:
    """Sampled tokens of a step whose answers all have full length."""
    return prompts * GROUP * NEW_TOKENS


def promises_of(size: str) -> list[Promise]:
    """Every ratio that is reported for one size, with its bound if it has one."""
    found: list[Promise] = []
    for length in ("forced", "natural"):
        for column in COLUMNS:
            rule: Rule = "at least" if column == "default" else "informative"
            title = f"decoding, {length} length: tokens/s over HF generate ({column})"
            found.append(
                Promise(title, f"decode-{size}-{length}", "critica", f"hf-{column}", "tokens_per_second", rule,
                        DECODE_FLOOR[size])
            )  # fmt: skip
    for kind, floor in (("grpo", GRPO_FLOOR[size]), ("ppo", PPO_FLOOR)):
        for length in ("forced", "natural"):
            match = f"{kind}-{size}-{length}"
            for column in COLUMNS:
                rule = "at least" if column == "default" else "informative"
                title = f"{kind.upper()} step, {length} length: TRL's time ({column}) over ours"
                found.append(Promise(title, match, f"trl-{column}", "critica", "seconds", rule, floor))
            for column in COLUMNS:
                found.append(_memory(kind, length, match, column, "at most"))
        if kind == "grpo":
            match, title = f"grpo-{size}-forced", "GRPO step, forced length: TRL's time (checkpointing) over ours"
            found.append(Promise(title, match, "trl-checkpointing", "critica", "seconds", "informative"))
            found.append(_memory(kind, "forced", match, "checkpointing", "informative"))
        else:
            match, title = f"ppo-{size}-forced", "PPO step without reference, forced length: TRL's time over ours"
            found.append(Promise(title, match, "trl-default", "critica-recipe", "seconds", "informative"))
    family = f"family-{size}-forced"
    timed: Quantity = "seconds"
    found.append(Promise("DVPO step over PPO step", family, "dvpo", "ppo", timed, "at most", DVPO_CEILING))
    title = "PPO step with a shared trunk over GRPO step"
    found.append(Promise(title, family, "ppo-shared", "grpo", timed, "at most", SHARED_CEILING))
    return found


def _memory(kind: str, length: str, match: str, column: str, rule: Rule) -> Promise:
    title = f"{kind.upper()} step, {length} length: our peak memory over TRL's ({column})"
    return Promise(title, match, "critica", f"trl-{column}", "peak_mib", rule, MEMORY_CEILING)
