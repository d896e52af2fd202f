"""The job `score` for spark-submit: `spark-submit jobs/score.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("score")
