"""Scoring full-size photographs: ours against the ways that people know, in one run.

    .venv/bin/python -m bench.score --source ORIGINALS.zip --run runs/first

Every contender decodes the same files, extracted beforehand, and answers with the same model;
each is timed at two sizes in processes of its own, so that start-up cancels out. `loop` is the
paper's way (Pillow and `model.predict` by batch in one process), `spark` the one that Spark
documents (binaryFile, decode in a UDF, predict_batch_udf), `floor` decoding alone in a process
pool plus the network alone on the same cores.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import zipfile
from pathlib import Path

from bench.measure import SKINCLF, Cost, measured, print_table

CONTENDERS = ("floor", "skinclf", "loop", "spark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="a zip or folder of full-size images")
    parser.add_argument("--run", required=True, help="a finished run")
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--large", type=int, default=1400)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        globals()[f"by_{arguments.contender}"](arguments.folder, arguments.run)
        return
    rows: dict[str, list[Cost]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
        for size in (arguments.small, arguments.large):
            extract(arguments.source, Path(folder, str(size)), size)
        for _ in range(arguments.rounds):
            for name in CONTENDERS:
                small, large = (
                    measured(command(name, f"{folder}/{size}", arguments.run))
                    for size in (arguments.small, arguments.large)
                )
                images = arguments.large - arguments.small
                cost = Cost(
                    1000 * (large.seconds - small.seconds) / images,
                    1000 * (large.cpu_seconds - small.cpu_seconds) / images,
                )
                rows[name].append(cost)
                print(name, cost, flush=True)
    tell(rows, arguments)


def tell(rows: dict[str, list[Cost]], arguments: argparse.Namespace) -> None:
    clock = {name: statistics.median(c.seconds for c in rows[name]) for name in rows}
    cpu = {name: statistics.median(c.cpu_seconds for c in rows[name]) for name in rows}
    print_table(
        f"score, {arguments.large - arguments.small:,} images more, ms an image",
        ["", "CPU ms", "against floor", "ms by the clock", "images/s"],
        [
            [
                *(name, f"{cpu[name]:.2f}", f"{cpu[name] / cpu['floor']:.2f}"),
                *(f"{clock[name]:.2f}", f"{1000 / clock[name]:.0f}"),
            ]
            for name in CONTENDERS
        ],
    )


def command(name: str, folder: str, run: str) -> list[str]:
    if name != "skinclf":
        own = ["--contender", name, "--folder", folder, "--run", run]
        return [sys.executable, "-m", "bench.score", *own]
    shutil.rmtree(f"{folder}-scores", ignore_errors=True)
    settings = [f"score.paths={folder}", f"score.path={folder}-scores", f"run.path={run}"]
    return [SKINCLF, "score", *(word for s in settings for word in ("--set", s))]


def extract(source: str, folder: Path, count: int) -> None:
    """The first `count` images of a source that may have fewer: then some come again."""
    folder.mkdir()
    if source.endswith(".zip"):
        with zipfile.ZipFile(source) as archive:
            names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))
            for number in range(count):
                content = archive.read(names[number % len(names)])
                (folder / f"{number:06}.jpg").write_bytes(content)
        return
    files = sorted(Path(source).rglob("*.jpg"))
    for number in range(count):
        shutil.copy(files[number % len(files)], folder / f"{number:06}.jpg")


def by_floor(folder: str, run: str) -> None:
    """Decode alone in a pool of all cores, then the network alone with one thread a core."""
    import multiprocessing

    from skinclf.learn.predictor import Predictor

    with multiprocessing.get_context("spawn").Pool() as pool:
        images = pool.map(_decoded, sorted(map(str, Path(folder).iterdir())), chunksize=32)
    predict = Predictor.of_run(run).load(threads=0)
    for start in range(0, len(images), 64):
        predict(_stack(images[start : start + 64]))


def by_loop(folder: str, run: str) -> None:
    """One process, Pillow's full decoding, `model.predict` by batch."""
    import keras
    import numpy as np
    from PIL import Image

    model = keras.models.load_model(f"{run}/model.keras", compile=False)
    files = sorted(Path(folder).iterdir())
    for start in range(0, len(files), 64):
        batch = [
            np.asarray(Image.open(file).convert("RGB").resize((100, 75), Image.Resampling.BICUBIC))
            for file in files[start : start + 64]
        ]
        model.predict(np.stack(batch), verbose=0)


def by_spark(folder: str, run: str) -> None:
    """As Spark's documentation of predict_batch_udf has it."""
    import numpy as np
    import pandas as pd
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.pandas.functions import pandas_udf
    from pyspark.sql.types import ArrayType, FloatType

    from skinclf.config import SparkConfig
    from skinclf.image import decode_rgb
    from skinclf.tables.session import spark_session

    @pandas_udf(ArrayType(FloatType()))  # type: ignore[call-overload]
    def decoded(content: pd.Series) -> pd.Series:
        return content.map(
            lambda file: decode_rgb(file, max_pixels=10**8).astype(np.float32).ravel()
        )

    def make_predict():  # type: ignore[no-untyped-def]
        import keras

        model = keras.models.load_model(f"{run}/model.keras", compile=False)
        return lambda inputs: model.predict(inputs, verbose=0)

    with spark_session("bench", SparkConfig()) as spark:
        predict = predict_batch_udf(
            make_predict,
            return_type=ArrayType(FloatType()),
            batch_size=64,
            input_tensor_shapes=[[75, 100, 3]],
        )
        images = spark.read.format("binaryFile").load(folder)
        scored = images.select("path", predict(decoded("content")).alias("scores"))
        scored.write.parquet(f"{folder}-spark", mode="overwrite")


def _decoded(file: str) -> bytes:
    from skinclf.image import decode_rgb

    return decode_rgb(Path(file).read_bytes(), max_pixels=10**8).tobytes()


def _stack(images: list[bytes]):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, 75, 100, 3)


if __name__ == "__main__":
    main()
