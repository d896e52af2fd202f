"""The job `cross-validate` for spark-submit: `spark-submit jobs/cross-validate.py --help` shows the
rest.
"""

from skinclf.cli import main

if __name__ == "__main__":
    main("cross-validate")
