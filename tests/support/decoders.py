"""A decoder that does to its process what files with errors in decoders do."""

import ctypes
import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skinclf.errors import StorageUnavailable
from skinclf.spec.image import decode_rgb
from skinclf.spec.rejects import RejectedImage

MARKED = {
    name: b"do: " + name.encode() + b" "
    for name in ("exit", "segfault", "kill", "once", "mended", "hang", "sleep", "storage")
}
"""Files that end the process, or hang: `sleep` in Python, `hang` within one call into C."""


def decode(file: bytes) -> NDArray[np.uint8]:
    """As decode_rgb, but for MARKED files."""
    if file.startswith(MARKED["exit"]):
        os._exit(1)
    if file.startswith(MARKED["segfault"]):
        ctypes.string_at(0)
    if file.startswith(MARKED["kill"]):
        os.kill(os.getpid(), signal.SIGKILL)
    if file.startswith(MARKED["hang"]):
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2**31 - 1)
    if file.startswith(MARKED["sleep"]):
        time.sleep(3600)
    if file.startswith(MARKED["once"]):
        marker = Path(os.fsdecode(file.removeprefix(MARKED["once"])))
        if not marker.exists():
            marker.touch()
            os._exit(1)
        return np.zeros((75, 100, 3), np.uint8)
    if file.startswith(MARKED["storage"]):
        raise StorageUnavailable("Stale file handle. Rerun the same command")
    if file.startswith(MARKED["mended"]):
        if not Path(os.fsdecode(file.removeprefix(MARKED["mended"]))).exists():
            os._exit(1)
        return np.zeros((75, 100, 3), np.uint8)
    return decode_rgb(file, max_pixels=10**8)


def moved(_: bytes) -> NDArray[np.uint8]:
    """As if each file's archive had been rewritten since it was listed."""
    raise RejectedImage("changed", "was rewritten")
