#!/bin/sh
# All jobs on the cluster at $1, over a small archive that is drawn first; a container's command.
set -eu
folder=${2:-/shared/demo}
rm -rf "$folder"
python -c "from pathlib import Path; from skinclf.testing.archive import make_archive; make_archive(Path('$folder/archive'), 300)"
for job in prepare explore doctor train evaluate score; do
    spark-submit --master "$1" "/opt/repository/jobs/$job.py" \
        --config /opt/repository/conf/demo.toml \
        --set archive.paths="[\"$folder/archive/DEMO_images_part_1.zip\",\"$folder/archive/DEMO_images_part_2.zip\"]" \
        --set archive.metadata="$folder/archive/DEMO_metadata.csv" \
        --set dataset.path="$folder/dataset" \
        --set run.path="$folder/run" \
        --set score.output="$folder/scores" \
        --set train.local_mode=false --set train.slots=2 --set train.epochs=2
done
