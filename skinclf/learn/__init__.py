"""The network and its training: TensorFlow and Keras. Never imports pyspark."""

import os


def import_tensorflow() -> None:
    """Import TensorFlow as this software needs it; to be called before anything imports it.

    It is quiet only as far as its own settings reach: a few lines that its libraries write while
    they are loaded, before any setting is read, stay.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors and what a crash says are shown
    # TensorFlow uses oneDNN of itself only where there is AVX-512; with AVX2 alone it gains 1.4x.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's keras.json may name another
    import tensorflow  # noqa: F401
