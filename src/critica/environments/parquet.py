"""Rows of Parquet files and Arrow tables as plain records, where their types are such that JSON can carry them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critica.environments.rows import TaskFileProblem, shown

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 64


def parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file. Raises `TaskFileProblem` for what is no Parquet, and for types that JSON lacks."""
    import pyarrow.parquet as pq

    with readable(path, "Parquet"), pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        require_json_types(file.schema_arrow, str(path))
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            yield from batch.to_pylist()


def arrow_records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file in Arrow's streaming format, as `datasets` saves them. Raises `TaskFileProblem`."""
    import pyarrow as pa

    with readable(path, "Arrow"), pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        require_json_types(stream.schema, str(path))
        for batch in stream:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from batch.slice(start, BATCH_ROWS).to_pylist()


@contextmanager
def readable(path: Path, form: str) -> Iterator[None]:
    """Turns what pyarrow raises into a `TaskFileProblem` that names the file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TaskFileProblem(
            f"{path} is no {form} file that can be read ({shown(' '.join(str(error).split()))}): write it again, or"
            " write JSON lines (.jsonl)"
        ) from error


def require_json_types(schema: "pa.Schema", label: str) -> None:
    """Refuse a table with a type that JSON lacks, or with two columns of one name."""
    for field in schema:
        if not _fits_json(field.type):
            raise TaskFileProblem(
                f"{label}: column {shown(field.name)} is of type {field.type}, which JSON cannot carry: cast it to"
                " text or numbers, or drop it"
            )
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise TaskFileProblem(f"{label} has {schema.names.count(twice[0])} columns named {shown(twice[0])}: keep one")


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
    return texts or any(check(kind) for check in (types.is_null, types.is_boolean, types.is_integer, types.is_floating))
