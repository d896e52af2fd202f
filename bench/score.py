"""Scoring full-size photographs: ours against the ways that people know, in one run.

    .venv/bin/python -m bench.score --source ORIGINALS.zip --run runs/first

Every contender decodes the same files, extracted beforehand, and answers with the same model.
`floor` is our decoder and our engine in a process pool, and nothing else; `loop` the paper's way
(Pillow's full decoding and `model.predict` by batch in one process), `spark` the one that Spark
documents (binaryFile, decode in a UDF, predict_batch_udf). With --peers PYTHON, an interpreter that
has them, Ray Data and Daft come too, each in its best form: paths go to an actor a core, which
reads, decodes and scores.
"""

import argparse
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import SKINCLF
from bench.paired import Run, Sizes, compared

PEERS = ("ray", "daft")
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="a zip or folder of full-size images")
    parser.add_argument("--run", required=True, help="a finished run")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=11_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contenders", nargs="*", default=["skinclf"], help="besides the floor")
    parser.add_argument("--peers", metavar="PYTHON", help="pip install 'ray[data]' daft")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        BY[arguments.contender](arguments.folder, arguments.run)
        return
    sizes = Sizes(arguments.few, arguments.many)
    names = [*arguments.contenders, *(PEERS if arguments.peers else ())]
    found = compare(
        arguments.source, arguments.run, names, sizes, arguments.rounds, arguments.peers
    )
    print(json.dumps(found))


def compare(
    source: str, run: str, names: list[str], sizes: Sizes, rounds: int, peers: str | None = None
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as root:
        for size in (sizes.few, sizes.many):
            extract(source, Path(root, str(size)), size)
        files = [path.stat().st_size for path in Path(root, str(sizes.few)).iterdir()]
        title = f"score, JPEGs of {sum(files) / len(files) / 1000:.0f} kB"

        def contender(name: str) -> Run:
            return lambda size: command(name, f"{root}/{size}", run, peers)

        contenders = {name: contender(name) for name in ["floor", *names]}
        return compared(title, "floor", contenders, sizes, rounds)


def command(name: str, folder: str, run: str, peers: str | None) -> list[str]:
    own = ["--contender", name, "--folder", folder, "--run", run, "--source", ""]
    if name in PEERS:  # their interpreter, with our packages behind its own
        packages = os.pathsep.join([os.getcwd(), sysconfig.get_path("purelib")])
        return ["env", f"PYTHONPATH={packages}", str(peers), "-m", "bench.score", *own]
    if name != "skinclf":
        return [sys.executable, "-m", "bench.score", *own]
    shutil.rmtree(f"{folder}-scores", ignore_errors=True)
    settings = [f"score.archive={folder}", f"score.output={folder}-scores", f"run.path={run}"]
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
    """Decoding and the network in a pool of a process a core, and nothing else."""
    import multiprocessing

    files = sorted(map(str, Path(folder).iterdir()))
    batches = [{"path": files[start : start + BATCH]} for start in range(0, len(files), BATCH)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(initializer=_load_scorer, initargs=[run]) as pool:
        for _ in pool.imap_unordered(_scored, batches):
            pass


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

    from skinclf.config.schema import SparkConfig
    from skinclf.spark.session import spark_session
    from skinclf.spec.image import decode_rgb

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


def by_ray(folder: str, run: str) -> None:
    import ray

    ray.init(include_dashboard=False, logging_level="error")
    paths = [{"path": str(path)} for path in sorted(Path(folder).iterdir())]
    files = ray.data.from_items(paths)
    scored = files.map_batches(
        Scorer,
        fn_constructor_args=[run],
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=os.cpu_count()),
        num_cpus=1,
    )
    scored.write_parquet(f"{folder}-ray")


def by_daft(folder: str, run: str) -> None:
    import daft

    @daft.cls(max_concurrency=os.cpu_count(), use_process=True)
    class Actor:
        def __init__(self) -> None:
            self.scorer = Scorer(run)

        @daft.method.batch(
            return_dtype=daft.DataType.list(daft.DataType.float32()), batch_size=BATCH
        )
        def score(self, path):  # type: ignore[no-untyped-def]
            return list(self.scorer({"path": path.to_pylist()})["scores"])

    paths = [str(path) for path in sorted(Path(folder).iterdir())]
    actor = Actor()
    frame = daft.from_pydict({"path": paths})
    frame = frame.with_column("scores", actor.score(frame["path"]))
    frame.write_parquet(f"{folder}-daft")


class Scorer:
    """The same decoder and the same model, for peers that keep a class for each core."""

    def __init__(self, run: str) -> None:
        from skinclf.training.engines import predictor_for

        self._predict = predictor_for(run, "auto").load(threads=1)

    def __call__(self, batch):  # type: ignore[no-untyped-def]
        images = [_decoded(path) for path in batch["path"]]
        return {"path": batch["path"], "scores": self._predict(_stack(images))}


scorer: Scorer
"""Of each process of the floor's pool."""


def _load_scorer(run: str) -> None:
    global scorer
    scorer = Scorer(run)


def _scored(batch):  # type: ignore[no-untyped-def]
    return scorer(batch)["scores"]


def _decoded(file: str) -> bytes:
    from skinclf.spec.image import decode_rgb

    return decode_rgb(Path(file).read_bytes(), max_pixels=10**8).tobytes()


def _stack(images: list[bytes]):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, 75, 100, 3)


BY: dict[str, Callable[[str, str], None]] = {
    "floor": by_floor,
    "loop": by_loop,
    "spark": by_spark,
    "ray": by_ray,
    "daft": by_daft,
}


if __name__ == "__main__":
    main()
