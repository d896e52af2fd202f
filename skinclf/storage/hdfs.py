"""HDFS through hdfs-native, a client of its own: Python needs neither Java nor libhdfs for it.

It reads core-site.xml and hdfs-site.xml in HADOOP_CONF_DIR, name services with failover included.
"""

import io
import os
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from skinclf.errors import UnknownStorage

SCHEMES = ("hdfs://", "viewfs://")

FROM_SPARK = "__spark_conf__/__hadoop_conf__"
"""Where a container of Spark on YARN has Hadoop's settings of the machine of spark-submit."""


def is_installed() -> bool:
    """Whether the extra `hdfs` is there; without it pyarrow looks for libhdfs."""
    return find_spec("hdfs_native") is not None


def locate_hdfs(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds a URI of SCHEMES, and the path within it.

    Raises UnknownStorage where Hadoop's settings do not know the name, and it has no port.
    """
    scheme, _, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    return _file_system(scheme, authority, os.getpid()), unquote(slash + path) or "/"


@cache
def _file_system(scheme: str, authority: str, process: int) -> fs.FileSystem:
    """A client has threads, which another `process` does not inherit."""
    from hdfs_native.fsspec import HdfsFileSystem, ViewfsFileSystem

    if os.path.isdir(FROM_SPARK):
        os.environ.setdefault("HADOOP_CONF_DIR", os.path.abspath(FROM_SPARK))
    kind = HdfsFileSystem if scheme == "hdfs" else ViewfsFileSystem
    try:
        # The host with its port, if it has one: they are only put together again.
        return fs.PyFileSystem(_Handler(_Client(kind(authority or None))))
    except RuntimeError as error:
        raise UnknownStorage(
            f"{scheme}://{authority}: not in core-site.xml and hdfs-site.xml of HADOOP_CONF_DIR "
            f"({os.environ.get('HADOOP_CONF_DIR', 'not set')}): {error}"
        ) from None


class _Handler(fs.FSSpecHandler):
    """fsspec's way, with times of change, files that take another's place at once, and without
    taking a NameNode that does not answer for a file that is not there.
    """

    @staticmethod
    def _create_file_info(path: str, info: dict[str, Any]) -> fs.FileInfo:
        if info["type"] == "directory":
            return fs.FileInfo(path, fs.FileType.Directory)
        changed = info["modification_time"] * 1_000_000  # from milliseconds
        return fs.FileInfo(path, fs.FileType.File, size=info["size"], mtime_ns=changed)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        try:
            self.fs.info(selector.base_dir)
        except FileNotFoundError:
            if selector.allow_not_found:
                return []
            raise
        return super().get_file_info_selector(selector)

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(_Client(self.fs.open(path, "rb")), mode="r")

    open_input_stream = open_input_file

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(_Writer(_Client(self.fs.open(path, mode="wb"))), mode="w")

    def move(self, src: str, dest: str) -> None:
        self.fs.mv(src, dest, overwrite=True)


class _Client:
    """A file system or a file of hdfs-native whose errors are OSErrors of one line.

    What it has no class for is its RuntimeError: a NameNode that starts, or is none any more while
    another takes over, permissions, quotas, lost blocks.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # of a copy that has nothing yet
            raise AttributeError(name)
        found = getattr(self._inner, name)
        return partial(_called, found) if callable(found) else found


def _called(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return method(*arguments, **options)
    except NotImplementedError:
        raise
    except (OSError, RuntimeError) as error:
        kind = type(error) if isinstance(error, OSError) else OSError
        raise kind(str(error).partition("\n")[0]) from None  # without the lines of Java


class _Writer(io.RawIOBase):
    """A file that is given bytes alone: hdfs-native takes pyarrow's buffers apart byte by byte,
    which is 5 MB/s.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, buffer: Any) -> int:
        return int(self._file.write(bytes(buffer)))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
