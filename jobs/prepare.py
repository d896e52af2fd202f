"""The job `prepare` for spark-submit: `spark-submit jobs/prepare.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("prepare")
