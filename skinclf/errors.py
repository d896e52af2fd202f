"""What can go wrong, as one tree: catch `SkinclfError` for all of it.

Every message says what happened, where, what was expected, and the command or
setting that mends it. `exit_status` is what a job's process ends with; the documentation's page on
exit statuses says what to do about each.
"""

WRONG_USE = 2
"""As shells and typer have it."""

LOW_QUALITY = 3

TRY_AGAIN = 75
"""EX_TEMPFAIL of BSD's sysexits: schedulers start such a job again."""


class SkinclfError(Exception):
    """Base of every error that skinclf raises on purpose."""

    exit_status = 1


class UsageError(SkinclfError):
    """What the user asked for can't be done as asked; nothing was started."""

    exit_status = WRONG_USE


class ConfigError(UsageError):
    """A setting is unknown, missing or has a value that can't be used."""


class UnknownStorage(UsageError):
    """A URI names a kind of storage that nothing here reaches."""


class InvalidUri(UsageError):
    """A URI can't be read as one, or has an option that its storage does not know."""


class ArchiveError(UsageError):
    """The image archive as a whole can't be read (single files become rejects instead)."""


class MetadataError(UsageError):
    """The metadata file can't be read or lacks the columns of every known format."""


class DatasetError(UsageError):
    """A dataset folder is missing, unfinished, or not what its dataset.json says."""


class RunError(UsageError):
    """A run folder is missing, unfinished, or belongs to another training."""


class DamagedCheckpoint(RunError):
    """A checkpoint is truncated or otherwise not what was written; one before it may be whole."""


class LeakError(UsageError):
    """A test set has lesions, images or files that the model was trained on."""


class PreflightError(UsageError):
    """The cluster can't train as it is: checks failed before anything was started."""


class StorageUnavailable(SkinclfError):
    """The storage does not answer as it should: trying again later may help."""

    exit_status = TRY_AGAIN


class ArchiveChanged(StorageUnavailable):
    """An archive was rewritten while it was read."""


class OwnershipLost(SkinclfError):
    """Another job has taken the folder that a job was writing to."""


class StorageError(SkinclfError):
    """A file can't be written, and trying again won't help: disk full, read-only, not allowed."""


class JavaError(UsageError):
    """No Java that Spark can run on."""


class CheckError(SkinclfError):
    """A job's closing check failed: rows were lost, doubled, or are in two splits."""


class QualityError(CheckError):
    """What was read or measured is below the quality that the settings ask for.

    Everything is written. Another try gives the same, until the input or the model is another.
    `result` is what a function of skinclf.api would have returned, where there is something.
    """

    exit_status = LOW_QUALITY
    result: object = None


class SparkJobError(SkinclfError):
    """Spark ended a job; what is done stays done, and the same command resumes."""


class ExecutorsLost(SparkJobError):
    """Spark ended a job, or did not start, since executors, their data or its master are gone."""

    exit_status = TRY_AGAIN


class TrainingError(SkinclfError):
    """Training ended without a model."""


class WorkersLost(TrainingError):
    """Training was interrupted from outside: trying again may help."""

    exit_status = TRY_AGAIN


class SlotsUnavailable(TrainingError):
    """The cluster had too few free slots for as long as `train` may wait."""

    exit_status = TRY_AGAIN
