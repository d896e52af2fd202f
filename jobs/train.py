"""The job `train` for spark-submit: `spark-submit jobs/train.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("train")
