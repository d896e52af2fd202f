"""Images with their diagnoses: an archive, and what the words in its table mean."""

from collections.abc import Iterator
from dataclasses import dataclass

from skinclf.archives.lists import TABLE
from skinclf.archives.metadata import Malformed, check_metadata_file, class_labels, read_metadata
from skinclf.archives.metadata_formats import Row
from skinclf.archives.same_lesion import SHIPPED
from skinclf.archives.sources import Source, read_sources
from skinclf.config.schema import FOLDERS, ArchiveConfig, MetadataConfig
from skinclf.spec.taxonomy import Taxonomy
from skinclf.storage.files import absolute


@dataclass(frozen=True)
class LabelledArchive:
    """An archive whose images have a diagnosis, by a table or by their folders."""

    archive: ArchiveConfig
    words: MetadataConfig  # the table's own names of columns and diagnoses
    taxonomy: Taxonomy  # the classes that a diagnosis can be

    @property
    def by_folder(self) -> bool:
        """Whether folders are the classes: there is no table."""
        return self.archive.metadata == FOLDERS

    def check_table(self) -> None:
        """Raise MetadataError or ConfigError for a table of no use: `check_metadata_file`."""
        check_metadata_file(self.archive.metadata, self.taxonomy, self.words)

    def rows(self) -> Iterator[Row | Malformed]:
        """Every row of the table: `read_metadata`."""
        return read_metadata(self.archive.metadata, self.taxonomy, self.words)

    def labels(self) -> dict[str, str]:
        """The table's own words for diagnoses, and their classes: `class_labels`."""
        return class_labels(self.words, self.taxonomy)

    def sources(self) -> dict[str, Source]:
        """How much there is of each source: `read_sources`."""
        return read_sources(self.archive.metadata, self.taxonomy, self.words)


def absolute_archive(archive: ArchiveConfig) -> ArchiveConfig:
    """The archive with absolute paths: relative ones name other files in another working folder."""
    words = {"", FOLDERS, *SHIPPED}
    places = {name: getattr(archive, name) for name in ("metadata", "same_lesion")}
    paths = (path if path.startswith(TABLE) else absolute(path) for path in archive.paths)
    absolute_places = {n: p if p in words else absolute(p) for n, p in places.items()}
    return archive.model_copy(update={"paths": tuple(paths), **absolute_places})
