"""Frames that Spark keeps while a block runs: a caller's own session is left as it was."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pyspark.sql import DataFrame

Keep = Callable[[DataFrame], DataFrame]
"""A frame → the same, kept from its first use on."""


@contextmanager
def kept_frames() -> Iterator[Keep]:
    """What keeps frames until the block ends."""
    with ExitStack() as kept:

        def keep(frame: DataFrame) -> DataFrame:
            frame.persist()
            kept.callback(frame.unpersist)
            return frame

        yield keep
