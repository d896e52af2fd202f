"""`python -m tests.support.commands`: commands as JSON lists, line by line, → their exit statuses.

All run in one Spark session, which saves starts of the JVM.
"""

import json
import os
import sys

from skinclf import cli
from skinclf.config.loader import load_config
from skinclf.distributed.launcher import REQUIRED_CONF
from skinclf.spark.session import spark_session


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what commands print goes where their log lines go
    with spark_session("tests", load_config(None, sys.argv[1:]).spark, REQUIRED_CONF):
        for line in sys.stdin:
            sys.argv = ["skinclf", *json.loads(line)]
            status = 0
            try:
                cli.main()
            except SystemExit as ended:
                status = int(ended.code or 0)
            sys.stdout.flush()
            print(status, file=answers)


if __name__ == "__main__":
    main()
