"""Epochs of a run's history as TensorBoard event files."""

import tempfile
import time
from pathlib import Path

import tensorflow as tf

from skinclf.storage.history import Epoch


def event_files(row: Epoch) -> dict[str, bytes]:
    """One epoch's metrics in TensorBoard's file format: `train` and `validation` → a file each.

    The two curves of a metric have one tag, so that TensorBoard draws them in one chart. There
    is a file an epoch, since few storages let an open file grow.
    """
    validation = {n.removeprefix("val_"): v for n, v in row.items() if n.startswith("val_")}
    training = {n: v for n, v in row.items() if n != "epoch" and not n.startswith("val_")}
    step = int(row["epoch"])
    return {"train": _events(step, training), "validation": _events(step, validation)}


def _events(step: int, scalars: dict[str, float]) -> bytes:
    values = [tf.compat.v1.Summary.Value(tag=name, simple_value=scalars[name]) for name in scalars]
    summary = tf.compat.v1.Summary(value=values)
    now = time.time()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events"
        with tf.io.TFRecordWriter(str(file)) as writer:
            for event in (
                tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2"),
                tf.compat.v1.Event(wall_time=now, step=step, summary=summary),
            ):
                writer.write(event.SerializeToString())
        return file.read_bytes()
