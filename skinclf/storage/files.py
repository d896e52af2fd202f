"""Files by path or URI, through pyarrow.fs: local disks, s3, gs, hdfs alike."""

import errno
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from skinclf.errors import StorageError
from skinclf.storage import hdfs

S3 = re.compile("^s3[an]?://")

TEMPORARY = re.compile(r".+\.tmp-[0-9a-f]{32}")
"""Names of files that `write_bytes` has not renamed yet. Random: processes of two containers share
host names and process ids."""

REPLACED_PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds between the tries to read a file that is replaced again and again."""

REQUESTS_AT_A_TIME = 16
"""To storage that answers over a network."""

T = TypeVar("T")

LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
"""Why a file can't be written now, nor when it is tried again."""


def absolute(path: str) -> str:
    """A local path made absolute, so that an executor means the same by it; URIs stay."""
    return path if "://" in path else os.path.abspath(path)


def uri(path: str) -> str:
    """The absolute, %-encoded URI of a local path; a URI stays as it is.

    Bytes of a name that are not UTF-8 are %-encoded like any other.
    """
    return path if "://" in path else Path(absolute(path)).as_uri()


def local_path(path: str) -> str | None:
    """The path of a local path or file: URI; None for other storage."""
    if path.startswith("file:"):
        path = re.split("[?#]", path.removeprefix("file:"))[0]
        if path.startswith("//"):
            path = "/" + path[2:].partition("/")[2]
        return os.fsdecode(unquote_to_bytes(path))
    return None if "://" in path else absolute(path)


def hadoop_path(path: str) -> str:
    """The form of a path or URI that Spark has: local paths with file:, never %-encoded;
    S3 by s3a:, Hadoop's own name for it.
    """
    local = local_path(path)
    return S3.sub("s3a://", path) if local is None else f"file://{local}"


def locate(path: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds a path or URI, and the path within it."""
    local = local_path(path)
    if local is not None:
        return fs.LocalFileSystem(), local
    if path.startswith(hdfs.SCHEMES) and hdfs.is_installed():
        return hdfs.locate_hdfs(path)
    return fs.FileSystem.from_uri(S3.sub("s3://", path))


def join(folder: str, *names: str) -> str:
    """A path below `folder`, which may be a URI."""
    return "/".join([folder.rstrip("/"), *names])


def exists(path: str) -> bool:
    """Whether there is a file or folder at `path`."""
    file_system, inner = locate(path)
    return bool(file_system.get_file_info(inner).type != fs.FileType.NotFound)


def list_names(folder: str) -> list[str]:
    """The names of the files in a folder; none where there is no folder."""
    file_system, inner = locate(folder)
    selector = fs.FileSelector(inner, allow_not_found=True)
    return sorted(info.base_name for info in file_system.get_file_info(selector))


def read_bytes(path: str) -> bytes:
    """The whole content of a file; OSError where there is none."""
    file_system, inner = locate(path)
    with file_system.open_input_file(inner) as file:
        return bytes(file.read())


def read_text(path: str) -> str:
    """The whole content of a UTF-8 file; OSError where there is none."""
    return read_bytes(path).decode()


def read_json(path: str) -> Any:
    """The content of a JSON file that may be replaced meanwhile; see `read_whole`."""
    return read_whole(path, json.loads)


def read_whole(path: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a UTF-8 file, read again where it raises ValueError.

    pyarrow asks an object store for the size first and for that many bytes then: of a file that
    is replaced in between by a longer one, it returns the beginning alone.
    """
    for pause in REPLACED_PAUSES:
        try:
            return parse(read_text(path))
        except ValueError:
            time.sleep(pause)
    return parse(read_text(path))


def write_bytes(path: str, content: bytes, *, durable: bool = True) -> None:
    """Write a file under a temporary name, then rename it: readers see all of it or none.

    Where it is `durable`, that holds after a crash of the machine, too. Raises StorageError where
    the storage is full or may not be written to; other OSErrors, such as a connection that was
    lost, as they are.
    """
    file_system, inner = locate(path)
    temporary = f"{inner}.tmp-{uuid4().hex}"
    synced = durable and isinstance(file_system, fs.LocalFileSystem)
    try:
        file_system.create_dir(os.path.dirname(inner), recursive=True)
        with file_system.open_output_stream(temporary, compression=None) as file:
            file.write(content)
        if synced:  # else a crash can leave the new name with nothing in it
            _sync(temporary)
        file_system.move(temporary, inner)
        if synced:
            _sync(os.path.dirname(inner))
    except OSError as error:
        with suppress(OSError):
            file_system.delete_file(temporary)
        if error.errno in LASTING:
            raise StorageError(f"{path}: can't be written: {error}") from None
        raise


@contextmanager
def new_file(path: str) -> Iterator[pa.NativeFile]:
    """A file to write under its final name, which no other job may use; gone if the block fails.

    For files that count only once a manifest names them: nothing has to be renamed, which object
    stores can't. Raises StorageError where the storage is full or may not be written to.
    """
    file_system, inner = locate(path)
    local = isinstance(file_system, fs.LocalFileSystem)
    try:
        file_system.create_dir(os.path.dirname(inner), recursive=True)
        with file_system.open_output_stream(inner, compression=None) as file:
            yield file
        if local:
            _sync(inner)
            _sync(os.path.dirname(inner))
    except BaseException as error:
        with suppress(OSError):
            file_system.delete_file(inner)
        if isinstance(error, OSError) and error.errno in LASTING:
            raise StorageError(f"{path}: can't be written: {error}") from None
        raise


def move(path: str, target: str) -> None:
    """Give a file another name on the same storage: readers see it whole there, or not yet.

    After a crash of the machine it may have its earlier name again.
    """
    file_system, inner = locate(path)
    _, inner_target = locate(target)
    file_system.create_dir(os.path.dirname(inner_target), recursive=True)
    file_system.move(inner, inner_target)


def write_table(table: pa.Table, path: str) -> None:
    """`write_bytes` of an Arrow table as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def _sync(path: str) -> None:
    """Have a local file's content, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str, content: str, *, durable: bool = True) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode(), durable=durable)


def clear_temporaries(folder: str, but: str = "") -> None:
    """Delete the files in `folder` that a killed writer did not rename any more.

    For a folder's owner alone: a file that somebody writes now is one of them, unless it becomes
    the one named `but`.
    """
    file_system, inner = locate(folder)
    selector = fs.FileSelector(inner, allow_not_found=True)
    for found in file_system.get_file_info(selector):
        name = found.base_name
        if but and name.startswith(f"{but}.tmp-"):
            continue
        if found.type == fs.FileType.File and TEMPORARY.fullmatch(name):
            file_system.delete_file(found.path)


def delete(path: str) -> None:
    """Delete a file, or a folder with all that is in it; nothing happens where there is none."""
    file_system, inner = locate(path)
    kind = file_system.get_file_info(inner).type
    if kind == fs.FileType.Directory:
        file_system.delete_dir(inner)
    elif kind == fs.FileType.File:
        file_system.delete_file(inner)


def delete_files(paths: Collection[str]) -> None:
    """Delete files in as little time as the storage allows; those that are gone are no error."""

    def unlink(path: str) -> None:
        file_system, inner = locate(path)
        with suppress(FileNotFoundError):
            file_system.delete_file(inner)

    if all(local_path(path) is not None for path in paths):
        for path in paths:
            unlink(path)
        return
    with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool:
        list(pool.map(unlink, paths))
