"""The job `explore` for spark-submit: `spark-submit jobs/explore.py --help` tells the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("explore")
