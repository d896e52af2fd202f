"""The job `evaluate` for spark-submit: `spark-submit jobs/evaluate.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("evaluate")
