"""spark-submit jobs/explore.py --config FILE [--set section.key=value …]: see `skinclf explore --help`."""

from skinclf.cli import main

if __name__ == "__main__":
    main("explore")
