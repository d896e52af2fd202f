"""spark-submit jobs/score.py --config FILE [--set section.key=value …]: see `skinclf score --help`."""

from skinclf.cli import main

if __name__ == "__main__":
    main("score")
