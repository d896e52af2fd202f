"""The job `doctor` for spark-submit: `spark-submit jobs/doctor.py --help` shows the rest."""

from skinclf.cli import main

if __name__ == "__main__":
    main("doctor")
