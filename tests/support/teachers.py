"""Models that a training learns from."""

import numpy as np

from skinclf.config.schema import Config, ModelConfig, TrainConfig
from skinclf.storage.dataset_folder import Dataset
from skinclf.storage.run_folder import Labels, RunFolder
from skinclf.training.job import TrainingJob
from skinclf.training.networks import build_network
from skinclf.training.trainer import model_bytes


def run_that_favors(label: int, dataset: Dataset, path: str) -> RunFolder:
    """A run of `dataset` whose model gives a class the highest probability, which depends on the
    image. It is the same model each time.
    """
    run, network = RunFolder(path), ModelConfig(name="tiny")
    run.begin(Config(model=network), dataset)
    classes = len(dataset.taxonomy)
    random = np.random.default_rng(label)
    fresh = build_network(network, dataset.image, classes, dropout=0.0).get_weights()
    *weights, bias = [random.normal(0, 0.1, weight.shape) for weight in fresh]
    bias[label] += 4
    weights.append(bias)
    content = model_bytes(weights, TrainingJob(dataset, run, network, TrainConfig()))
    run.write_model(content, Labels(dataset.taxonomy, dataset.image), parameters=900)
    return run
