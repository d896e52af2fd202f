"""What CONTRIBUTING.md promises: each kind of extension is one new entry, the package untouched."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinclf.archives import ArchiveReader, list_images
from skinclf.archives.files import StorageFile
from skinclf.archives.formats import FORMATS as ARCHIVE_FORMATS
from skinclf.archives.formats import ArchiveFormat
from skinclf.archives.metadata import read_metadata
from skinclf.archives.metadata_formats import FORMATS as METADATA_FORMATS
from skinclf.archives.metadata_formats import Fields, Format, Row
from skinclf.config.loader import load_config
from skinclf.config.schema import ModelConfig, TrainConfig
from skinclf.errors import ConfigError
from skinclf.spec.image_spec import ImageSpec
from skinclf.spec.rejects import REASONS, RejectedImage
from skinclf.spec.taxonomy import Taxonomy
from skinclf.training.choices import check_choices
from skinclf.training.losses import LOSSES, make_objective
from skinclf.training.networks import NETWORKS, Network, build_network
from skinclf.training.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer

COMMON = Taxonomy(codes=("a", "b"), majority="a", screened="")


def test_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def linear(images: Any, _common: dict[str, Any], dropout: Any) -> Any:
        from keras import layers

        return dropout(layers.Flatten()(images))

    choice = load_config(None, ["model.name=linear"])
    with pytest.raises(ConfigError, match=r"model\.name: there is no 'linear'; known are "):
        check_choices(choice)
    monkeypatch.setitem(NETWORKS, "linear", Network("A linear classifier", linear))
    check_choices(choice)
    spec = ImageSpec(height=8, width=8)
    network = build_network(ModelConfig(name="linear"), spec, 2, dropout=0.5)
    assert network.count_params() == (8 * 8 * 3 + 1) * 2


def test_an_optimizer_and_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setitem(OPTIMIZERS, "sgd", lambda rate, _config: keras.optimizers.SGD(rate))
    monkeypatch.setitem(SCHEDULES, "half", lambda config, _steps: config.learning_rate / 2)
    chosen = ["train.optimizer=sgd", "train.lr_schedule=half", "train.learning_rate=0.5"]
    config = load_config(None, chosen)
    check_choices(config)
    assert float(make_optimizer(config.train, steps=3).learning_rate) == 0.25


def test_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setitem(
        LOSSES,
        "brier",
        lambda truth, logits: tf.reduce_sum((truth - tf.nn.softmax(logits)) ** 2, axis=1),
    )
    objective = make_objective(TrainConfig(loss="brier"), np.array([5, 5]))
    assert float(objective(tf.constant([0]), tf.constant([[0.0, 0.0]]))[0]) == 0.5


def test_a_kind_of_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file a line: a name, a blank, its bytes in hexadecimal."""

    def members(file: str) -> Iterator[dict[str, Any]]:
        opened, offset = StorageFile(file), 0
        version = opened.version()
        for line in opened.read_at(opened.size, 0).splitlines(keepends=True):
            name, data = line.decode().split()
            yield {
                "name": name,
                "kind": "hex",
                "offset": offset + len(name) + 1,
                "size": len(data) // 2,
                "file_version": version,
                "version": version,
            }
            offset += len(line)

    def reader(file: StorageFile, _kind: str, _max_bytes: int) -> Any:
        def read(entry: Mapping[str, Any]) -> bytes:
            return bytes.fromhex(file.read_at(2 * entry["size"], entry["offset"]).decode())

        return read

    added = [*ARCHIVE_FORMATS, ArchiveFormat({".hex": "hex"}, members, reader)]
    monkeypatch.setattr("skinclf.archives.formats.FORMATS", added)
    (tmp_path / "some.hex").write_text(f"one.jpg {b'first'.hex()}\ntwo.jpg {b'second'.hex()}\n")
    entries = list_images([str(tmp_path)]).to_pylist()
    assert [entry["image_id"] for entry in entries] == ["one", "two"]
    with ArchiveReader(max_file_bytes=100) as archive:
        assert [archive.read(entry) for entry in entries] == [b"first", b"second"]


def test_a_metadata_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(fields: Fields, _taxonomy: Taxonomy) -> Row:
        names = ("lesion_id", "dx_type", "age", "sex", "localization", "dataset")
        return dict.fromkeys(names) | {"image_id": fields["photo"], "dx": fields["finding"]}

    added = [*METADATA_FORMATS, Format("our clinic's", "photo", lambda _: ("finding",), read)]
    monkeypatch.setattr("skinclf.archives.metadata_formats.FORMATS", added)
    (tmp_path / "clinic.csv").write_text("photo,finding\nP1,A\nP2,b\n")
    rows: list[Any] = list(read_metadata(str(tmp_path / "clinic.csv"), COMMON))
    assert [(row["image_id"], row["dx"]) for row in rows] == [("P1", "a"), ("P2", "b")]


def test_a_reject_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="blurred is no reason of a reject"):
        RejectedImage("blurred", "no edge")
    monkeypatch.setitem(REASONS, "blurred", "nothing in the image has an edge")
    assert str(RejectedImage("blurred", "no edge")) == "blurred: no edge"
