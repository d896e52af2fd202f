"""Train, evaluate and run a skin lesion classifier on a Spark cluster of ordinary CPUs.

`skinclf.prepare`, `explore`, `train`, `evaluate`, `cross_validate` and `score` are the stages as
functions: see `skinclf.api`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skinclf.api import cross_validate, evaluate, explore, prepare, score, train

__version__ = "0.1.0"

__all__ = ["__version__", "cross_validate", "evaluate", "explore", "prepare", "score", "train"]


def __getattr__(name: str) -> object:
    """The stages are looked up when they are first used: importing skinclf imports nothing."""
    if name in __all__:
        from skinclf import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
