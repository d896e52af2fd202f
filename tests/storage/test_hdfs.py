import io

import pyarrow as pa
import pyarrow.parquet as pq

from skinclf.storage.hdfs import _Writer


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
