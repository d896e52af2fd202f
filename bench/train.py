"""What our training loop, a second slot and bfloat16 cost or gain, against Keras and PyTorch.

    .venv/bin/python -m bench.train
    .venv/bin/python -m bench.train --network compact
    .venv/bin/python -m bench.train --torch ENVIRONMENT/bin/python   # one that has torch

In one run, in turns, each contender in processes of its own: the same network, threads, batch
and images. One slot has all threads, two slots have half of them each and talk over gRPC as they
would in Spark's tasks. The first epoch (tracing, warm-up) is not counted. The input pipeline is
timed apart: the same batches, without a step.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.measure import print_table
from bench.shards import write_shards
from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.storage.dataset_folder import MANIFEST, Dataset
from skinclf.training import import_tensorflow
from skinclf.training.batches import Order, training_batches
from skinclf.training.shards import ShardReader
from tests.support.ports import free_ports

KERAS = ("fit float32", "fit bfloat16")
OURS = ("1 slot float32", "2 slots float32", "1 slot bfloat16", "2 slots bfloat16")
TORCH = ("torch float32", "torch bfloat16")

Result = dict[str, float]
"""rate: images/s; cpu_ms: CPU milliseconds an image, of all processes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2, help="counted ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default=ModelConfig().name, help="model.name")
    parser.add_argument("--torch", help="the Python of an environment that has torch")
    for name in ("--run", "--data", "--addresses"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(work(arguments)))
        return
    if arguments.torch and arguments.network != ModelConfig().name:
        parser.error("PyTorch has the paper's network alone")
    contenders = [*KERAS, *OURS, *(TORCH if arguments.torch else ())]
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
        dataset = write_shards(folder, arguments.images)
        Path(folder, MANIFEST).write_text(dataset.to_json())
        pipeline = {
            "in memory": pipeline_ms(dataset, arguments, memory_bytes=2**40),
            "streamed": pipeline_ms(dataset, arguments, memory_bytes=0),
        }
        for _ in range(arguments.rounds):
            for name in contenders:
                results[name].append(contend(name, folder, arguments))
                print(name, results[name][-1], flush=True)
    tell(results, pipeline, arguments)


def tell(
    results: dict[str, list[Result]], pipeline: dict[str, float], arguments: argparse.Namespace
) -> None:
    cpu = {n: statistics.median(r["cpu_ms"] for r in results[n]) for n in results}
    rate = {n: statistics.median(r["rate"] for r in results[n]) for n in results}
    rows = [
        [
            *(name, f"{cpu[name]:.2f}", f"{cpu['fit float32'] / cpu[name]:.2f}"),
            *(f"{rate[name]:.0f}", f"{rate[name] / rate['fit float32']:.2f}"),
        ]
        for name in results
    ]
    columns = ["", "CPU ms an image", "fit / this", "images/s", "this / fit"]
    what = f"train, batch {arguments.batch}, {arguments.threads} threads in all"
    print_table(f"{what}, median of {arguments.rounds} rounds", columns, rows)
    ratios = [
        ("1 slot / fit, float32", "1 slot float32", "fit float32"),
        ("bfloat16 / float32, 1 slot", "1 slot bfloat16", "1 slot float32"),
        ("2 slots / 1 slot, float32", "2 slots float32", "1 slot float32"),
        ("2 slots / 1 slot, bfloat16", "2 slots bfloat16", "1 slot bfloat16"),
    ]
    paired = [
        [
            title,
            *(f"{n['rate'] / o['rate']:.2f}" for n, o in zip(results[a], results[b], strict=True)),
        ]
        for title, a, b in ratios
    ]
    rounds = [f"round {n + 1}" for n in range(arguments.rounds)]
    print_table("images/s, round by round", ["", *rounds], paired)
    parts = [
        [name, f"{ms:.3f}", *(f"{100 * ms * rate[of] / 1000:.1f} %" for of in OURS[::2])]
        for name, ms in pipeline.items()
    ]
    shares = ["", "ms an image", "of a float32 step", "of a bfloat16 step"]
    print_table("input pipeline, one slot", shares, parts)


