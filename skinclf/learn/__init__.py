"""The network and its training: TensorFlow and Keras. Never imports pyspark."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Read once, when Keras is first imported, in whichever process that is.
os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's keras.json may name another


@contextmanager
def quietly() -> Iterator[None]:
    """Import TensorFlow inside: its notes on missing GPUs would bury our own lines.

    They are written by C++ before any log level is read, so stderr itself is turned away.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # later ones do read it
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
