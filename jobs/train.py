"""spark-submit jobs/train.py --config FILE [--set section.key=value …]: see `skinclf train --help`."""

from skinclf.cli import main

if __name__ == "__main__":
    main("train")
