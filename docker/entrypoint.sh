#!/bin/sh
# What a container is: `master`, `worker URL`, `history`, or any other command; on Kubernetes
# `driver …` or `executor`, as Spark calls its images.
set -eu

case "${1:-}" in
driver) # its settings are in the files and variables that Spark gives to the pod
    shift
    exec "$SPARK_HOME/bin/spark-submit" --deploy-mode client \
        --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
        --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" "$@"
    ;;
executor)
    set --
    number=0
    while option=$(printenv "SPARK_JAVA_OPT_$number"); do # Java's options, one a variable
        set -- "$@" "$option"
        number=$((number + 1))
    done
    exec java "$@" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
        -cp "${SPARK_CONF_DIR:-}:$SPARK_HOME/jars/*:${SPARK_CLASSPATH:-}" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" \
        --cores "$SPARK_EXECUTOR_CORES" --app-id "$SPARK_APPLICATION_ID" \
        --hostname "$SPARK_EXECUTOR_POD_IP" --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
        --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
esac

# Spark's own settings, with the secret that only this cluster's processes know. It needs no umask,
# which datasets and runs would have, too: mktemp makes a folder that other users can't enter.
SPARK_CONF_DIR=$(mktemp -d)
export SPARK_CONF_DIR
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
