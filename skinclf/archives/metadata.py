"""A metadata file (CSV) in one of the known formats → rows in HAM10000's columns."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from skinclf.archives.files import StorageFile, encoding_of
from skinclf.archives.names import PERCENT
from skinclf.config.schema import FOLDERS
from skinclf.errors import MetadataError
from skinclf.spec.rejects import RejectedImage
from skinclf.spec.taxonomy import Taxonomy

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
"""HAM10000's, whatever the format; None if a format or a row does not have one."""

OLDEST = 130
"""Years; a higher age is a slip of the pen or a code for unknown, such as 999."""

CONFIRMATIONS = {  # in lower case
    "histopathology": "histo",
    "serial imaging showing no change": "follow_up",
    "single image expert consensus": "consensus",
    "confocal microscopy with consensus dermoscopy": "confocal",
}
"""`diagnosis_confirm_type` of the ISIC archive → HAM10000's `dx_type`."""

ISIC_DIAGNOSES = {
    "Nevus": "nv",
    "Basal cell carcinoma": "bcc",
    "Dermatofibroma": "df",
    "Pigmented benign keratosis": "bkl",
    "Seborrheic keratosis": "bkl",
    "Solar lentigo": "bkl",
    "Lichen planus like keratosis": "bkl",
    "Solar or actinic keratosis": "akiec",
    "Squamous cell carcinoma in situ": "akiec",
    # The archive's name of HAM10000's own intraepithelial carcinomas; invasive ones have another.
    "Squamous cell carcinoma, NOS": "akiec",
}
"""`diagnosis_3` of the ISIC archive's export → code. A word in neither table has no code."""

ISIC_GROUPS = {
    "Malignant melanocytic proliferations (Melanoma)": "mel",
    "Benign soft tissue proliferations - Vascular": "vasc",
}
"""`diagnosis_2` of the ISIC archive's export → code, whatever `diagnosis_3` is."""

GROUPS, DIAGNOSES = (
    {name.lower(): code for name, code in names.items()} for names in (ISIC_GROUPS, ISIC_DIAGNOSES)
)
"""The same in lower case."""

OPTIONAL = (
    *("lesion_id", "dx_type", "age", "sex", "localization", "dataset"),
    *("age_approx", "anatom_site_general", "diagnosis_confirm_type"),
)
"""Columns that are used where there are any, in lower case."""

DELIMITERS = (",", "\t", ";")  # HAM10000's; Dataverse's .tab; a spreadsheet's in half of Europe

Fields = dict[str, str | None]
"""A row by column: names in lower case, values without surrounding blanks, None for empty."""

Row = dict[str, Any]
"""COLUMNS of one row: `age` in years as float, the rest as text."""


class Malformed(NamedTuple):
    """A row that can't be used."""

    image_id: str | None
    detail: str  # with its line


