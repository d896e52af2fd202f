"""Does a training worker's memory grow with the dataset? At 1x and 8x the images.

    .venv/bin/python -m bench.memory

Each case is a process of its own: TensorFlow, three real steps, then all batches of an epoch.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import print_table
from bench.shards import write_shards
from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.storage.dataset_folder import MANIFEST, Dataset
from skinclf.training import import_tensorflow
from skinclf.training.batches import Order, training_batches
from skinclf.training.shards import ShardReader

MODES = {"kept in memory": 2**40, "streamed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.mode:
        print(json.dumps(peak_megabytes(Dataset.read(arguments.data), MODES[arguments.mode])))
        return
    peaks: dict[str, list[str]] = {mode: [] for mode in MODES}
    sizes = [arguments.images, 8 * arguments.images]
    for images in sizes:
        with tempfile.TemporaryDirectory(prefix="skinclf-bench-") as folder:
            Path(folder, MANIFEST).write_text(write_shards(folder, images).to_json())
            for mode in MODES:
                command = [sys.executable, "-m", "bench.memory", "--data", folder, "--mode", mode]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                peaks[mode].append(f"{float(done.stdout.splitlines()[-1]):,.0f}")
                print(f"{images:,} images {mode}: {peaks[mode][-1]} MB", flush=True)
    title = f"peak memory of one worker, MB, windows of {TrainConfig().shuffle_window} images"
    print_table(
        title,
        ["", *(f"{images:,} images" for images in sizes)],
        [[mode, *peaks[mode]] for mode in MODES],
    )


def peak_megabytes(dataset: Dataset, memory_bytes: int) -> float:
    import_tensorflow()
    from skinclf.storage.run_folder import RunFolder
    from skinclf.training.job import TrainingJob, WorkerContext
    from skinclf.training.trainer import make_trainer

    config = TrainConfig()
    shards = range(dataset.shards)
    reader = ShardReader(dataset, "train", shards, memory_bytes=memory_bytes)
    trainer = make_trainer(
        TrainingJob(dataset, RunFolder(""), ModelConfig(), config), WorkerContext()
    )
    order = Order(config.seed, epoch=1, window=config.shuffle_window)
    steps = range(dataset.count("train") // config.global_batch_size)
    rows = config.global_batch_size // dataset.shards
    for step, batch in enumerate(training_batches(reader, order, rows_a_shard=rows, steps=steps)):
        if step < 3:
            trainer.train_step(batch)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
