import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.config.schema import SparkConfig
from skinclf.errors import ConfigError, ExecutorsLost
from skinclf.spark.job_groups import PROPERTIES
from skinclf.spark.progress import spark_progress
from skinclf.spark.session import OURS, spark_session
from skinclf.spark.session_settings import ALWAYS, defaults
from skinclf.spark.session_start import _created, start


def test_a_running_session_is_used_and_left_as_it_was(spark: SparkSession) -> None:
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    inner = "spark.sql.session.timeZone"
    spark.conf.set(key, "77")
    before = spark.conf.get(inner)
    try:
        with spark_session("guest", SparkConfig(conf={inner: "Asia/Tokyo"})) as guest:
            assert guest is spark
            assert guest.conf.get(key) == ALWAYS[key]
            assert guest.conf.get(inner) == "Asia/Tokyo"
        assert spark.range(3).count() == 3  # it is not stopped
        assert (spark.conf.get(key), spark.conf.get(inner)) == ("77", before)
    finally:
        spark.conf.set(key, ALWAYS[key])


def test_settings_come_back_once_the_last_guest_leaves(spark: SparkSession) -> None:
    """Jobs in threads of a notebook need not end in the order in which they began."""
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    spark.conf.set(key, "77")
    try:
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(spark_session("first", SparkConfig()))
            second.enter_context(spark_session("second", SparkConfig()))
            first.close()
            assert spark.conf.get(key) == ALWAYS[key]
            second.close()
            assert spark.conf.get(key) == "77"
    finally:
        spark.conf.set(key, ALWAYS[key])


def test_a_group_of_jobs_gives_the_caller_s_own_back(spark: SparkSession) -> None:
    context = spark.sparkContext
    context.setJobGroup("mine", "my cell", interruptOnCancel=True)
    before = [context.getLocalProperty(key) for key in PROPERTIES]
    with spark_progress(spark, "count", Console(quiet=True)):
        assert context.getLocalProperty(PROPERTIES[0]) != "mine"
    assert (
        [context.getLocalProperty(key) for key in PROPERTIES]
        == before
        == ["mine", "my cell", "true"]
    )
    for key in PROPERTIES:
        context.setLocalProperty(key, None)  # type: ignore[arg-type]


def test_a_running_session_with_spark_s_defaults_has_them(spark: SparkSession) -> None:
    required = {"spark.speculation": "false", "spark.dynamicAllocation.enabled": "false"}
    with spark_session("guest", SparkConfig(), required) as found:
        assert found is spark


def test_a_running_session_without_what_a_job_needs_is_told(spark: SparkSession) -> None:
    with (
        pytest.raises(ConfigError, match=r"lacks settings .*: spark\.x=1\. Start the session"),
        spark_session("guest", SparkConfig(), {"spark.x": "1"}),
    ):
        pass
    assert spark.range(3).count() == 3


TWO_SESSIONS = """
from skinclf.config.schema import SparkConfig
from skinclf.errors import ConfigError
from skinclf.spark.session import spark_session
reuse = "spark.python.worker.reuse"
first = SparkConfig(master="local[1]", conf={"spark.first": "1"})
with spark_session("one", first, {reuse: "false"}) as spark:
    assert spark.sparkContext.getConf().get(reuse) == "false"
with spark_session("two", SparkConfig(master="local[1]")) as spark:
    conf = spark.sparkContext.getConf()
    print(conf.get(reuse), conf.get("spark.first"), conf.get("spark.driver.host"))
try:
    with spark_session("three", SparkConfig(master="spark://clinic.example.org:7077")):
        print("started")
except ConfigError as error:
    print(error)
"""


def test_a_session_knows_nothing_of_the_settings_of_the_one_before() -> None:
    """In a process of its own: a JVM takes those that it is started with as defaults."""
    done = subprocess.run([sys.executable, "-c", TWO_SESSIONS], capture_output=True, text=True)
    settings, error = done.stdout.splitlines()
    assert settings.split() == ["None", "None", "127.0.0.1"]
    assert "a cluster would not reach it. Start Python anew" in error


@pytest.mark.usefixtures("own_session")
def test_a_session_that_a_job_started_ends_with_it(sessions: ExitStack) -> None:
    with spark_session("own", SparkConfig(master="local[1]", driver_memory="1g")) as own:
        assert own.range(3).count() == 3
    assert SparkSession.getActiveSession() is None


