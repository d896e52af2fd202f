"""S3 whose requests fail, its options, its listing, and what is said of other storage."""

import http.server
import os
import re
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from skinclf.archives import iter_images, list_images
from skinclf.config.loader import load_config, to_toml
from skinclf.config.schema import ArchiveConfig, TrainConfig
from skinclf.errors import ArchiveError, ConfigError, InvalidUri, UnknownStorage
from skinclf.spark.archive import needs_spark
from skinclf.storage.attempt import begin_attempt
from skinclf.storage.checkpoint_folder import CheckpointFolder, checkpoint_bytes, checkpoint_names
from skinclf.storage.files import (
    below,
    exists,
    hadoop_options,
    hadoop_path,
    join,
    list_names,
    locate,
    read_text,
    write_bytes,
    write_text,
)
from skinclf.storage.score_view import read_rejects, read_scores
from tests.support.s3 import S3Server, s3_of_the_environment
from tests.support.score_job import EXPECTED, Job

BUCKET = "s3://photographs"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_of_the_environment(monkeypatch) as server:
        yield server


def test_the_folder_that_a_job_writes_to_is_no_input(server: S3Server) -> None:
    for name in ("a.jpg", "scores/b.jpg", "scores-2/c.jpg"):
        write_text(f"{BUCKET}/{name}", "x")
    for written in (f"{BUCKET}/scores", f"{BUCKET}/scores/"):
        listed = {row["image_id"] for row in iter_images([BUCKET], ["", "local", written])}
        assert listed == {"a", "c"}


