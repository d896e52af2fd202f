"""`python -m tests.support.connected FOLDER`: jobs on a real server of Spark Connect.

A process of its own: one that has had another session can't have one of Spark Connect.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from pyspark.sql import SparkSession
from rich.console import Console

from skinclf.errors import SkinclfError
from skinclf.spark.inference import with_scores
from skinclf.stages.prepare import prepare
from skinclf.stages.score import score_by
from tests.support.images import jpeg
from tests.support.models import Brightness
from tests.support.pipeline import pipeline_config

QUIET = Console(quiet=True)


def main(folder: Path) -> None:
    found: dict[str, object] = {}
    spark = SparkSession.builder.remote("local[2]").getOrCreate()
    found["has a SparkContext"] = hasattr(spark, "sparkContext")
    frame = spark.createDataFrame(
        [(1, jpeg((40, 90, 100))), (2, b"no image")], "id int, content binary"
    )
    rows = with_scores(frame, Brightness()).orderBy("id").collect()
    found["with_scores"] = [(row["predicted"], row["reject"]) for row in rows]
    archive = folder / "archive"
    for reader in ("pyarrow", "spark"):
        settings = (
            *(f"score.archive={archive}", f"archive.reader={reader}", "score.format=csv"),
            *(f"score.output={folder / reader}", "score.micro_batch_images=4"),
            f"score.table=scores_by_{reader}",
        )
        config = pipeline_config(folder, *settings)
        found[reader] = [asdict(score_by(Brightness(), config, QUIET))]
        (archive / "new.jpg").write_bytes(jpeg((1, 2, 3)))
        found[reader].append(asdict(score_by(Brightness(), config, QUIET)))  # type: ignore[attr-defined]
        found[f"table by {reader}"] = spark.table(f"scores_by_{reader}").count()
        (archive / "new.jpg").unlink()
    try:
        prepare(pipeline_config(folder), QUIET)
    except SkinclfError as error:
        found["prepare"] = str(error)
    spark.stop()
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
