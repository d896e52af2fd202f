"""The job `explore` for spark-submit: `spark-submit jobs/explore.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("explore")
