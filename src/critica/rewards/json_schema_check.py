"""Whether the first JSON object of a response fits a schema. Needs the extra `schema`. Imports no torch."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from critica.environments.json_find import find_object
from critica.rewards.judges import Check
from critica.rewards.math_library import MissingLibrary
from critica.rewards.wire import TaskView


def json_schema(path: str) -> Check:
    """1 if the object fits the schema of the file, or else of `info["schema"]`; 0 if not, or if none is there.

    A schema that is none raises. References to other documents are refused: nothing is fetched.
    """
    try:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
    except ImportError as error:
        raise MissingLibrary("the reward `json_schema` needs jsonschema: pip install 'critica[schema]'") from error

    @lru_cache(maxsize=512)
    def validator_of(written: str) -> Any:
        schema: Any = json.loads(written)
        if not isinstance(schema, dict | bool):
            raise ValueError(f"a JSON schema is an object, not {written[:40]!r}")
        kind = validator_for(schema)
        try:
            kind.check_schema(cast(Any, schema))
        except SchemaError as error:
            raise ValueError(f"the schema is none: {error.message} at {error.json_path}") from error
        return kind(schema, registry=Registry())

    fixed = Path(path).read_text() if path else ""
    if fixed:
        validator_of(fixed)

    def check(task: TaskView, text: str) -> float:
        if not fixed and "schema" not in task.info:
            raise ValueError("the task's info has no `schema`: add it, or name a file (json_schema:FILE)")
        given = task.info.get("schema", "")
        validator = validator_of(fixed or (given if isinstance(given, str) else json.dumps(given)))
        found = find_object(text)
        return float(found is not None and validator.is_valid(found))

    return check
