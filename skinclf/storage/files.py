"""Files by path or URI, through pyarrow.fs: local disks, s3, gs, hdfs alike."""

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, unquote_to_bytes
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from skinclf.errors import InvalidUri, StorageError, UnknownStorage
from skinclf.storage import hdfs
from skinclf.storage.range_files import SizedFile
from skinclf.system.retrying import LASTING, PAUSES, is_final, tried
from skinclf.system.text import printable
from skinclf.system.uris import bucket_and_key, check_no_secret, is_uri, options_of, split_options

S3 = re.compile("^s3[an]?://")

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Where the environment names another server than Amazon's; the first one wins."""

OF_PYARROW = ("gs://", "gcs://", "abfs://", "abfss://")
"""URIs that pyarrow reads by itself. It may fail to parse others before it looks at their kind."""

ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Schemes with another name for the same storage."""

REACHED = "local paths, s3://, gs://, abfss:// and hdfs://"

TEMPORARY = re.compile(r".+\.tmp-[0-9a-f]{32}")
"""Names of files that `write_bytes` has not renamed yet. Random: processes of two containers share
host names and process ids."""

REPLACED_PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds between the tries to read a file that is replaced again and again."""

REQUESTS_AT_A_TIME = 16
"""To storage that answers over a network."""

T = TypeVar("T")


def absolute(path: str) -> str:
    """A local path made absolute, so that an executor means the same by it; URIs stay."""
    return path if is_uri(path) else os.path.abspath(path)


def uri(path: str) -> str:
    """The absolute, %-encoded URI of a local path; that of other storage stays as it is.

    Bytes of a name that are not UTF-8 are %-encoded like any other.
    """
    local = local_path(path)
    return path if local is None else Path(os.path.abspath(local)).as_uri()


def source_of(file: str) -> str:
    """The name of a file in tables, however its URI is written: one scheme for a kind of storage,
    %-encoded alike. Of options, that for another server is a part of it; others say how it is
    reached.
    """
    scheme, mark, _ = file.partition("://")
    if not mark or scheme == "file":
        return file
    authority, key = bucket_and_key(file)
    server = options_of(file).get("endpoint_override", "")
    name = f"{ALIASES.get(scheme, scheme)}://{authority}/{quote(key)}"
    return f"{name}?endpoint_override={server}" if server else name


def local_path(path: str) -> str | None:
    """The path of a local path or file: URI; None for other storage."""
    if path.startswith("file:"):
        path = re.split("[?#]", path.removeprefix("file:"))[0]
        if path.startswith("//"):
            path = "/" + path[2:].partition("/")[2]
        return os.fsdecode(unquote_to_bytes(path))
    return None if is_uri(path) else absolute(path)


def hadoop_path(path: str) -> str:
    """The form of a path or URI that Spark has, never %-encoded: local paths with file:; S3 by
    s3a:, Hadoop's own name for it, without options: see `hadoop_options`.
    """
    local = local_path(path)
    if local is not None:
        return f"file://{local}"
    if S3.match(path):
        return "s3a://{}/{}".format(*bucket_and_key(path))
    return unquote(split_options(path)[0])  # as pyarrow reads it


def hadoop_options(path: str) -> dict[str, str]:
    """What Spark's readers and writers need to reach the same place as `locate` does: the server
    that the options of an s3: URI or the environment name. Empty for other storage.
    """
    if not S3.match(path):
        return {}
    given = options_of(path)
    server = next(filter(None, map(os.environ.get, ENDPOINTS)), "")
    if "endpoint_override" in given:
        server = f"{given.get('scheme', 'https')}://{given['endpoint_override']}"
    regions = (given.get("region"), *map(os.environ.get, ("AWS_REGION", "AWS_DEFAULT_REGION")))
    region = next(filter(None, regions), "us-east-1" if server else "")
    found = {"endpoint": server, "endpoint.region": region}
    if server:  # as pyarrow does: of a server of one's own, buckets are rarely host names
        by_path = given.get("force_virtual_addressing", "false") == "false"
        found["path.style.access"] = str(by_path).lower()
        found["connection.ssl.enabled"] = str(server.startswith("https:")).lower()
    return {f"fs.s3a.{key}": value for key, value in found.items() if value}


