"""The stages as functions, for notebooks and for code of one's own.

Each takes settings as its command does, and returns a result that a notebook shows.
"""

from skinclf.api.results import CrossValidated, Evaluated, Explored, Prepared, Scored, Trained
from skinclf.api.stages import cross_validate, evaluate, explore, prepare, score, train

__all__ = [
    "CrossValidated",
    "Evaluated",
    "Explored",
    "Prepared",
    "Scored",
    "Trained",
    "cross_validate",
    "evaluate",
    "explore",
    "prepare",
    "score",
    "train",
]