class Format(NamedTuple):
    """A kind of metadata file: known by columns that no other kind has (in lower case)."""

    name: str
    id_column: str
    columns: Callable[[Taxonomy], tuple[str, ...]]  # those that it needs besides
    read: Callable[[Fields, Taxonomy], Row]

    def required(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """The columns by which such a file is recognized."""
        return self.id_column, *self.columns(taxonomy)


def _ham10000(fields: Fields, _taxonomy: Taxonomy) -> Row:
    return {name: fields.get(name) for name in COLUMNS}


def _isic_export(fields: Fields, _taxonomy: Taxonomy) -> Row:
    codes = GROUPS.get(_lower(fields["diagnosis_2"])), DIAGNOSES.get(_lower(fields["diagnosis_3"]))
    # A diagnosis without a code is named in the reject.
    words = (fields[f"diagnosis_{level}"] for level in (3, 2, 1))
    return dict.fromkeys(COLUMNS) | {
        "lesion_id": fields.get("lesion_id"),
        "image_id": fields["isic_id"],
        "dx": next(filter(None, (*codes, *words)), None),
        "dx_type": CONFIRMATIONS.get(_lower(fields.get("diagnosis_confirm_type"))),
        "age": fields.get("age_approx"),
        "sex": fields.get("sex"),
        "localization": fields.get("anatom_site_general"),
    }


def _isic_2018(fields: Fields, taxonomy: Taxonomy) -> Row:
    """One column a class, 1 where it is the diagnosis; no lesions, no patients."""
    named = [code for code in taxonomy.codes if _number(fields[code.lower()]) == 1]
    dx = named[0] if len(named) == 1 else None
    return dict.fromkeys(COLUMNS) | {"image_id": fields["image"], "dx": dx}


FORMATS = [
    Format("HAM10000", "image_id", lambda _: ("lesion_id", "dx"), _ham10000),
    Format(
        "ISIC archive export",
        "isic_id",
        lambda _: ("diagnosis_1", "diagnosis_2", "diagnosis_3"),
        _isic_export,
    ),
    Format(
        "ISIC 2018 ground truth",
        "image",
        lambda taxonomy: tuple(code.lower() for code in taxonomy.codes),
        _isic_2018,
    ),
]
"""The registry: another kind of metadata file is one more entry."""


def check_metadata_file(path: str, taxonomy: Taxonomy) -> None:
    """Raise MetadataError unless there is such a file, of a known format; FOLDERS needs none."""
    if not path:
        raise MetadataError(
            "archive.metadata is empty: name the CSV with the diagnoses, such as "
            f'HAM10000_metadata.csv, or "{FOLDERS}" if each class has a folder'
        )
    if path == FOLDERS:
        return
    _format_of(path, taxonomy)


def read_rows(path: str, taxonomy: Taxonomy) -> Iterator[Row | Malformed]:
    """Every row of a metadata file of one of FORMATS, by the CSV standard (RFC 4180).

    Fields in quotes may hold delimiters, line breaks and doubled quotes; lines end with LF, CRLF
    or CR; UTF-8 with or without a byte order mark, or UTF-16 with one. Bytes that are not UTF-8
    are percent-encoded, as in the names of files. Blank lines are no rows. The format is known by
    the columns, which may have any order, with others between them, whatever their case. Codes
    and sexes are compared without case. An age that is no number of years (0 to OLDEST) is None.

    Raises MetadataError if no format fits, or if a quoted field does not end.
    """
    form, delimiter = _format_of(path, taxonomy)
    for number, (line, fields) in enumerate(_records(path, delimiter)):
        if number == 0 and not isinstance(fields, str):
            header = _names(fields)
            continue
        if isinstance(fields, str):
            yield Malformed(None, f"line {line}: {fields}")
            continue
        values = dict(zip(header, ((text.strip() or None) for text in fields), strict=False))
        if len(fields) != len(header):
            image_id = values.get(form.id_column)
            found = f"{len(fields)} fields, {len(header)} expected"
            yield Malformed(image_id, f"line {line}: {found}")
            continue
        row = form.read(values, taxonomy)
        if row["image_id"] is None:
            yield Malformed(None, f"line {line}: no {form.id_column}")
            continue
        yield row | {
            "dx": taxonomy.code_of(row["dx"]),
            "age": _age(row["age"]),
            "sex": _lower(row["sex"]) or None,
        }


def _format_of(path: str, taxonomy: Taxonomy) -> tuple[Format, str]:
    """The format of a file and its delimiter. Raises MetadataError."""
    headers = {}
    for delimiter in DELIMITERS:
        line, fields = next(_records(path, delimiter), (1, "there is none; the file is empty"))
        if isinstance(fields, str):
            raise MetadataError(f"{path}: line {line}: {fields}")
        headers[delimiter] = names = _names(fields)
        for form in FORMATS:
            required = form.required(taxonomy)
            if set(required) <= set(names):
                twice = [name for name in (*required, *OPTIONAL) if names.count(name) > 1]
                if twice:
                    raise MetadataError(f"{path}: has the column {twice[0]} more than once")
                return form, delimiter
    known = "; ".join(f"{form.name} ({', '.join(form.required(taxonomy))})" for form in FORMATS)
    columns = max(headers.values(), key=len)
    if any("\0" in name for name in columns):
        raise MetadataError(f"{path}: is not UTF-8; expected is that, or UTF-16 with its mark")
    raise MetadataError(
        f"{path}: columns of no known format: {', '.join(columns)}. Known are, by the "
        f"columns that they need: {known}"
    )


def _records(path: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line of its beginning, fields) of each record; text instead of fields if it is damaged.

    Raises MetadataError if there is no such file or nothing after a record can be read.
    """
    try:
        file = StorageFile(path)
        file.version()  # no device or FIFO, which could be read for ever
        encoding = encoding_of(file)
    except RejectedImage as missing:
        why = "no such file" if missing.reason == "vanished" else missing.detail
        raise MetadataError(
            f"{path}: can't be read ({why}); archive.metadata names the CSV with the diagnoses"
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
    return [name.strip().lower() for name in fields]


def _number(text: str | None) -> float | None:
    if text is None or "_" in text:  # which Python would take for 45 in 4_5
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _age(text: str | None) -> float | None:
    years = _number(text)
    return years if years is not None and 0 <= years <= OLDEST else None  # NaN is not


def _lower(text: str | None) -> str:
    return (text or "").lower()
