"""The stages as functions, for notebooks and for code of one's own.

Each takes settings as its command does, and returns a result that a notebook shows.
"""

from skinclf.api.results import Evaluated, Explored, Prepared, Scored, Trained
from skinclf.api.stages import evaluate, explore, prepare, score, train

__all__ = [
    "Evaluated",
    "Explored",
    "Prepared",
    "Scored",
    "Trained",
    "evaluate",
    "explore",
    "prepare",
    "score",
    "train",
]