class Builder(SparkSession.Builder):
    """It fails with each of these errors in turn, then makes the session."""

    def __init__(self, *errors: str) -> None:
        super().__init__()
        self.errors = list(errors)

    def getOrCreate(self) -> SparkSession:  # noqa: N802 - the name that Spark gives it
        if self.errors:
            raise Py4JError(self.errors.pop(0))
        return super().getOrCreate()


def test_a_start_that_meets_a_race_inside_spark_is_tried_again(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    """What YARN's client mode gave: a filter of the web UI was added while its pages started."""
    race = (
        "An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.\n"
        ": java.util.ConcurrentModificationException\n\tat java.base/java.util.ArrayList"
    )
    assert _created(Builder(race, race)).sparkContext is spark.sparkContext
    assert (
        caplog.messages
        == [
            "Spark did not start: two of its threads met "
            "(java.util.ConcurrentModificationException). It starts again"
        ]
        * 2
    )
    with pytest.raises(ConfigError, match="ConcurrentModificationException"):
        _created(Builder(race, race, race))
    wrong = Builder("java.lang.IllegalArgumentException: System memory must be at least", race)
    with pytest.raises(ConfigError, match="System memory"):
        _created(wrong)
    assert wrong.errors == [race]


@pytest.mark.parametrize(
    ("master", "is_here"),
    [
        *(("local[*]", True), ("local-cluster[2,1,1024]", True), ("spark://127.0.0.1:7077", True)),
        *(("spark://host:7077", False), ("yarn", False), ("k8s://https://host", False)),
    ],
)
def test_a_driver_of_a_cluster_can_be_reached_by_its_executors(master: str, is_here: bool) -> None:
    assert ("spark.driver.host" in defaults(SparkConfig(master=master))) == is_here


def test_local_mode_listens_on_this_machine_alone(spark: SparkSession) -> None:
    java = spark.sparkContext._gateway.proc.pid  # type: ignore[union-attr]
    addresses = listening(os.getpid()) | listening(java)
    assert addresses
    assert all(address.is_loopback for address in addresses)


def listening(process: int) -> set[IPv4Address]:
    """Where a process accepts connections; of IPv6 addresses the last four bytes."""
    sockets = set()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            sockets.add(os.readlink(entry))
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]
    ]
    found = {
        row[1].partition(":")[0]
        for row in rows
        if f"socket:[{row[9]}]" in sockets and row[3] == "0A"
    }
    return {IPv4Address(bytes.fromhex(address[-8:])[::-1]) for address in found}


def test_a_thread_of_a_notebook_uses_its_session_and_leaves_it(spark: SparkSession) -> None:
    """Which session is active, Spark says to the thread alone that started it."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_a_session).result() is spark
    assert spark.range(3).count() == 3


@pytest.mark.usefixtures("own_session")
def test_jobs_in_two_threads_share_a_session_that_ends_with_the_last(sessions: ExitStack) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: in_a_session().version, range(2)))
    assert SparkSession.getActiveSession() is None
    assert OURS == []


def in_a_session() -> SparkSession:
    with spark_session("thread", SparkConfig(master="local[1]", driver_memory="1g")) as spark:
        assert spark.range(3).count() == 3
        return spark


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n"
            '\tdetails = "failed to connect to all addresses: Connection refused"\n>',
            ExecutorsLost,
        ),
        ("[INVALID_CONNECT_URL] Invalid URL: refused", ConfigError),
    ],
)
def test_a_server_of_spark_connect_that_is_away_may_be_back(
    monkeypatch: pytest.MonkeyPatch, said: str, kind: type[Exception]
) -> None:
    class Session:
        builder: Any

        @property
        def version(self) -> str:
            raise PySparkException(said)

    class Builder:
        def remote(self, _: str) -> "Builder":
            return self

        def getOrCreate(self) -> Session:  # noqa: N802
            return Session()

    Session.builder = Builder()
    monkeypatch.setattr("skinclf.spark.session_start.SparkSession", Session)
    with pytest.raises(kind, match=r"^Spark Connect.*refused"):
        start("score", SparkConfig(master="sc://127.0.0.1:9"), {})
