"""A JSON schema as a verifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critica.rewards.verifiers import Verifier


@dataclass(frozen=True)
class JsonSchema(Verifier):
    """Right if the first JSON object of the text fits the schema in `path`, or else the task's `info["schema"]`.

    Needs the extra `schema` (jsonschema). The schema's patterns run in a worker with a deadline.
    """

    path: str = ""

    def __post_init__(self) -> None:
        if not self.path.isprintable():
            raise ValueError(f"JsonSchema.path {self.path[:40]!r} is no path that a config file can hold")
        if self.path:
            object.__setattr__(self, "path", str(Path(self.path).absolute()))  # a run resumes from any folder

    def settings(self) -> Mapping[str, Any]:
        """See `json_schema_check.json_schema`."""
        return {"kind": "json_schema", "path": self.path}