@pytest.mark.faults
def test_scores_and_checkpoints_where_every_seventh_request_fails(server: S3Server) -> None:
    numbers = count(1)

    def fault(_method: str, _path: str) -> str | None:
        number = next(numbers)
        return ("busy", "reset", "lost")[number // 7 % 3] if number % 7 == 0 else None

    server.fault = fault
    folder, run = f"{BUCKET}/scores", f"{BUCKET}/run"
    Job(folder).run()
    begin_attempt(run, "one")
    checkpoints = CheckpointFolder(run, "one")
    for number in (1, 2, 3):
        history = [{"epoch": float(n), "val_loss": 1.0 / n} for n in range(1, number + 1)]
        checkpoints.write(b"x" * 9_000_000, history, 0, TrainConfig(keep_checkpoints=1))
    rows = read_scores(folder).to_pylist() + read_rejects(folder).to_pylist()
    (name,) = checkpoint_names(run)
    assert len(checkpoint_bytes(run, name)) == 9_000_000
    assert len(rows) == len(EXPECTED)
    assert {row["source"]: row["image_id"] for row in rows} == EXPECTED
    methods = {(*fault.split(),) for fault in server.faults}
    assert {kind for _, kind in methods} == {"busy", "reset", "lost"}
    assert {"GET", "PUT", "HEAD"} <= {method for method, _ in methods}


def test_what_the_storage_refuses_is_not_tried_again(server: S3Server) -> None:
    with pytest.raises(ArchiveError, match="s3://nobody"):
        list(iter_images(["s3://nobody/x"]))


def test_options_of_a_uri_are_kept_below_it_and_given_to_spark(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    folder = f"{BUCKET}/some%20run?endpoint_override={server.host}&scheme=http"
    write_text(join(folder, "inner", "a.jpg"), "x")
    assert list_names(folder) == ["inner"]
    assert exists(join(folder, "inner", "a.jpg"))
    (row,) = iter_images([folder])
    assert row["file"] == join(folder, "inner", "a.jpg")
    assert read_text(row["file"]) == "x"
    assert hadoop_path(folder) == "s3a://photographs/some run"
    assert hadoop_options(folder) == {
        "fs.s3a.endpoint": f"http://{server.host}",
        "fs.s3a.endpoint.region": "us-east-1",
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
    }


def test_clients_are_kept_and_follow_the_environment(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = locate(f"{BUCKET}/a")
    assert locate("s3a://photographs/b")[0] is first
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert locate(f"{BUCKET}/a")[0] is not first


@pytest.mark.parametrize("path", ["dbfs:/mnt/x", "wasbs://c@a/x", "oss://bucket/x"])
def test_storage_that_nobody_reads_is_told_with_what_is_read(path: str) -> None:
    with pytest.raises(UnknownStorage, match=r"/Volumes.*abfss.*archive.reader") as refused:
        exists(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "path", ["s3://photographs/x?place=eu", "gs://bucket/x y", "s3:///x", "/tmp/caf\udce9"]
)
def test_a_uri_that_can_t_be_read_is_told_in_a_line(path: str) -> None:
    with pytest.raises(InvalidUri, match=re.escape(path.partition("caf")[0])) as refused:
        exists(path)
    assert "\n" not in str(refused.value)


def test_storage_that_is_away_is_not_left_to_another_reader(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files have other names there: all would be scored twice."""

    def away(path: str) -> object:
        raise OSError("AWS Error NETWORK_CONNECTION during HeadBucket operation")

    archive = ArchiveConfig()
    assert not needs_spark(archive, [f"{BUCKET}/2026"])
    monkeypatch.setattr("skinclf.spark.archive.locate", away)
    assert not needs_spark(archive, [f"{BUCKET}/2026"])
    monkeypatch.undo()
    for name in ("2026", "of 2026", "2026-{01,02}", "Läsionen"):
        assert needs_spark(archive, [f"wasbs://photographs@clinic/{name}"])


def test_an_object_has_one_source_however_it_is_named(server: S3Server) -> None:
    names = ("a b.jpg", "c%25.jpg", "d?e.jpg")
    for name in names:
        write_bytes(below(f"{BUCKET}/in", name), b"x")
    write_text(f"{BUCKET}/list.txt", "".join(f"in/{name}\n" for name in names))
    write_text(f"{BUCKET}/uris.txt", "s3://photographs/in/a b.jpg\n")
    paths = [f"{BUCKET}/in", "s3a://photographs/in/", f"{BUCKET}/in?region=us-east-1"]
    lists = [f"{BUCKET}/list.txt", f"{BUCKET}/uris.txt"]
    found = list_images([*paths, *lists])
    assert found["reason"].null_count == found.num_rows
    assert found["source"].to_pylist() == [
        f"{BUCKET}/in/{name}" for name in ("a%20b.jpg", "c%2525.jpg", "d%3Fe.jpg")
    ]


@pytest.mark.parametrize(
    "setting",
    [
        *("archive.paths", "archive.metadata", "dataset.path", "run.path"),
        *("score.archive", "score.output", "evaluate.metadata", "train.teachers"),
    ],
)
def test_a_secret_in_a_path_is_refused_wherever_it_is_given(setting: str) -> None:
    message = f"^--set {re.escape(setting)}: .*holds a key"
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(None, [f"{setting}=s3://KEY:CANARY@bucket/x"])
    assert "CANARY" not in str(refused.value)


def test_secrets_of_spark_and_mlflow_are_not_in_a_run_s_config() -> None:
    config = load_config(
        None,
        [
            "spark.conf.fs.azure.account.key.clinic.dfs.core.windows.net=CANARY",
            "spark.conf.spark.hadoop.fs.s3a.secret.key=CANARY",
            "spark.conf.spark.driver.extraJavaOptions=-Dfs.s3a.access.key=CANARY",
            "spark.conf.spark.jars.repositories=https://user:CANARY@jars.example.org",
            "spark.master=sc://host:15002/;token=CANARY",
            "mlflow.tracking_uri=https://user:CANARY@mlflow.example.org",
        ],
    )
    assert "CANARY" not in to_toml(config)
    with pytest.raises(ConfigError) as refused:
        load_config(None, ["mlflow.experiment_name=https://user:CANARY@mlflow.example.org"])
    assert "CANARY" not in str(refused.value)


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Listing(http.server.BaseHTTPRequestHandler):
    """A bucket of ten folders with 10,000 objects each; counts its pages."""

    protocol_version = "HTTP/1.1"
    pages = 0

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        prefix, start = query.get("prefix", ""), int(query.get("continuation-token", "0"))
        if prefix.count("/") < 2:
            found, last = [FOLDER.format(prefix, n) for n in range(10)], True
        else:
            stop = start + int(query.get("max-keys", "1000"))
            found, last = [OBJECT.format(prefix, n) for n in range(start, stop)], stop >= 10_000
            more = "" if last else f"<NextContinuationToken>{stop}</NextContinuationToken>"
            found.append(more)
            type(self).pages += 1
        body = PAGE.format(str(not last).lower(), "".join(found)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


OBJECT = (
    "<Contents><Key>{}{:08}.jpg</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
    "<ETag>a</ETag><Size>1000</Size></Contents>"
)
FOLDER = "<CommonPrefixes><Prefix>{}{}/</Prefix></CommonPrefixes>"
PAGE = "<ListBucketResult><IsTruncated>{}</IsTruncated>{}</ListBucketResult>"


def test_a_listing_of_100_000_objects_is_paged_and_holds_one_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    rows = iter_images([f"{BUCKET}/archive"])
    sources = [next(rows)["source"]]
    memory = resident()
    seen = 1 + sum(1 for _ in rows)
    grown = resident() - memory
    server.shutdown()
    assert sources[0].startswith(f"{BUCKET}/archive/")
    assert seen == 100_000
    assert Listing.pages == 100
    assert grown < 30 * 2**20  # ten folders at a time would be 55 MB
