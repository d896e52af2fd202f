"""A real S3 server in this process, whose answers can be spoilt."""

import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import pytest
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from pyarrow import fs
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.repository import REPOSITORY

S3A_JARS = REPOSITORY / ".tools" / "s3a"
"""Spark's connector: `make .tools/s3a`."""

KEY, SECRET = "AKIACANARY", "c4n4ry-s3cr3t-of-this-test"
"""What no job may write anywhere."""

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

Fault = str | None
"""busy: 503; reset: the connection is; lost: the request is carried out, the answer is not sent."""


class Quiet(WSGIRequestHandler):
    """A handler that survives connections which a fault has closed."""

    def log(self, *_: Any) -> None:
        return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True


class S3Server:
    """Moto's server; `fault` says for each request (method and path) what goes wrong with it."""

    def __init__(self, fault: Callable[[str, str], Fault] = lambda *_: None) -> None:
        self.fault = fault
        self.faults: Counter[str] = Counter()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet
        )
        self.host = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        moto_api_backend.reset()  # moto keeps its objects for the whole process

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fault = self.fault(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if fault:
            self.faults[f"{environ['REQUEST_METHOD']} {fault}"] += 1
        if fault == "busy":
            if environ.get("CONTENT_LENGTH"):  # else there is no end to read to
                environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            start_response("503 Slow Down", [("Content-Length", str(len(BUSY)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [BUSY]
        if fault == "lost":
            list(self._moto(environ, lambda *_: None))
        if fault:
            connection = environ["werkzeug.socket"]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(connection.detach())  # at once, whatever else refers to the socket
            raise ConnectionResetError
        return self._moto(environ, start_response)


@contextmanager
def s3_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server that the environment names to all clients, with the bucket `photographs`."""
    with S3Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        client = fs.S3FileSystem(
            endpoint_override=server.host, scheme="http", allow_bucket_creation=True
        )
        client.create_dir("photographs")
        yield server
