"""spark-submit jobs/evaluate.py --config FILE [--set section.key=value …]: see `skinclf evaluate --help`."""

from skinclf.cli import main

if __name__ == "__main__":
    main("evaluate")
