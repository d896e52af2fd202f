#!/bin/sh
# What a container is: `master`, `worker URL`, `history`, or any other command.
set -eu

# Spark's own settings, with the secret that only this cluster's processes know.
SPARK_CONF_DIR=$(mktemp -d)
export SPARK_CONF_DIR
umask 077
cat /opt/repository/conf/spark-defaults.conf > "$SPARK_CONF_DIR/spark-defaults.conf"
if [ -n "${SKINCLF_SECRET:-}" ]; then
    cat >> "$SPARK_CONF_DIR/spark-defaults.conf" <<END
spark.authenticate                 true
spark.authenticate.secret          $SKINCLF_SECRET
spark.network.crypto.enabled       true
spark.eventLog.enabled             true
spark.eventLog.dir                 file:///shared/events
spark.history.fs.logDirectory      file:///shared/events
END
fi

case "${1:-}" in
master)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master \
        --host "${SPARK_MASTER_HOST:-$(hostname)}"
    ;;
worker)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \
        --work-dir /tmp/work "$2"
    ;;
history)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.history.HistoryServer
    ;;
*)
    exec "$@"
    ;;
esac
