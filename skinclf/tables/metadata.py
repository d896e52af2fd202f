"""A metadata file in one of the known forms → one row an image, in HAM10000's columns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from skinclf.errors import MetadataError
from skinclf.labels import CODES, ISIC_DIAGNOSES, ISIC_GROUPS
from skinclf.storage import exists, hadoop_path

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
"""HAM10000's, whatever the form; null where a form or a row does not have one."""

OLDEST = 130
"""Years; a higher age is a slip of the pen or a code for unknown, such as 999."""

CONFIRMATIONS = {
    "histopathology": "histo",
    "serial imaging showing no change": "follow_up",
    "single image expert consensus": "consensus",
    "confocal microscopy with consensus dermoscopy": "confocal",
}
"""`diagnosis_confirm_type` of the ISIC archive → HAM10000's `dx_type`."""


@dataclass(frozen=True)
class Form:
    """A kind of metadata file: known by columns that no other kind has."""

    name: str
    required: tuple[str, ...]
    columns: Callable[[DataFrame], list[Column]]  # COLUMNS, out of the file's


def _ham10000(file: DataFrame) -> list[Column]:
    return [_column(file, name) for name in COLUMNS]


def _isic_export(file: DataFrame) -> list[Column]:
    dx = F.coalesce(
        _translated("diagnosis_2", ISIC_GROUPS), _translated("diagnosis_3", ISIC_DIAGNOSES)
    )
    return [
        _column(file, "lesion_id"),
        _column(file, "isic_id", "image_id"),
        # A diagnosis without a code is told with the reject.
        F.coalesce(dx, "diagnosis_3", "diagnosis_2", "diagnosis_1").alias("dx"),
        _translated("diagnosis_confirm_type", CONFIRMATIONS).alias("dx_type")
        if "diagnosis_confirm_type" in file.columns
        else F.lit(None).cast("string").alias("dx_type"),
        _column(file, "age_approx", "age"),
        _column(file, "sex"),
        _column(file, "anatom_site_general", "localization"),
        F.lit(None).cast("string").alias("dataset"),
    ]


def _isic_2018(file: DataFrame) -> list[Column]:
    """One column a class, 1 where it is the diagnosis; no lesions, no patients."""
    yes = [F.coalesce(F.col(code.upper()).try_cast("float") == 1, F.lit(False)) for code in CODES]
    named = F.array_compact(
        F.array(*(F.when(is_it, F.lit(code)) for is_it, code in zip(yes, CODES, strict=True)))
    )
    dx = F.when(F.size(named) == 1, named[0]).alias("dx")
    return [
        dx
        if name == "dx"
        else _column(file, "image", name)
        if name == "image_id"
        else F.lit(None).cast("float" if name == "age" else "string").alias(name)
        for name in COLUMNS
    ]


FORMS = (
    Form("HAM10000", ("lesion_id", "image_id", "dx"), _ham10000),
    Form(
        "ISIC archive export",
        ("isic_id", "diagnosis_1", "diagnosis_2", "diagnosis_3"),
        _isic_export,
    ),
    Form("ISIC 2018 ground truth", ("image", *(code.upper() for code in CODES)), _isic_2018),
)


def check_metadata_file(path: str) -> None:
    """Raise MetadataError where there is no such file; needs no Spark."""
    if not path:
        raise MetadataError(
            "archive.metadata is empty: name the CSV with the diagnoses, such as "
            "HAM10000_metadata.csv"
        )
    if not exists(path):
        raise MetadataError(
            f"{path}: no such file; archive.metadata names the CSV with the diagnoses"
        )


def read_metadata(spark: SparkSession, path: str) -> DataFrame:
    """Read a metadata file of one of FORMS → COLUMNS; all but age (years) are text.

    The form is known by the file's columns, which may stand in any order, with others between
    them. Empty fields are null, and so is an age that is no number of years (0 to OLDEST). Raises
    MetadataError where no form fits.
    """
    file = spark.read.csv(hadoop_path(path), header=True, escape='"')
    if len(file.columns) == 1 and "\t" in file.columns[0]:  # as the Dataverse's .tab has it
        file = spark.read.csv(hadoop_path(path), header=True, escape='"', sep="\t")
    for form in FORMS:
        if set(form.required) <= set(file.columns):
            return file.select(*form.columns(file))
    known = "; ".join(f"{form.name} ({', '.join(form.required)})" for form in FORMS)
    raise MetadataError(
        f"{path}: columns of no known form: {', '.join(file.columns)}. Known forms are, by the "
        f"columns that they need: {known}"
    )


def _column(file: DataFrame, name: str, alias: str | None = None) -> Column:
    alias = alias or name
    column = F.col(name) if name in file.columns else F.lit(None)
    if alias != "age":
        return column.try_cast("string").alias(alias)
    years = column.try_cast("float")
    return F.when(years.between(0, OLDEST), years).alias(alias)  # NaN is above all numbers


def _translated(column: str, names: dict[str, str]) -> Column:
    """`names` of the column's value; null where it is not among them."""
    table: Iterable[str] = chain.from_iterable(names.items())
    return F.create_map(*map(F.lit, table))[F.col(column)]


def one_row_an_image(metadata: DataFrame) -> DataFrame:
    """Group by image_id: the columns, `metadata_rows` and whether they are `conflicting`.

    A row that stands twice is one fact; two different rows for one image can't both be right.
    """
    columns = [name for name in metadata.columns if name != "image_id"]
    row = F.struct(*columns)
    return (
        metadata.groupBy("image_id")
        .agg(
            F.min(row).alias("row"),
            F.count("*").alias("metadata_rows"),
            (F.count_distinct(row) > 1).alias("conflicting"),
        )
        .select("image_id", "row.*", "metadata_rows", "conflicting")
    )