def contend(name: str, folder: str, arguments: argparse.Namespace) -> Result:
    """Run a contender in its own process, or in two that share the threads."""
    if name in TORCH:
        command = [arguments.torch, "bench/train_torch.py", "--precision", name.split()[1]]
        for option in ("images", "batch", "threads", "epochs"):
            command += [f"--{option}", str(getattr(arguments, option))]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    command = [sys.executable, "-m", "bench.train", *sys.argv[1:], "--run", name, "--data", folder]
    workers = 2 if name.startswith("2") else 1
    if workers == 2:
        command += ["--addresses", ",".join(f"127.0.0.1:{port}" for port in free_ports(2))]
    processes = [
        subprocess.Popen([*command, "--index", str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(workers)
    ]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{name} failed")
    parts = [json.loads(text.splitlines()[-1]) for text in printed]
    return {"rate": parts[0]["rate"], "cpu_ms": sum(part["cpu_ms"] for part in parts)}


def pipeline_ms(dataset: Dataset, arguments: argparse.Namespace, *, memory_bytes: int) -> float:
    """Milliseconds an image that one slot takes to make its batches, once warm."""
    reader = ShardReader(dataset, "train", range(dataset.shards), memory_bytes=memory_bytes)
    steps = range(arguments.images // arguments.batch)
    seconds = []
    for epoch in range(3):
        start = time.monotonic()
        order = Order(seed=1, epoch=epoch, window=TrainConfig().shuffle_window)
        per_shard = arguments.batch // dataset.shards
        for _ in training_batches(reader, order, rows_a_shard=per_shard, steps=steps):
            pass
        seconds.append(time.monotonic() - start)
    return 1000 * min(seconds[1:]) / (len(steps) * arguments.batch)


def work(arguments: argparse.Namespace) -> Result:
    import_tensorflow()
    dataset = Dataset.read(arguments.data)
    contender = fit_epoch if arguments.run in KERAS else our_epoch
    one_epoch = contender(dataset, arguments)
    one_epoch(1)
    clock, cpu = time.monotonic(), time.process_time()
    for epoch in range(arguments.epochs):
        one_epoch(epoch + 2)
    images = arguments.images * arguments.epochs
    return {
        "rate": images / (time.monotonic() - clock),
        "cpu_ms": 1000 * (time.process_time() - cpu) / images,
    }


def our_epoch(dataset: Dataset, arguments: argparse.Namespace) -> Callable[[int], object]:
    from skinclf.storage.run_folder import RunFolder
    from skinclf.training.job import TrainingJob, WorkerContext
    from skinclf.training.loop import Worker, start_of_epoch, train_epoch
    from skinclf.training.trainer import make_trainer

    config = TrainConfig(
        global_batch_size=arguments.batch,
        precision=arguments.run.split()[-1],
        image_cache_mb=2**20,
    )
    addresses = tuple(filter(None, arguments.addresses.split(",")))
    threads = arguments.threads // max(len(addresses), 1)
    model = ModelConfig(name=arguments.network)
    job = TrainingJob(dataset, RunFolder(""), model, config)
    context = WorkerContext(arguments.index, addresses, threads)
    worker = Worker(job, context, lambda _doing, **_state: None)
    reader = worker.reader("train")
    trainer = make_trainer(job, context)
    done: list[dict[str, float]] = []

    def epoch(_number: int) -> None:
        train_epoch(trainer, reader, worker, start_of_epoch(job, done))
        done.append({})

    return epoch


def fit_epoch(dataset: Dataset, arguments: argparse.Namespace) -> Callable[[int], object]:
    """The same network in plain Keras, on arrays in memory."""
    import keras

    from skinclf.training.networks import build_network
    from skinclf.training.strategy import limit_threads

    limit_threads(arguments.threads)
    model = build_network(
        ModelConfig(name=arguments.network),
        dataset.image,
        len(dataset.taxonomy),
        dropout=TrainConfig().dropout,
        precision=arguments.run.split()[-1],
    )
    model.compile(
        optimizer=keras.optimizers.Adam(), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    reader = ShardReader(dataset, "train", range(dataset.shards), memory_bytes=2**40)
    parts = [reader.read(piece) for pieces in reader.pieces.values() for piece in pieces]
    pixels = np.concatenate([part.pixels for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    one_hot = np.eye(len(dataset.taxonomy), dtype=np.float32)[labels]
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
