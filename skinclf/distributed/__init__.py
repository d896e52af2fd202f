"""Training on a cluster: the only part that knows both Spark and TensorFlow."""
