"""What a dataset holds, counted in Spark: the numbers behind the paper's figures 6.1–6.6."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from skinclf.spark.caching import Keep
from skinclf.spark.splits import lesion
from skinclf.spec.image import pixels_array
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.taxonomy import Taxonomy

AGE_YEARS = 5
"""HAM10000 gives ages in steps of five years."""

UNKNOWN = "unknown"

COUNTED = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization")
"""Columns of TENSORS that are kept while they are counted one by one."""

CATEGORIES = 30
"""That are listed one by one."""


@dataclass(frozen=True)
class Exploration:
    """Images by category: name → images; ages by their bin's first year."""

    images: int
    lesions: int
    classes: dict[str, int]
    dx_types: dict[str, int]
    localizations: dict[str, int]
    ages: dict[int, int]
    unknown_ages: int
    sexes: dict[str, int]
    samples: dict[str, NDArray[np.uint8]]  # diagnosis → (height, width, 3) uint8


def explore_tensors(
    tensors: DataFrame, taxonomy: Taxonomy, image: ImageSpec, keep: Keep
) -> Exploration:
    """Count TENSORS by every category and fetch one image of each class."""
    slim = keep(tensors.select(*COUNTED))
    classes = category_counts(slim, "dx", most=len(taxonomy) + 1)
    age = F.when(F.col("age") > 0, F.col("age"))  # HAM10000's 0 stands for unknown
    ages = slim.groupBy((F.floor(age / AGE_YEARS) * AGE_YEARS).alias("from")).count()
    by_age = {row["from"]: row["count"] for row in ages.orderBy("from").collect()}
    unknown_ages = by_age.pop(None, 0)
    samples = class_samples(tensors, slim, image)
    return Exploration(
        images=sum(classes.values()),
        lesions=slim.select(lesion()).distinct().count(),
        classes={code: classes[code] for code in taxonomy.codes if code in classes},
        dx_types=category_counts(slim, "dx_type"),
        localizations=category_counts(slim, "localization"),
        ages={int(start): count for start, count in by_age.items()},
        unknown_ages=unknown_ages,
        sexes=category_counts(slim, "sex"),
        samples={code: samples[code] for code in taxonomy.codes if code in samples},
    )


def category_counts(tensors: DataFrame, column: str, most: int = CATEGORIES) -> dict[str, int]:
    """Category → images, the most frequent first; empty fields count as unknown.

    What is rarer than the first `most` is one category: a column may hold anything.
    """
    category = F.coalesce(F.col(column), F.lit(UNKNOWN)).alias("category")
    counted = tensors.groupBy(category).count()
    rows = counted.orderBy(F.desc("count"), "category").limit(most).collect()
    counts = {row["category"]: row["count"] for row in rows}
    if len(rows) == most:
        others = tensors.count() - sum(counts.values())
        counts |= {f"{counted.count() - most:,} others": others} if others else {}
    return counts


def class_samples(
    tensors: DataFrame, slim: DataFrame, image: ImageSpec
) -> dict[str, NDArray[np.uint8]]:
    """The first image by image_id of each class that occurs."""
    first = slim.groupBy("dx").agg(F.min("image_id").alias("image_id"))
    chosen = [row["image_id"] for row in first.collect()]
    rows = tensors.where(F.col("image_id").isin(chosen)).select("dx", "pixels").collect()
    return {row["dx"]: pixels_array(row["pixels"], image) for row in rows}
