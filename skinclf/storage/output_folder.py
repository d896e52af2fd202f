"""A folder that a job writes its output to: whose it is, and whether it is finished.

A finished one has its manifest, written last. One that a job is writing, or left half written,
has a file `unfinished` instead. Any other folder is somebody else's and is not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skinclf.errors import UsageError
from skinclf.storage.files import delete, exists, join, write_text

UNFINISHED = "unfinished"


@dataclass(frozen=True)
class OutputFolder:
    """`path` is the setting `section`.path; `parts` are the folders that the job makes in it."""

    path: str
    section: str
    manifest: str
    parts: Sequence[str]

    def check(self, *, overwrite: bool) -> None:
        """Raise UsageError where a finished output (without `overwrite`) is in the way, or
        something that no job of ours wrote.
        """
        finished = exists(join(self.path, self.manifest))
        if finished and not overwrite:
            raise UsageError(
                f"{self.path}: is finished (it has {self.manifest}). Name another folder "
                f"({self.section}.path) or allow its replacement: "
                f"--set {self.section}.overwrite=true"
            )
        foreign = [name for name in self.parts if exists(join(self.path, name))]
        if foreign and not finished and not exists(join(self.path, UNFINISHED)):
            raise UsageError(
                f"{self.path}: holds {', '.join(foreign)}, which no job of ours wrote there. "
                f"Name another folder: --set {self.section}.path=NAME"
            )

    def begin(self, *, overwrite: bool) -> None:
        """Check, and remove what an earlier job left; to be called when all inputs are known."""
        self.check(overwrite=overwrite)
        write_text(join(self.path, UNFINISHED), "A skinclf job is writing here, or was.\n")
        for name in (self.manifest, *self.parts):
            delete(join(self.path, name))

    def finish(self, manifest: str) -> None:
        """Write the manifest's text: from now on the output is whole."""
        write_text(join(self.path, self.manifest), manifest)
        delete(join(self.path, UNFINISHED))
