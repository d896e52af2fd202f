"""Train, evaluate and run a skin lesion classifier on a Spark cluster of ordinary CPUs."""

__version__ = "0.1.0"
