"""The job `replicate` for spark-submit: `spark-submit jobs/replicate.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("replicate")
