import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from skinclf.storage.hdfs import _Client, _Handler, _Writer
from skinclf.system.retrying import is_final, may_pass


def test_a_file_on_hdfs_is_given_bytes_alone() -> None:
    """What hdfs-native takes apart byte by byte: memoryviews and pyarrow's buffers."""
    given: list[object] = []

    class File(io.RawIOBase):
        def write(self, buffer: object) -> int:
            given.append(buffer)
            return len(bytes(buffer))  # type: ignore[call-overload]

    with pa.PythonFile(_Writer(File()), mode="w") as file:
        pq.write_table(pa.table({"a": range(1000)}), file)
        file.write(memoryview(b"end"))
    assert {*map(type, given)} == {bytes}
    assert given[-1] == b"end"


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("RPC error: org.apache.hadoop.ipc.StandbyException Operation READ", True),
        ("RPC error: org.apache.hadoop.hdfs.server.namenode.SafeModeException Cannot", True),
        ("RPC error: org.apache.hadoop.security.AccessControlException Permission denied", False),
        ("RPC error: org.apache.hadoop.hdfs.protocol.DSQuotaExceededException The", False),
    ],
)
def test_what_a_namenode_refuses_is_an_error_of_storage(said: str, passes: bool) -> None:
    """hdfs-native has a RuntimeError for all that it has no class for."""

    class Client:
        protocol = "hdfs"

        def __getattr__(self, name: str) -> Any:
            def method(*_: object, **__: object) -> None:
                raise RuntimeError(f"{said}\n\tat org.apache.hadoop.Something(Something.java:7)")

            return method

    hdfs = fs.PyFileSystem(_Handler(_Client(Client())))
    for call in (
        lambda: hdfs.get_file_info("/a"),
        lambda: hdfs.open_input_file("/a"),
        lambda: hdfs.open_output_stream("/a"),
        lambda: hdfs.create_dir("/a"),
        lambda: hdfs.delete_file("/a"),
        lambda: hdfs.move("/a", "/b"),
    ):
        with pytest.raises(OSError, match=r"^RPC error: [^\n]+$") as caught:
            call()
        assert (may_pass(caught.value), is_final(caught.value)) == (passes, not passes)
