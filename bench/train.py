"""Does our training loop cost anything? One slot of ours against plain Keras `fit`.

    .venv/bin/python -m bench.train

In one run, in turns, each in a process of its own: the same network, float32, batch, threads and
images in memory. The first epoch (tracing, warm-up) is not counted.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from bench.measure import print_table
from skinclf.config import SplitConfig, TrainConfig
from skinclf.dataset_folder import Dataset, TensorFile
from skinclf.labels import CODES
from skinclf.learn import import_tensorflow
from skinclf.learn.batches import Images

SHARDS = 16
CONTENDERS = ("fit", "skinclf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3, help="counted ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(arguments)))
        return
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(arguments.rounds):
        for name in CONTENDERS:
            command = [sys.executable, "-m", "bench.train", "--run", name, *sys.argv[1:]]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            costs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, costs[name][-1])
    cpu = {name: statistics.median(c["cpu_ms"] for c in costs[name]) for name in CONTENDERS}
    rate = {name: statistics.median(c["rate"] for c in costs[name]) for name in CONTENDERS}
    rows = [
        [
            *(name, f"{cpu[name]:.2f}", f"{cpu['fit'] / cpu[name]:.2f}"),
            *(f"{rate[name]:.0f}", f"{rate[name] / rate['fit']:.2f}"),
        ]
        for name in CONTENDERS
    ]
    columns = ["", "CPU ms an image", "fit / this", "images/s", "this / fit"]
    title = f"train, batch {arguments.batch}, {arguments.threads} thread(s), float32"
    print_table(f"{title}, median of {arguments.rounds} rounds", columns, rows)


def run(arguments: argparse.Namespace) -> dict[str, float]:
    import_tensorflow()
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (arguments.images, 75, 100, 3), np.uint8)
    labels = random.integers(0, len(CODES), arguments.images).astype(np.int32)
    contender = our_epoch if arguments.run == "skinclf" else fit_epoch
    one_epoch = contender(pixels, labels, arguments)
    one_epoch(1)
    clock, cpu = time.monotonic(), time.process_time()
    for epoch in range(arguments.epochs):
        one_epoch(epoch + 2)
    images = arguments.images * arguments.epochs
    return {
        "rate": images / (time.monotonic() - clock),
        "cpu_ms": 1000 * (time.process_time() - cpu) / images,
    }


def our_epoch(
    pixels: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace
) -> Callable[[int], object]:
    from skinclf.learn.cluster import Place
    from skinclf.learn.training import Job, make_trainer, train_epoch

    config = TrainConfig(global_batch=arguments.batch)
    place = Place(threads=arguments.threads)
    shards = {n: Images(pixels[n::SHARDS], labels[n::SHARDS]) for n in range(SHARDS)}
    dataset = Dataset(
        skinclf="",
        created="",
        sources=[],
        metadata="",
        split=SplitConfig(),
        shards=SHARDS,
        inputs=0,
        tensors=0,
        rejects={},
        counts={},
        files=[
            TensorFile(path="", split="train", shard=n, rows=len(shards[n])) for n in range(SHARDS)
        ],
    )
    trainer = make_trainer(config, place)
    job = Job(dataset, tempfile.mkdtemp(prefix="skinclf-bench-"), config, place)
    return lambda epoch: train_epoch(trainer, shards, job, epoch)


def fit_epoch(
    pixels: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace
) -> Callable[[int], object]:
    import keras

    from skinclf.learn.cluster import limit_threads
    from skinclf.learn.network import build_network

    limit_threads(arguments.threads)
    model = build_network(TrainConfig().dropout)
    model.compile(
        optimizer=keras.optimizers.Adam(), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    one_hot = np.eye(len(CODES), dtype=np.float32)[labels]
    return lambda epoch: model.fit(
        pixels,
        one_hot,
        batch_size=arguments.batch,
        epochs=epoch,
        initial_epoch=epoch - 1,
        verbose=0,
    )


if __name__ == "__main__":
    main()
