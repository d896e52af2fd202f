"""Why an input becomes neither a tensor nor a score."""

from skinclf.errors import SkinclfError

REASONS = {
    "unreadable": "the file is not an image that can be decoded, or its bytes can't be read",
    "truncated": "the image data ends before the image does",
    "empty": "the file has no bytes",
    "unsupported": "a kind of archive, compression, image or pixel format that is not read, or not "
    "without an extra",
    "not_a_file": "a link, folder, device, FIFO or socket where a file is due",
    "nested_archive": "an archive inside an archive, which is not opened",
    "too_large": "more bytes or pixels than archive.max_file_bytes / max_pixels allow",
    "timeout": "decoding took longer than archive.max_decode_seconds",
    "crashed": "decoding ended its process, twice",
    "vanished": "the file was gone when it was read",
    "changed": "its archive was rewritten after it was listed; the next job reads it",
    "storage_error": "the storage failed; archive.storage_errors is set to continue without it",
    "no_metadata": "no metadata row has this image_id",
    "no_image": "a metadata row whose image is not in the archive",
    "malformed_row": "a metadata row with another number of fields than the header",
    "unknown_dx": "the diagnosis is none of the classes",
    "duplicate_id": "another input with this image_id was taken instead",
    "conflicting_metadata": "metadata rows for this image_id contradict each other",
}
"""The vocabulary of `rejects.reason`, each with what it means."""

LONGEST_DETAIL = 1000
"""Characters: what a decoder says may quote the file."""

READ_AGAIN = ("changed", "storage_error", "vanished")
"""Reasons that say nothing of the image: each later scoring tries such inputs again."""


class RejectedImage(SkinclfError):
    """An input that can't become a tensor; `reason` is one of REASONS.

    Raises ValueError for another reason: nobody could look it up.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason} is no reason of a reject; known are {', '.join(REASONS)}")
        self.reason = reason
        self.detail = detail and detail[:LONGEST_DETAIL]  # a listed row may have none
        super().__init__(f"{reason}: {self.detail}")

    def __reduce__(self) -> tuple[type["RejectedImage"], tuple[str, str]]:
        """Pickled by its two arguments, not by the text that they make."""
        return type(self), (self.reason, self.detail)
