"""Storage that fails now and then and is there again: ESTALE on NFS, a reset connection on S3."""

import errno
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from skinclf.errors import SkinclfError, StorageError, StorageUnavailable, UsageError

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between the tries of a task, which Spark tries again, too."""

LONG_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the tries of what nobody else tries again."""

OF_THE_FILE = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that another try will not mend and that concern one file."""

LASTING = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
)
"""Why a file can't be written now, nor when it is tried again."""

REFUSED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN_ID"
    r"|NO_SUCH_BUCKET|HTTP status 40[013]|is a directory"
    r"|AccessControlException|QuotaExceededException"
)
"""What an object store, HDFS, or pyarrow itself, says of a request that it will refuse again,
without an errno."""

OF_A_SHARE = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""What a mounted share says while its server is away."""

OWN_TRIES_SECONDS = 120.0
"""A client that takes longer to fail has tried again by itself: that of HDFS for three minutes."""

SCARCE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What a machine says that lacks memory or file handles for the moment."""

GONE = (errno.ENOENT, errno.ENOTDIR)

T = TypeVar("T")

log = logging.getLogger(__name__)


def retried(
    read: Callable[[], T],
    name: str,
    wait: Callable[[float], object] = time.sleep,
    pauses: Sequence[float] = PAUSES,
) -> T:
    """What `read` returns, tried again after each of `pauses` if the storage of `name` fails.

    Raises OSError if a file is gone or can't be read for a reason of its own, and
    StorageUnavailable after the last try. `wait` waits so many seconds.
    """
    try:
        return tried(read, name, "can't be read", wait, pauses)
    except OSError as error:
        if is_gone(error) or is_final(error):
            raise
        raise StorageUnavailable(
            f"{name}: can't be read now: {error}. Rerun the same command to resume, once the "
            f"storage is back"
        ) from error


def tried(
    do: Callable[[], T],
    name: str,
    fault: str,
    wait: Callable[[float], object] = time.sleep,
    pauses: Sequence[float] = PAUSES,
) -> T:
    """What `do` returns, tried again after each of `pauses` if an OSError may pass; its last one
    is raised as it is, and so is that of a try longer than OWN_TRIES_SECONDS. `fault` says in the
    log what is the matter with `name`.
    """
    for pause in pauses:
        start = time.monotonic()
        try:
            return do()
        except OSError as error:
            if is_gone(error) or is_final(error) or time.monotonic() - start > OWN_TRIES_SECONDS:
                raise
            log.warning("%s: %s (%s); trying again in %s s", name, fault, error, pause)
            wait(pause)
    return do()


def failure_of(error: OSError) -> SkinclfError | None:
    """The error of ours for one of a file or of storage that ends a job, with what to do; None
    where neither says so, as of a fault of ours.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{error}. Make room, and rerun the same command")
    if error.errno in LASTING:
        return UsageError(f"{error}. Check the path, or choose another one")
    if may_pass(error):
        return StorageUnavailable(
            f"the storage fails: {error}. Rerun the same command, once it is back"
        )
    if error.errno is None:  # of storage on a network
        return UsageError(f"the storage fails: {error}. Check the path and keys")
    return None


def is_final(error: OSError) -> bool:
    """Whether an error says that another try will not help: permissions, credentials, no bucket."""
    if isinstance(error, FileNotFoundError) or error.errno is not None:
        return error.errno in OF_THE_FILE
    return REFUSED.search(str(error)) is not None


def may_pass(error: BaseException | None) -> bool:
    """Whether an error is of storage on a network that may answer later: its host is not known or
    not reached, it is overloaded. pyarrow gives these no errno, and a mounted share its own.
    """
    if not isinstance(error, OSError):
        return False
    if error.errno is not None:
        return error.errno in OF_A_SHARE
    return not (is_gone(error) or is_final(error))


def is_gone(error: OSError) -> bool:
    """Whether an error says that there is no such file."""
    return isinstance(error, FileNotFoundError) or error.errno in GONE
