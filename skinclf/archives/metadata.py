"""A metadata file (CSV) in one of the known formats → rows in HAM10000's columns."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from skinclf.archives import metadata_formats
from skinclf.archives.files import StorageFile, encoding_of
from skinclf.archives.metadata_formats import MAPPED, OPTIONAL, Format, Row, lower, number
from skinclf.archives.names import PERCENT, id_in_table
from skinclf.config.schema import FOLDERS, MetadataConfig
from skinclf.errors import ConfigError, MetadataError
from skinclf.spec.rejects import RejectedImage
from skinclf.spec.taxonomy import Taxonomy
from skinclf.system.text import comparable, normalized

OLDEST = 130
"""Years; a higher age is a slip of the pen or a code for unknown, such as 999."""

DELIMITERS = (",", "\t", ";")  # HAM10000's; Dataverse's .tab; a spreadsheet's in half of Europe

MISSING = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", "?"))
"""In lower case, what R, pandas, spreadsheets, databases and people write for an empty field."""

NOT_UTF_8 = re.compile("%[89a-f][0-9a-f]")
"""In a column's name: a byte that is no ASCII, percent-encoded because it is no UTF-8 either."""

ADDED = ("lesion_id", "dx_type", "age", "sex", "localization", "dataset")
"""Columns that somebody may have added to a file of any format, by HAM10000's names."""

NAMES_ALONE = MetadataConfig()
"""No columns and no labels of one's own."""


class Malformed(NamedTuple):
    """A row that can't be used."""

    image_id: str | None
    detail: str  # with its line


def check_metadata_file(path: str, taxonomy: Taxonomy, own: MetadataConfig = NAMES_ALONE) -> None:
    """Raise MetadataError unless there is such a file, of a known format or with the columns that
    `own` names; FOLDERS needs none. Raises ConfigError where a label is of no class.
    """
    if not path:
        raise MetadataError(
            "archive.metadata is empty: name the CSV with the diagnoses, such as "
            f'HAM10000_metadata.csv, or "{FOLDERS}" if each class has a folder'
        )
    class_labels(own, taxonomy)
    if path != FOLDERS:
        _format_of(path, taxonomy, own)


def class_labels(own: MetadataConfig, taxonomy: Taxonomy) -> dict[str, str]:
    """`metadata.labels`: a word in lower case → the code of its class.

    Raises ConfigError where a label is of no class.
    """
    words = {comparable(word): normalized(name) for word, name in own.labels.items()}
    labels = {word: taxonomy.code_of(name) for word, name in words.items()}
    for word, name in words.items():
        if labels[word] not in taxonomy.codes:
            raise ConfigError(
                f"metadata.labels: {word!r} is to be {name!r}, which is none of the classes "
                f"{', '.join(taxonomy.codes)} (classes.codes)"
            )
    return {word: str(code) for word, code in labels.items()}


def read_metadata(
    path: str, taxonomy: Taxonomy, own: MetadataConfig = NAMES_ALONE
) -> Iterator[Row | Malformed]:
    """Every row of a metadata file of one of FORMATS, by the CSV standard (RFC 4180).

    Columns that `own` names take the place of what the format reads, or need no format at all. Its
    labels are compared with the diagnosis in the table's words and with the format's code for it.
    An image_id may have the file's ending and path.

    Fields in quotes may hold delimiters, line breaks and doubled quotes; lines end with LF, CRLF
    or CR; UTF-8 with or without a byte order mark, or UTF-16 with one. Bytes that are not UTF-8
    are percent-encoded, as in the names of files. Blank lines are no rows. The format is known by
    the columns, which may have any order, with others between them, whatever their case. Codes are
    compared without case; sexes, places and dx_types are in lower case. An age that is no number
    of years (0 to OLDEST) is None; so is a field of MISSING, but for image_id, and for a diagnosis
    that a class is called by.

    Raises MetadataError if no format fits, or if a quoted field does not end.
    """
    labels = class_labels(own, taxonomy)
    form, delimiter = _format_of(path, taxonomy, own)
    columns = {ours: comparable(theirs) for ours, theirs in own.columns.items()}
    id_column = columns.get("image_id", form.id_column)
    for place, (line, fields) in enumerate(_records(path, delimiter)):
        if place == 0 and not isinstance(fields, str):
            header = _names(fields)
            optional = {*OPTIONAL, *columns.values()} - {columns.get("dx")}
            empty = _empty_words(header, id_column, optional, {*taxonomy.words, *labels})
            continue
        if isinstance(fields, str):
            yield Malformed(None, f"line {line}: {fields}")
            continue
        values = {
            name: None if lower(text) in missing else text or None
            for name, missing, text in zip(header, empty, map(normalized, fields), strict=False)
        }
        if len(fields) != len(header):
            image_id = values.get(id_column)
            found = f"{len(fields)} fields, {len(header)} expected"
            yield Malformed(image_id and id_in_table(image_id), f"line {line}: {found}")
            continue
        row = form.read(values, taxonomy)
        row |= {name: values.get(name) for name in ADDED if row.get(name) is None}
        row |= {ours: values[name] for ours, name in columns.items()}
        words = row.pop("words", ())
        if "dx" in columns:
            words = ()
        if row["image_id"] is None:
            yield Malformed(None, f"line {line}: no {id_column}")
            continue
        yield row | {
            "image_id": id_in_table(row["image_id"]),
            "dx": _code(row["dx"], words, labels, taxonomy),
            "age": _age(row["age"]),
            **{name: lower(row[name]) or None for name in ("sex", "localization", "dx_type")},
        }


