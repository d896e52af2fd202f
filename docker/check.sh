#!/usr/bin/env bash
# Builds docker/Dockerfile without a Docker engine, and runs a master, two workers and all jobs in
# the image: buildah in a chroot, from a Debian base made by debootstrap.
# Needs root, `apt install buildah debootstrap`, some 15 GB and half an hour.
# BUILDAH_FLAGS: more for `buildah build`, such as a network's own certificates:
#   --volume /FILE.crt:/FILE.crt:ro --build-arg SSL_CERT_FILE=/FILE.crt
set -euo pipefail
cd "$(dirname "$0")/.."

base=skinclf-base
if ! buildah inspect "$base" > /dev/null 2>&1; then
    root=$(mktemp -d)
    debootstrap --variant=minbase bookworm "$root" "${DEBIAN:-http://deb.debian.org/debian}"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root" /
    buildah commit --rm "$container" "$base"
    rm -rf "$root"
fi
read -r -a flags <<< "${BUILDAH_FLAGS:-}"
buildah build --isolation chroot --layers --build-arg "BASE=localhost/$base" \
    --file docker/Dockerfile --tag skinclf "${flags[@]}" .

container=$(buildah from skinclf)
trap 'buildah rm "$container" > /dev/null' EXIT
run() {
    buildah run --isolation chroot --env SKINCLF_SECRET=checked \
        --env SPARK_LOCAL_IP=127.0.0.1 --env SPARK_MASTER_HOST=127.0.0.1 \
        "$container" -- tini -s -- entrypoint.sh "$@"
}

# The processes of a chroot share the machine's network: one container stands for all.
run bash -c '
    set -euo pipefail
    entrypoint.sh master > /tmp/master.log 2>&1 &
    for attempt in $(seq 60); do
        if grep -q "I have been elected leader" /tmp/master.log; then break; fi
        sleep 1
    done
    url=$(grep -o "spark://[^ ]*" /tmp/master.log | head -1) || { cat /tmp/master.log; exit 1; }
    for _ in 1 2; do
        SPARK_WORKER_CORES=1 SPARK_WORKER_MEMORY=2g entrypoint.sh worker "$url" > /dev/null 2>&1 &
    done
    cluster_demo.sh "$url"
    kill $(jobs -p)
'
echo "docker/Dockerfile builds, and all jobs run on a cluster of its containers"
