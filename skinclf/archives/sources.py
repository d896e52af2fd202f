"""Where images come from: the metadata column `dataset`, such as a hospital's name."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from skinclf.archives.metadata import NAMES_ALONE, Malformed, read_metadata
from skinclf.config.schema import FOLDERS, MetadataConfig
from skinclf.errors import ConfigError
from skinclf.spec.taxonomy import Taxonomy
from skinclf.system.text import printable

NO_SOURCE = ""
"""In place of the name, where an image has none."""

SETTING = "split.left_out"


class Source(NamedTuple):
    """How much a metadata file has of one source, of diagnoses that are classes."""

    images: int
    lesions: int  # an image without lesion_id is a lesion of its own


def read_sources(
    path: str, taxonomy: Taxonomy, own: MetadataConfig = NAMES_ALONE
) -> dict[str, Source]:
    """Source → what the metadata file has of it, the largest first; NO_SOURCE: the rest.

    Reads the whole file. Folders name no sources. Raises MetadataError and ConfigError.
    """
    if path == FOLDERS:
        return {}
    images: dict[str, int] = defaultdict(int)
    lesions: dict[str, set[str]] = defaultdict(set)
    for row in read_metadata(path, taxonomy, own):
        if not isinstance(row, Malformed) and row["dx"] in taxonomy.codes:
            source = row["dataset"] or NO_SOURCE
            images[source] += 1
            lesions[source].add(row["lesion_id"] or f"image {row['image_id']}")
    names = sorted(images, key=lambda name: (-images[name], name))
    return {name: Source(images[name], len(lesions[name])) for name in names}


def check_left_out(left_out: str, images: Mapping[str, int], where: str) -> None:
    """Raise ConfigError where `left_out` is no source of `images` (source → how many there are in
    `where`), or nothing else is there to train on.
    """
    named = {source: count for source, count in images.items() if source != NO_SOURCE}
    if not named:
        raise ConfigError(
            f"{SETTING}: nothing in {where} names a source. It is the column dataset of the "
            f"metadata; [metadata.columns] may say that another is it, such as "
            f'dataset = "attribution"'
        )
    if left_out not in named:
        raise ConfigError(
            f"{SETTING}: there is no source {left_out!r} in {where}; there are "
            f"{counts_in_words(named)}"
        )
    if len(images) == 1:
        raise ConfigError(
            f"{SETTING}: {printable(left_out)} is the only source in {where}: nothing is left to "
            f"train on"
        )


def counts_in_words(counts: Mapping[str, int], of: str = "images") -> str:
    """Sources with their `counts` in words, in one line, the largest first."""
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return ", ".join(f"{printable(source)} ({count:,} {of})" for source, count in rows)
