"""The network and its training: TensorFlow and Keras. Never imports pyspark."""

import os
import sys

from skinclf.system.stderr import without_lines

NOISE = (
    r"^WARNING: All log messages before absl::InitializeLog",
    r"^[IWE]0000 .* (port|cudart_stub|cuda_platform|cuda_executor|cpu_feature_guard)\.cc:",
)
"""Lines that TensorFlow's libraries write while they are loaded, before they read any setting: how
sums are rounded with oneDNN, and that there is no GPU."""


def import_tensorflow() -> None:
    """Import TensorFlow as this software needs it; to be called before anything imports it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors and what a crash says are shown
    # TensorFlow uses oneDNN of itself only where there is AVX-512; with AVX2 alone it gains 1.4x.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's keras.json may name another
    if "tensorflow" in sys.modules:
        return
    with without_lines(NOISE):
        import tensorflow

        tensorflow.config.list_physical_devices("GPU")  # it looks for one now, and not later
