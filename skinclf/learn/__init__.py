"""The network and its training: TensorFlow and Keras. Never imports pyspark."""

import os


def import_tensorflow() -> None:
    """Import TensorFlow as this software needs it; to be called before anything imports it.

    It tells of every GPU that is not there in C++, before any log level is read: stderr itself
    is turned away meanwhile, or our own lines would drown. Errors are raised all the same.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what comes later does read it
    # TensorFlow uses oneDNN of itself only where there is AVX-512; with AVX2 alone it gains 1.4x.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's keras.json may name another
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
