"""The rows of a Parquet file as JSON lines in a nameless temporary file: Parquet rows cannot be read one by one."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from critica.environments.rows import MAX_ROW_BYTES, Place, TaskFileProblem, require_plain, shown

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 64


def spool_parquet(path: Path) -> IO[bytes]:
    """Row i of the file as line i. Raises `TaskFileProblem` for what is no Parquet, and for types JSON lacks."""
    import pyarrow as pa

    spool = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the tasks that are read from it
    try:
        for number, record in enumerate(_records(path), 1):
            place = Place(str(path), "row", number)
            require_plain(record, place)
            line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
            if len(line) >= MAX_ROW_BYTES:
                place.refuse(f"it is longer than {MAX_ROW_BYTES:,} bytes: is it one task?")
            spool.write(line + b"\n")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TaskFileProblem(
            f"{path} is no Parquet file that can be read ({shown(' '.join(str(error).split()))}): write it again, or"
            " write JSON lines (.jsonl)"
        ) from error
    spool.flush()
    spool.seek(0)
    return spool


def _records(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        for field in file.schema_arrow:
            if not _fits_json(field.type):
                raise TaskFileProblem(
                    f"{path}: column {shown(field.name)} is of type {field.type}, which JSON cannot carry: cast it to"
                    " text or numbers, or drop it"
                )
        names = file.schema_arrow.names
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise TaskFileProblem(f"{path} has {names.count(twice[0])} columns named {shown(twice[0])}: keep one")
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            yield from batch.to_pylist()


def _fits_json(kind: "pa.DataType") -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        names = [field.name for field in kind]
        return len(set(names)) == len(names) and all(_fits_json(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _fits_json(kind.value_type)
    if types.is_dictionary(kind):
        return _fits_json(kind.value_type)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return texts or any(
        check(kind) for check in (types.is_null, types.is_boolean, types.is_integer, types.is_floating)
    )
