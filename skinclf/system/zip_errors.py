"""What zipfile raises for a file that is damaged."""

import struct
import zipfile
import zlib

ZIP_ERRORS = (
    *(zipfile.BadZipFile, ValueError, RuntimeError),  # and NotImplementedError, a RuntimeError
    *(struct.error, zlib.error, EOFError),
)
