"""A folder of tables that a job builds: whose it is, and when it is finished.

The manifest is the commit. It is written last and names the tables' files; what it does not name
does not exist. A new output takes the place of a finished one in the moment in which its manifest
does: until then the old one stays whole. A folder without a manifest in which a job of ours writes,
or wrote, has a file `unfinished`. Any other folder is somebody else's and is not touched.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pyarrow import fs

from skinclf.errors import UsageError
from skinclf.storage.files import delete, exists, join, locate, write_text

UNFINISHED = "unfinished"

WRITTEN = re.compile(
    r"(\w+-\d+-[0-9a-f]{12}|none)\.parquet"  # as tasks of ours name what they write
    r"|\.?part-\d+-.+|\.?_SUCCESS.*"  # as Spark does, and did for earlier versions
)
"""Names of files that a job may remove: what else lies there is somebody's."""


@dataclass(frozen=True)
class OutputFolder:
    """`path` is the setting `section`.path, and `tables` are the folders of files in it.

    `card` is a page about them. `scratch` is there only while a job writes; `derived` is made from
    the tables by others.
    """

    path: str
    section: str
    manifest: str
    tables: Sequence[str]
    card: str
    scratch: str
    derived: str

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
        names = (*self.tables, self.card, self.scratch, self.derived)
        foreign = [name for name in names if exists(join(self.path, name))]
        if foreign and not finished and not exists(join(self.path, UNFINISHED)):
            raise UsageError(
                f"{self.path}: holds {', '.join(foreign)}, which no job of ours wrote there. "
                f"Name another folder ({self.section}.path), or move them away"
            )

    def begin(self, *, overwrite: bool, named: Collection[str] = ()) -> None:
        """Check, and remove what earlier jobs left; to be called when all inputs are known.

        `named` are the files of the finished output that is there; they stay until `finish`.
        """
        self.check(overwrite=overwrite)
        write_text(join(self.path, UNFINISHED), "A skinclf job is writing here, or was.\n")
        self._clear(named)

    def finish(self, manifest: str, named: Collection[str]) -> None:
        """Write the manifest's text, which names the files `named`: from now on they are it."""
        delete(join(self.path, self.derived))
        write_text(join(self.path, self.manifest), manifest)
        self._clear(named)
        delete(join(self.path, UNFINISHED))

    def _clear(self, named: Collection[str]) -> None:
        delete(join(self.path, self.scratch))
        for table in self.tables:
            clear_unnamed(self.path, table, named)


def clear_unnamed(path: str, table: str, named: Collection[str]) -> None:
    """Remove the files of jobs below the folder `table` of an output that are not `named`, and
    folders that are empty then. Names are relative to the output's `path`.
    """
    file_system, root = locate(path)
    root = root.rstrip("/")
    kept = {f"{root}/{name}" for name in named}
    selector = fs.FileSelector(f"{root}/{table}", allow_not_found=True, recursive=True)
    found = file_system.get_file_info(selector)
    files = {info.path for info in found if info.type == fs.FileType.File}
    strays = {p for p in files - kept if WRITTEN.fullmatch(p.rpartition("/")[2])}
    for stray in strays:
        with suppress(FileNotFoundError):  # a straggling task deletes what it wrote itself
            file_system.delete_file(stray)
    folders = [info.path for info in found if info.type == fs.FileType.Directory]
    for folder in sorted(folders, key=len, reverse=True):
        if not any(path.startswith(f"{folder}/") for path in files - strays):
            file_system.delete_dir(folder)