def _empty_words(
    header: list[str], id_column: str, optional: Set[str], classes: Set[str]
) -> list[Set[str]]:
    """Of each column the words that stand for an empty field: no id is one, and in a diagnosis no
    word that a class is called by.
    """
    return [
        set() if name == id_column else MISSING if name in optional else MISSING - classes
        for name in header
    ]


def _code(
    dx: str | None, words: Sequence[str | None], labels: Mapping[str, str], taxonomy: Taxonomy
) -> str | None:
    """The class of a diagnosis; what has none stays as the format gave it.

    What is specific comes first: a label of the table's most specific word or of the format's code
    `dx` for it, a class of that name, that code, and only then words that say less (benign).
    """
    named = (
        *(labels.get(lower(word)) for word in (*words[:1], dx)),
        *(taxonomy.words.get(lower(word)) for word in (*words[:1], dx)),
        *(labels.get(lower(word)) for word in words[1:]),
        *(taxonomy.words.get(lower(word)) for word in words),
    )
    return next(filter(None, named), dx)


def _format_of(path: str, taxonomy: Taxonomy, own: MetadataConfig) -> tuple[Format, str]:
    """The format of a file and its delimiter. Raises MetadataError."""
    mapped = {comparable(name) for name in own.columns.values()}
    headers, faults = {}, []
    for delimiter in DELIMITERS:
        line, fields = next(_records(path, delimiter), (1, "there is none; the file is empty"))
        if isinstance(fields, str):  # or a name in quotes, followed by another delimiter
            faults.append(f"line {line}: {fields}")
            continue
        headers[delimiter] = names = _names(fields)
        for form, required in _candidates(taxonomy, own):
            if {*required, *mapped} <= set(names):
                read = (*required, *OPTIONAL, *mapped)
                twice = [name for name in read if names.count(name) > 1]
                if twice:
                    raise MetadataError(f"{path}: has the column {twice[0]} more than once")
                return form, delimiter
    columns = max(headers.values(), key=len, default=[])
    why = _why_unknown(columns, taxonomy, own) if len(columns) > 1 or not faults else faults[0]
    raise MetadataError(f"{path}: {why}")


def _candidates(
    taxonomy: Taxonomy, own: MetadataConfig
) -> Iterator[tuple[Format, tuple[str, ...]]]:
    """The formats that a file may have, each with the columns that it then needs."""
    for form in metadata_formats.FORMATS:
        yield form, form.required(taxonomy)
    if own.columns:
        yield MAPPED, tuple(n for n in MAPPED.required(taxonomy) if n not in own.columns)


def _why_unknown(columns: list[str], taxonomy: Taxonomy, own: MetadataConfig) -> str:
    """What is to be done about a file whose columns are of no format."""
    if any("\0" in name or NOT_UTF_8.search(name) for name in columns):
        return "is not UTF-8; expected is that, or UTF-16 with its mark"
    there = ", ".join(columns)
    for ours, theirs in own.columns.items():
        if comparable(theirs) not in columns:
            return f"has no column {theirs!r} (metadata.columns.{ours}); its columns are {there}"
    known = "; ".join(
        f"{form.name} ({', '.join(form.required(taxonomy))})" for form in metadata_formats.FORMATS
    )
    return (
        f"columns of no known format: {there}. Say in [metadata.columns] which of them are "
        f"{' and '.join(MAPPED.required(taxonomy))}. Known are, by the columns that they need: "
        f"{known}"
    )


def _records(path: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line of its beginning, fields) of each record; text instead of fields if it is damaged.

    Raises MetadataError if there is no such file or nothing after a record can be read.
    """
    try:
        file = StorageFile(path)
        file.version()  # no device or FIFO, which could be read for ever
        encoding = encoding_of(file.read_at(2, 0))
    except RejectedImage as missing:
        why = "no such file" if missing.reason == "vanished" else missing.detail
        raise MetadataError(
            f"{path}: can't be read ({why}); a CSV with the diagnoses is expected"
        ) from None
    text = io.TextIOWrapper(io.BufferedReader(file), encoding, PERCENT, newline="")
    with text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                if "expected after" in str(error):
                    yield line, f"text follows a closing quote ({error})"
                    continue
                raise MetadataError(
                    f"{path}: line {line}: {error}. Is a closing quote missing, there or before?"
                ) from None
            if fields is None:
                return
            if fields and any(field.strip() for field in fields):
                yield line, fields


def _names(fields: list[str]) -> list[str]:
    return [comparable(name) for name in fields]


def _age(text: str | None) -> float | None:
    # 45,5 in a CSV with semicolons; 85+ where the oldest are not told apart.
    years = number(text and re.sub(r"^(\d+),(\d+)$", r"\1.\2", text.removesuffix("+")))
    return years if years is not None and 0 <= years <= OLDEST else None  # NaN is not
