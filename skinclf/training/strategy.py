"""How a worker meets the others: TensorFlow's strategy, and its private hooks."""

import json
import os

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager import context as eager_context

from skinclf.training.job import WorkerContext

HEARTBEAT_TIMEOUT_SECONDS = 20
"""After this silence of a worker the coordination service ends the others."""

START_TIMEOUT_SECONDS = 300
"""How long workers wait for each other: importing TensorFlow took up to 75 s where measured."""


def limit_threads(threads: int) -> None:
    """Compute on so many cores; 0 leaves TensorFlow's choice, one thread a core.

    Once TensorFlow computes in this process its threads can't be changed: then they stay.
    """
    if threads and not eager_context.context()._initialized:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def make_strategy(context: WorkerContext) -> tf.distribute.Strategy:
    """The strategy of a worker; with several workers it returns when all have met.

    A Python worker that Spark uses again still has the last training's eager context, whose
    peers are gone; it is reset where there is one.
    """
    if context.addresses and eager_context.context_safe() is not None:
        eager_context._reset_context()
    limit_threads(context.threads)
    if not context.addresses:
        return tf.distribute.get_strategy()
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": context.addresses},
            "task": {"type": "worker", "index": context.rank},
        }
    )
    eager_context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        coordinated_jobs=[CoordinatedJob(name="worker", num_tasks=context.world_size)],
        cluster_register_timeout_in_ms=START_TIMEOUT_SECONDS * 1000,
        heartbeat_timeout_in_ms=HEARTBEAT_TIMEOUT_SECONDS * 1000,
    )
    return tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.RING
        )
    )
