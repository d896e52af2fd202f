"""The network and its training: TensorFlow and Keras. Never imports pyspark."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

from skinclf.errors import ConfigError
from skinclf.system.stderr import without_lines

INSTALL_TENSORFLOW = "pip install 'skinclf[tf]', or 'skinclf[cpu]', which is half the size"

NOISE = (
    r"^WARNING: All log messages before absl::InitializeLog",
    r"^[IWE]0000 .* (port|cudart_stub|cuda_platform|cuda_executor|cpu_feature_guard)\.cc:",
)
"""Lines that TensorFlow's libraries write while they are loaded, before they read any setting: how
sums are rounded with oneDNN, and that there is no GPU."""


UNUSED = ("matplotlib", "pandas", "sklearn")
"""What Keras imports where it is installed, for functions that are not used here: 1.0 of the 2.6 s
of CPU that importing TensorFlow and Keras takes, and 150 of 700 MB."""


def check_installed() -> None:
    """Raise ConfigError where this Python has no TensorFlow; imports nothing."""
    if find_spec("tensorflow") is None:
        raise _not_installed()


def _not_installed() -> ConfigError:
    return ConfigError(f"tensorflow is not installed in {sys.executable}: {INSTALL_TENSORFLOW}")


def import_tensorflow(*, alone: bool = True) -> None:
    """Import TensorFlow as this software needs it; to be called before anything imports it.

    `alone`: no other thread of this process may be about to import one of UNUSED. Raises
    ConfigError where there is none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors and what a crash says are shown
    # TensorFlow uses oneDNN of itself only where there is AVX-512; with AVX2 alone it gains 1.4x.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the user's keras.json may name another
    if "tensorflow" in sys.modules:
        return
    with without_lines(NOISE), without_modules(UNUSED) if alone else nullcontext():
        try:
            import tensorflow
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise _not_installed() from None

        tensorflow.config.list_physical_devices("GPU")  # it looks for one now, and not later


@contextmanager
def without_modules(names: Sequence[str]) -> Iterator[None]:
    """Have packages that are not imported yet appear as not installed to what the block imports."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
