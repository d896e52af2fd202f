"""Files below folders, each real file once, whatever links lead to it."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from pyarrow import fs

from skinclf.archives.files import version_of
from skinclf.archives.formats import is_archive
from skinclf.archives.names import Selection, text_of
from skinclf.errors import ArchiveError
from skinclf.storage.files import below, local_path, locate, uri
from skinclf.system.retrying import retried
from skinclf.system.uris import split_options

T = TypeVar("T")


class Found(NamedTuple):
    """A file that was found, or what is there in place of a file."""

    file: str  # URI
    name: str  # its path below the folder that was named; its own name if it was named itself
    size: int | None = None  # bytes
    version: str | None = None
    reason: str | None = None  # why it can't be read at all
    detail: str | None = None
    below: bool = False  # whether it was found in a folder rather than named


class Walk:
    """Lists the files of several paths, folder by folder; remembers folders and links alone.

    A folder is entered once, whatever leads to it, and its real place comes before links to it. A
    symbolic link to a file is a file of its own only if its target is not listed anyway; so links
    come last (`linked`). `repeated_links` counts the others. What `selection` does not take is
    listed all the same, but a link to it is a file, or a folder, of its own.
    """

    def __init__(self, leave_out: Sequence[str] = (), selection: Selection | None = None) -> None:
        self._selection = selection or Selection()
        local = map(local_path, filter(None, leave_out))  # "" would be the current folder
        self._left_out = {os.path.realpath(path) for path in local if path}
        self._left_out_elsewhere = [path for path in leave_out if path and not local_path(path)]
        # Real path of those entered → the beginning of names in it. No inode: some file systems
        # give several folders one.
        self._folders: dict[str, str] = {}
        self._targets: set[str] = set()  # real paths of the files that were named or linked to
        self._linked_folders: list[tuple[str, str]] = []  # (path, beginning of names in it)
        self._linked_files: list[tuple[str, str]] = []  # (path, name)
        self.repeated_links = 0

    def files(self, path: str) -> Iterator[Found]:
        """Every file below a path or URI, or the one file that it is; of links, see `linked`.

        Raises ArchiveError if there is nothing, and StorageUnavailable if the storage fails.
        """
        local = local_path(path)
        if local is None:
            yield from _remote_files(path, self._left_out_elsewhere)
        elif _is_folder(lambda: stat.S_ISDIR(os.stat(local).st_mode), local):
            yield from self._below(local, "")
        elif os.path.lexists(local):
            self._targets.add(os.path.realpath(local))
            yield local_file(local)
        else:
            raise ArchiveError(f"{path}: no such file or folder; expected images, or a zip of them")

    def linked(self) -> Iterator[Found]:
        """The files to which links below the folders lead and that were not listed yet."""
        while self._linked_folders:
            yield from self._below(*self._linked_folders.pop(0))
        for path, name in self._linked_files:
            if self._is_new(path):
                yield local_file(path, name)
            else:
                self.repeated_links += 1

    def _below(self, root: str, prefix: str) -> Iterator[Found]:
        folders = [(root, prefix)]
        while folders:
            folder, prefix = folders.pop()
            try:
                if not self._enter(folder, prefix):
                    continue
                entries = retried(partial(_entries, folder), folder)
            except OSError as error:
                detail = f"the folder can't be listed: {error.strerror}"
                yield Found(uri(folder), prefix, reason="unreadable", detail=detail, below=True)
                continue
            for entry in entries:
                name = f"{prefix}{text_of(os.fsencode(entry.name))}"
                link = entry.is_symlink()
                if _is_folder(entry.is_dir, entry.path):
                    (self._linked_folders if link else folders).append((entry.path, f"{name}/"))
                elif link:
                    self._linked_files.append((entry.path, name))
                else:
                    yield local_file(entry.path, name)

    def _enter(self, folder: str, prefix: str) -> bool:
        """Whether a folder is entered for the first time, and not one that is left out."""
        place = os.path.realpath(folder)
        if place in self._left_out:
            return False
        before = self._folders.get(place)
        if before is not None and (self._is_taken(before) or not self._is_taken(prefix)):
            return False
        self._folders[place] = prefix
        return True

    def _is_taken(self, prefix: str) -> bool:
        return self._selection.excluded_by(prefix) is None

    def _is_new(self, link: str) -> bool:
        """Whether a link leads to a file that is not listed yet, or nowhere."""
        target = os.path.realpath(link)
        try:
            _stat(target)
        except OSError:
            return True
        prefix = self._folders.get(os.path.dirname(target))
        if target in self._targets or (prefix is not None and self._takes(prefix, target)):
            return False
        self._targets.add(target)
        return True

    def _takes(self, prefix: str, file: str) -> bool:
        """Whether a file is read where it lies, in a folder that was entered."""
        name = f"{prefix}{text_of(os.fsencode(os.path.basename(file)))}"
        return self._is_taken(name) and (is_archive(name) or self._selection.includes(name))


def local_file(path: str, name: str = "") -> Found:
    """What a local path is; `name` is its path below the folder that was named, if one was."""
    below = bool(name)
    name = name or text_of(os.fsencode(os.path.basename(path)))
    try:
        found = _stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        gone = isinstance(error, FileNotFoundError)
        detail = str(error)
        if gone:
            detail = "a link that leads nowhere" if os.path.islink(path) else "no such file"
        reason = "vanished" if gone else "unreadable"
        return Found(uri(path), name, reason=reason, detail=detail, below=below)
    if not stat.S_ISREG(found.st_mode):
        detail = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, FIFO or socket"
        return Found(uri(path), name, reason="not_a_file", detail=detail, below=below)
    version = version_of(found.st_mtime_ns, found.st_size)
    return Found(uri(path), name, found.st_size, version, below=below)


def remote_file(path: str, info: fs.FileInfo) -> Found:
    """What the file system of a URI says of it."""
    name = text_of(unquote_to_bytes(split_options(path)[0].rpartition("/")[2]))
    if info.type == fs.FileType.File:
        return Found(path, name, info.size, version_of(info.mtime_ns, info.size))
    if info.type == fs.FileType.NotFound:
        return Found(path, name, reason="vanished", detail="no such file")
    return Found(path, name, reason="not_a_file", detail="a folder")


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _is_folder(ask: Callable[[], bool], path: str) -> bool:
    """What `ask` says of a path; False where it is nothing. Raises StorageUnavailable."""
    try:
        return retried(ask, path)
    except (OSError, ValueError):  # such as a link to itself
        return False


def _stat(path: str) -> os.stat_result:
    """`os.stat`, tried again. Raises OSError and StorageUnavailable as `retried` does."""
    return retried(partial(os.stat, path), path)


def _remote_files(path: str, leave_out: Sequence[str]) -> Iterator[Found]:
    """Files of an object store, or of another file system that pyarrow reaches, without what is
    below the URIs of `leave_out`.
    """
    file_system, inner = _listed(partial(locate, path), path)
    info = _listed(lambda: file_system.get_file_info(inner), path)
    if info.type == fs.FileType.NotFound:
        raise ArchiveError(f"{path}: no such file or folder; expected images, or a zip of them")
    if info.type == fs.FileType.File:
        yield remote_file(path, info)
        return
    places = [(each, place.rstrip("/")) for each, place in map(locate, leave_out)]
    left_out = {place for each, place in places if each.equals(file_system)}
    folders = [inner]
    while folders:
        folder = folders.pop()
        if folder.rstrip("/") in left_out:
            continue
        found = _listed(partial(file_system.get_file_info, fs.FileSelector(folder)), path)
        for entry in sorted(found, key=lambda entry: entry.path):
            if entry.type == fs.FileType.Directory:
                folders.append(entry.path)
            elif entry.type == fs.FileType.File:
                name = entry.path.removeprefix(inner.rstrip("/")).lstrip("/")
                version = version_of(entry.mtime_ns, entry.size)
                yield Found(below(path, name), name, entry.size, version, below=True)


def _listed(read: Callable[[], T], path: str) -> T:
    """What `read` returns, tried again. Raises ArchiveError where the storage refuses it."""
    try:
        return retried(read, path)
    except OSError as error:
        raise ArchiveError(f"{path}: can't be listed: {error}") from None
