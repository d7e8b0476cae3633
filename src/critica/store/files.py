"""Bytes that survive a crash: whole files by rename, lines by append.

A killed process loses nothing that was written; a lost machine loses what was not synced. What a step writes is synced
with the next checkpoint, from which a run resumes anyway; everything else is synced at once.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_all(descriptor: int, payload: bytes) -> None:
    """Write every byte; `os.write` may write fewer than it was given."""
    view = memoryview(payload)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make renames and new names inside this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make this file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, payload: bytes, sync: bool = True) -> None:
    """Replace `path` by these bytes: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".tmp-{path.name}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(descriptor, payload)
        if sync:
            os.fsync(descriptor)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    if sync:
        sync_folder(path.parent)


def publish_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Replace the folder `path` by one that `fill` filled, durably; see `recover_folder` for a crash in between."""
    temporary, old = path.with_name(f".tmp-{path.name}"), path.with_name(f".old-{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for file in temporary.rglob("*"):
        sync_folder(file) if file.is_dir() else sync_file(file)
    sync_folder(temporary)
    recover_folder(path)
    if path.exists():
        os.rename(path, old)
    os.rename(temporary, path)
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """After a crash in `publish_folder`: the folder as it was before it or after it."""
    old = path.with_name(f".old-{path.name}")
    if old.exists() and not path.exists():
        os.rename(old, path)
    shutil.rmtree(old, ignore_errors=True)


def append_whole(path: Path, payload: bytes) -> None:
    """Append these bytes, or none of them: what a full disk left of them is cut off again."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, payload)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def cut_file(path: Path, size: int) -> None:
    """Shorten a file to its first `size` bytes, durably; one system call, so never half done."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
