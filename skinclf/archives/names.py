"""Names of files and of members: bytes that become text, and which of them are left out."""

import codecs
import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from skinclf.system.text import normalized

PERCENT = "skinclf.percent"


def _percent(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: undecodable bytes become %XX, as in a URI."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in found), error.end


codecs.register_error(PERCENT, _percent)


def text_of(name: bytes) -> str:
    """A name as text: UTF-8, bytes that are not and NUL percent-encoded (`caf%E9.jpg`)."""
    return name.decode("utf-8", PERCENT).replace("\0", "%00")


def image_id_of(name: str) -> str:
    """The last part of a name without its ending and outer blanks: `deep/ISIC_1.jpg` → `ISIC_1`.

    Digits are no ending: DICOM files are often called like their UID, 1.2.840.113619.2.1.
    """
    path = PurePosixPath(name)
    return normalized(path.name if path.suffix[1:].isdigit() else path.stem)


LONGEST_NAME = 4096
"""Characters in the name of a member with its folders: no file system takes longer paths."""

LONGEST_SHOWN = 100
"""Characters of a name in the detail of a reject, and of one that is too long."""


def shown(name: str) -> str:
    """A name as a reject shows it: it may have a megabyte."""
    return name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..."


IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".mpo", ".jp2", ".j2k", ".j2c", ".jpx"),
    *(".heic", ".heif", ".hif", ".dcm", ".dicom"),
)
"""Of image files, in lower case. Any other ending may be a part of an id: `patient.12`."""


def id_in_table(text: str) -> str:
    """The image_id that a table means: `deep/ISIC_1.jpg`, `deep\\ISIC_1` and `ISIC_1` → `ISIC_1`.

    Files have their ids by `image_id_of`.
    """
    return without_image_ending(normalized(re.split(r"[/\\]", text)[-1])) or text


def without_image_ending(name: str) -> str:
    """A name that someone wrote, which may end as files do: `ISIC_1.jpg` → `ISIC_1`."""
    stem, dot, ending = name.rpartition(".")
    return stem.strip() if f"{dot}{ending}".lower() in IMAGE_ENDINGS else name


class Selection:
    """Which names are read: `include` and `exclude` patterns, matched without case.

    A file is left out if `exclude` fits any part of its path below the folder or archive that was
    named, or if `include` has patterns and none fits its last part. `left_out` counts what
    `exclude` left out, by pattern, `not_included` what `include` left out, and `repeated_links` the
    links to files that are listed anyway.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [pattern.lower() for pattern in include]
        self._exclude = [pattern.lower() for pattern in exclude]
        self.left_out: Counter[str] = Counter()
        self.not_included = 0
        self.repeated_links = 0

    def excludes(self, name: str) -> bool:
        """Whether a file is left out, which is counted; `name` is its path, parted by `/`."""
        pattern = self.excluded_by(name)
        if pattern is not None:
            self.left_out[pattern] += 1
        return pattern is not None

    def excluded_by(self, name: str) -> str | None:
        """The pattern that leaves out a path, or all below it; None where it is not left out."""
        parts = name.lower().split("/")
        fits = (p for p in self._exclude if any(fnmatch.fnmatchcase(part, p) for part in parts))
        return next(fits, None)

    def is_included(self, name: str) -> bool:
        """`includes`, and what is not wanted is counted."""
        included = self.includes(name)
        self.not_included += not included
        return included

    def includes(self, name: str) -> bool:
        """Whether a file of this name is wanted."""
        last = name.lower().rpartition("/")[2]
        return not self._include or any(
            fnmatch.fnmatchcase(last, pattern) for pattern in self._include
        )

    def summaries(self) -> list[str]:
        """What was left out, a line for each cause; none where nothing was."""
        lines = []
        if self.left_out:
            kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(self.left_out.items()))
            total = f"{self.left_out.total():,}"
            lines.append(f"left out {total} files by archive.exclude: {kinds}")
        if self.not_included:
            lines.append(f"left out {self.not_included:,} files that archive.include does not name")
        if self.repeated_links:
            links = f"{self.repeated_links:,} symbolic links"
            lines.append(f"left out {links} to files that are listed anyway")
        return lines
