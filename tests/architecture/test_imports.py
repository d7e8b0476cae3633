"""The rooms import one way, and nothing heavy happens at import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "critica"

# Left to right: a room may import what stands in an earlier tier, and its siblings' base.py.
TIERS = (
    ("records",),
    ("functional",),
    ("policies", "environments", "advantages", "objectives", "updaters"),
    ("rewards", "critics", "curricula"),
    ("rollout",),
    ("evaluation", "store"),
    ("recipes",),
    ("training",),
    ("benches",),
    ("viewer",),
    ("cli",),  # after the viewer, whose page a verb writes
)
TIER = {room: number for number, rooms in enumerate(TIERS) for room in rooms}
VIEWER_SEES = ("records", "store", "viewer")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import in the file, those inside functions and type-checking blocks included."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            module = node.module or ""
            yield node.lineno, module
            if module == "critica":
                yield from ((node.lineno, f"critica.{alias.name}") for alias in node.names)


def verdict(room: str, module: str) -> str:
    """Why a file of this room may not import this module; empty if it may."""
    parts = module.split(".")
    if parts[0] != "critica" or len(parts) < 2 or parts[1] not in TIER or parts[1] == room:
        return ""
    other = parts[1]
    if room == "viewer" and other not in VIEWER_SEES:
        return "the viewer sees only the store and the records"
    if TIER[other] > TIER[room]:
        return f"{other} stands to the right of {room}"
    if TIER[other] == TIER[room] and parts[2:3] != ["base"]:
        return f"{other} is a sibling of {room}: only its base.py may be seen"
    return ""


def files() -> list[Path]:
    return sorted(path for room in TIER for path in (SOURCE / room).rglob("*.py"))


def test_every_folder_is_a_known_room() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "assets")}
    assert rooms == set(TIER)
    loose = {path.name for path in SOURCE.glob("*.py")}
    assert loose <= {"__init__.py", "__main__.py"}, f"files outside every room: {loose}"


def test_imports_point_one_way() -> None:
    wrong = []
    for path in files():
        room = path.relative_to(SOURCE).parts[0]
        for line, module in imports_of(path):
            why = verdict(room, module)
            if why:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {module}: {why}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("room", "module", "allowed"),
    [
        ("records", "critica.functional.gae", False),
        ("functional", "critica.records.arrays", True),
        ("critics", "critica.policies.decoder", True),
        ("critics", "critica.rewards.noise", False),
        ("critics", "critica.rewards.base", True),
        ("rewards", "critica.rollout.place", False),
        ("viewer", "critica.store.run_folder", True),
        ("viewer", "critica.training.loop", False),
        ("viewer", "critica.functional.gae", False),
        ("cli", "critica.viewer.base", True),
        ("training", "torch", True),
    ],
)
def test_the_rule_itself(room: str, module: str, allowed: bool) -> None:
    assert (verdict(room, module) == "") is allowed


def loaded_by(statement: str) -> set[str]:
    """Top-level and critica modules that a fresh interpreter holds after the statement."""
    code = f"import sys\n{statement}\nprint(chr(10).join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


HEAVY = {"transformers", "tokenizers", "peft", "pyarrow", "plotly", "reasoning_gym", "pydantic", "math_verify", "rich"}


def test_import_critica_loads_nothing_heavy() -> None:
    loaded = loaded_by("import critica")
    assert not loaded & HEAVY
    ours = {name for name in loaded if name.startswith("critica.")}
    assert len(ours) < 60, f"import critica pulls {len(ours)} of its own modules in"


def test_help_needs_no_torch() -> None:
    loaded = loaded_by("from critica.cli.main import overview, parse\noverview()\ntry: parse('train', ['--help'])\n"
                       "except SystemExit: pass")  # fmt: skip
    assert not loaded & (HEAVY | {"torch", "numpy"}) - {"rich"}


def test_reward_workers_need_no_torch() -> None:
    """Worker processes import their own room; torch in each would cost a second and hundreds of MiB."""
    workers = [path for path in (SOURCE / "rewards").glob("*.py") if path.stem in ("__init__", "wire", "nursery")]
    loaded = loaded_by("\n".join(f"import critica.rewards.{path.stem}" for path in workers if path.stem != "__init__"))
    assert not loaded & (HEAVY | {"torch"})
