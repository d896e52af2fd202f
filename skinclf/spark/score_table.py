"""A model's scores as a table of Spark's catalog, which follows the folder.

The folder is the record: what is done, its manifest says. After each commit the table is compared
with the manifest and gets what it lacks. So it does not matter where a job was killed, or whether
the table was named from the first job on.
"""

import hashlib
import logging

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from skinclf.config.schema import ScoreConfig
from skinclf.errors import CheckError, ConfigError
from skinclf.spark.catalog import quoted
from skinclf.spark.failures import root_cause
from skinclf.spark.reading import read_parquet_files
from skinclf.storage.files import hadoop_path, join
from skinclf.storage.score_folder import SCORES, ScoreFolder
from skinclf.storage.score_manifest import Manifest

FOLDER = "skinclf.scores"
"""The property of a table that names the folder which it follows, for people."""

OWNER = "skinclf.owner"
"""The property that stands for that folder: the SHA-256 of its path, hexadecimal."""

PART = "part"
"""The column of a copy that names the folder's file in which a row is."""

OWN_CATALOG, IMPLEMENTATION = "spark_catalog", "spark.sql.catalogImplementation"

log = logging.getLogger(__name__)


class ScoreTable:
    """An external table over the folder's own files: nothing is copied, nothing can be missing."""

    def __init__(self, spark: SparkSession, name: str, folder: ScoreFolder) -> None:
        self.spark, self.name, self.folder = spark, name, folder
        self.place = join(folder.path, SCORES)
        self.columns = self._columns()
        self._open()

    def follow(self, manifest: Manifest) -> None:
        """Make the table hold what the manifest names."""
        self.spark.catalog.refreshTable(quoted(self.name))  # this session remembers the files

    def check(self, manifest: Manifest) -> None:
        """Raise CheckError unless the table has as many rows as the manifest names."""
        self.follow(manifest)
        rows, expected = self.spark.table(quoted(self.name)).count(), count(manifest)
        if rows != expected:
            raise CheckError(
                f"score.table={self.name}: has {rows} rows, but {self.place} has {expected}; no "
                f"summary.json was written. Drop the table: the next job makes it anew"
            )

    def _columns(self) -> pa.Schema:
        return self.folder.schema(SCORES)

    def _storage(self) -> str:
        """How SQL creates the table, after its columns."""
        return f"USING parquet LOCATION {literal(hadoop_path(self.place))}"

    def _open(self) -> None:
        """Create the table, or check that it is this folder's. Raises ConfigError."""
        try:
            if self.spark.catalog.tableExists(quoted(self.name)):
                self._check_owner()
            else:
                self._create()
        except (Py4JError, PySparkException) as error:
            raise ConfigError(f"score.table={self.name}: {root_cause(str(error))}") from None

    def _create(self) -> None:
        types = from_arrow_schema(self.columns)
        columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in types)
        self.spark.sql(
            f"CREATE TABLE {quoted(self.name)} ({columns}) {self._storage()} "
            f"TBLPROPERTIES ({literal(FOLDER)} = {literal(self.folder.path)}, "
            f"{literal(OWNER)} = {literal(self._owner())})"
        )
        log.info("created the table %s", self.name)

    def _owner(self) -> str:
        """Stands for the folder's path, which Spark hides where it has "url" or "token" in it."""
        return hashlib.sha256(self.folder.path.encode()).hexdigest()

    def _check_owner(self) -> None:
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {quoted(self.name)}").collect()
        properties = {row["key"]: row["value"] for row in rows}
        if properties.get(OWNER) != self._owner():
            owner = properties.get(FOLDER, "something else")
            raise ConfigError(
                f"score.table={self.name}: exists, and is the table of {owner}, not of "
                f"{self.folder.path}. Name another one, or drop it"
            )
        found = self.spark.table(quoted(self.name)).schema
        types = {field.name: field.dataType for field in found}
        expected = {field.name: field.dataType for field in from_arrow_schema(self.columns)}
        other = sorted(
            name for name in types.keys() | expected.keys() if types.get(name) != expected.get(name)
        )
        if other:
            raise ConfigError(
                f"score.table={self.name}: its columns are not those of this score.table_format "
                f"and model: {', '.join(other)}. Drop it, and this job makes it anew"
            )


class DeltaTable(ScoreTable):
    """A copy in Delta. Each file of the folder is a partition, and what changed since the last
    commit is exchanged in one transaction: readers see the scores of one manifest.

    A repeated transaction is ignored (txnAppId, txnVersion), and so is that of a job which has
    lost the folder to another one and does not know it yet.
    """

    _parts: set[str]

    def follow(self, manifest: Manifest) -> None:
        """See ScoreTable."""
        named = {file.name for file in manifest.scores if file.rows}
        changed = sorted(named ^ self._parts)
        if not changed or not manifest.listing:  # of a folder that is new it is too early to say
            return
        missing, schema = sorted(named - self._parts), self.folder.schema(SCORES)
        files = read_parquet_files(self.spark, self.place, missing, schema, name_column=PART)
        transaction = {
            # Of this folder alone, should another one have been at its path before.
            "txnAppId": f"skinclf {manifest.listing[0].name}",
            "txnVersion": str(manifest.number),
        }
        writer = files.writeTo(quoted(self.name)).options(**transaction)
        writer.overwrite(F.col(PART).isin(changed))
        self._parts = named

    def _columns(self) -> pa.Schema:
        return super()._columns().append(pa.field(PART, pa.string()))

    def _storage(self) -> str:
        return f"USING delta PARTITIONED BY ({PART})"

    def _open(self) -> None:
        super()._open()
        found = self.spark.table(quoted(self.name)).select(PART).distinct().collect()
        self._parts = {row[PART] for row in found}


def open_table(
    spark: SparkSession, settings: ScoreConfig, folder: ScoreFolder
) -> ScoreTable | None:
    """The table that the settings name, created where there is none; None where they name none.

    Raises ConfigError where it can't be created, or is not the table of this folder.
    """
    if not settings.table:
        return None
    form = DeltaTable if settings.table_format == "delta" else ScoreTable
    table = form(spark, settings.table, folder)
    if _is_in_memory(spark, settings.table):
        log.warning(
            "score.table=%s: this session's catalog is in memory, and what is named there ends "
            'with it. spark.sql.catalogImplementation = "hive" keeps it',
            settings.table,
        )
    return table


def _is_in_memory(spark: SparkSession, name: str) -> bool:
    """Whether a table is in Spark's own catalog, and that in no metastore."""
    catalog, _, rest = name.partition(".")
    if "." not in rest:
        catalog = spark.catalog.currentCatalog()
    if catalog != OWN_CATALOG or spark.conf.get(IMPLEMENTATION, None) == "hive":
        return False
    instead = spark.conf.get(f"spark.sql.catalog.{OWN_CATALOG}", None) or "builtin"
    return instead == "builtin" or instead.startswith("org.apache.spark.sql.delta.")


def count(manifest: Manifest) -> int:
    """The scores that a manifest names."""
    return sum(file.rows for file in manifest.scores)


def literal(text: str) -> str:
    """Text as SQL has it."""
    return "'{}'".format(text.replace("\\", r"\\").replace("'", r"\'"))