def locate(path: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds a path or URI, and the path within it.

    Raises UsageError for a URI with a key or a password in it, and two of these: UnknownStorage
    where pyarrow does not know the kind of storage, InvalidUri where it can't read the URI.
    """
    local = local_path(path)
    if local is not None:
        try:
            local.encode()
        except UnicodeEncodeError:
            raise InvalidUri(f"{printable(path)}: the name is not UTF-8") from None
        return fs.LocalFileSystem(), local
    check_no_secret(path)
    if path.startswith(hdfs.SCHEMES) and hdfs.is_installed():
        return hdfs.locate_hdfs(path)
    if S3.match(path):
        bucket, key = bucket_and_key(path)
        if not bucket:
            raise InvalidUri(f"{path}: names no bucket: s3://BUCKET/…")
        environment = tuple((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
        root = f"s3://{bucket}{split_options(path)[1]}"
        try:
            return _s3(root, os.getpid(), environment), f"{bucket}/{key}".rstrip("/")
        except pa.ArrowInvalid as error:
            raise InvalidUri(f"{path}: {error}") from None
    try:
        return fs.FileSystem.from_uri(path)
    except OSError as error:
        if "Unable to load lib" not in str(error):
            raise
        raise UnknownStorage(
            f"{path}: HDFS is reached by the extra hdfs: pip install 'skinclf[hdfs]'"
        ) from None
    except pa.ArrowInvalid as error:
        if path.startswith(OF_PYARROW) and "Unrecognized filesystem type" not in str(error):
            raise InvalidUri(
                f"{path}: {error}. A blank is written %20. An archive Spark can read instead: "
                f'archive.reader = "spark"'
            ) from None
        raise UnknownStorage(
            f"{path}: storage of this kind is not reached; {REACHED} are. On Databricks name a "
            f"volume (/Volumes/…), on Azure abfss://. Of an archive Spark can read it: "
            f'archive.reader = "spark"'
        ) from None


@lru_cache(maxsize=64)
def _s3(root: str, process: int, environment: tuple[tuple[str, str], ...]) -> fs.FileSystem:
    """One client for a bucket: each new one asks for the credentials of its role anew.

    A client has threads, which another `process` does not inherit.
    """
    mark = "&" if "?" in root else "?"
    # A file of less than a part is then one request, which can be sent again, instead of three.
    return fs.FileSystem.from_uri(f"{root}{mark}allow_delayed_open=true")[0]


def join(folder: str, *names: str) -> str:
    """A path below `folder`, which may be a URI, with options."""
    folder, options = split_options(folder)
    return "/".join([folder.rstrip("/"), *names]) + options


def beside(path: str, ending: str) -> str:
    """The path of what lies beside a path, or URI with options, and is called so with an ending."""
    path, options = split_options(path)
    return path.rstrip("/") + ending + options


def name_of(path: str) -> str:
    """The last part of a path, which may be a URI with options."""
    return split_options(path)[0].rstrip("/").rpartition("/")[2]


def parent(path: str) -> str:
    """The folder of a path, which may be a URI with options."""
    path, options = split_options(path)
    return (path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")) + options


def below(folder: str, name: str) -> str:
    """The URI of what is called `name`, which is not %-encoded, below the URI of a folder."""
    return join(folder, quote(name))


def exists(path: str) -> bool:
    """Whether there is a file or folder at `path`."""
    file_system, inner = locate(path)
    return bool(file_system.get_file_info(inner).type != fs.FileType.NotFound)


def list_names(folder: str) -> list[str]:
    """The names of the files and folders in a folder; none where there is no folder."""
    file_system, inner = locate(folder)
    selector = fs.FileSelector(inner, allow_not_found=True)
    return sorted(info.base_name for info in file_system.get_file_info(selector))


def read_bytes(path: str) -> bytes:
    """The whole content of a file; OSError where there is none."""

    def read() -> bytes:
        file_system, inner = locate(path)
        with file_system.open_input_file(inner) as file:
            return bytes(file.read())

    return _tried(read, path)


def open_file(path: str) -> pa.NativeFile:
    """A file to read from at any place; OSError where there is none."""
    file_system, inner = locate(path)
    if local_path(path) is not None:
        return file_system.open_input_file(inner)
    return pa.PythonFile(_RemoteFile(path), mode="r")


class _RemoteFile(SizedFile):
    """A file on storage whose reads are tried again.

    pyarrow does so itself, but for one thing: a 503 whose text is longer than what was asked for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: pa.NativeFile | None = None
        self._size = _tried(lambda: int(self._opened().size()), path)

    @property
    def size(self) -> int:
        """Bytes that the file had when it was opened."""
        return self._size

    def read_at(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer where the file ends."""
        count = min(count, self._size - offset)
        return _tried(lambda: self._range(count, offset), self._path) if count > 0 else b""

    def _opened(self) -> pa.NativeFile:
        if self._file is None:
            file_system, inner = locate(self._path)
            self._file = file_system.open_input_file(inner)
        return self._file

    def _range(self, count: int, offset: int) -> bytes:
        try:
            return bytes(self._opened().read_at(count, offset))
        except OSError:
            self._file = None  # after an error its state is not to be trusted
            raise


def _tried(do: Callable[[], T], path: str, *, again: bool = True) -> T:
    """What `do` returns; on storage on a network it is tried `again` where that may help.

    Raises its last OSError.
    """
    pauses = PAUSES if again and local_path(path) is None else ()
    return tried(do, path, "the storage fails", pauses=pauses)


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

    Where it is `durable`, that holds after a crash of the machine, too, and storage on a network
    that fails is tried again for some seconds. Raises StorageError where the storage is full or may
    not be written to; other OSErrors, such as a connection that was lost, as they are.
    """
    _tried(lambda: _write_bytes(path, content, durable=durable), path, again=durable)


def _write_bytes(path: str, content: bytes, *, durable: bool) -> None:
    file_system, inner = locate(path)
    temporary = f"{inner}.tmp-{uuid4().hex}"
    synced = durable and isinstance(file_system, fs.LocalFileSystem)
    try:
        _make_folder(file_system, os.path.dirname(inner))
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
        if error.errno in LASTING or is_final(error):
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
        _make_folder(file_system, os.path.dirname(inner))
        with file_system.open_output_stream(inner, compression=None) as file:
            yield file
        if local:
            _sync(inner)
            _sync(os.path.dirname(inner))
    except BaseException as error:
        with suppress(OSError):
            file_system.delete_file(inner)
        if isinstance(error, OSError) and (error.errno in LASTING or is_final(error)):
            raise StorageError(f"{path}: can't be written: {error}") from None
        raise


def move(path: str, target: str) -> None:
    """Give a file another name on the same storage: readers see it whole there, or not yet.

    After a crash of the machine it may have its earlier name again.
    """
    file_system, inner = locate(path)
    _, inner_target = locate(target)
    _make_folder(file_system, os.path.dirname(inner_target))
    file_system.move(inner, inner_target)


def _make_folder(file_system: fs.FileSystem, folder: str) -> None:
    """Make a folder and those above it, where the storage has folders."""
    if not isinstance(file_system, fs.S3FileSystem):
        file_system.create_dir(folder, recursive=True)


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


def write_json(path: str, value: Any, *, durable: bool = True) -> None:
    """`write_bytes` of a value as JSON, for people as well."""
    write_text(path, json.dumps(value, indent=1) + "\n", durable=durable)


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
            with suppress(FileNotFoundError):  # a straggler has renamed it
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
