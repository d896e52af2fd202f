"""When a file that ends its decoder is decoded apart: where Spark would not try its task again."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from skinclf.spark import decoding


@pytest.mark.parametrize(
    ("master", "conf", "again"),
    [
        ("local[2]", {"spark.task.maxFailures": "4"}, False),  # local mode takes it from the master
        ("local[*, 4]", {"spark.task.maxFailures": "1"}, True),
        ("local[2,1]", {}, False),
        ("local-cluster[2,1,1024]", {}, True),
        ("yarn", {}, True),
        ("spark://host:7077", {"spark.task.maxFailures": "1"}, False),
    ],
)
def test_whether_spark_tries_a_failed_task_again(
    monkeypatch: pytest.MonkeyPatch, master: str, conf: dict[str, str], again: bool
) -> None:
    monkeypatch.setattr(decoding, "master_of", lambda _: master)
    assert decoding.tries_again(cast("Any", SimpleNamespace(conf=conf))) is again
