"""spark-submit jobs/prepare.py --config FILE [--set section.key=value …]: see `skinclf prepare --help`."""

from skinclf.cli import main

if __name__ == "__main__":
    main("prepare")
