from pathlib import Path

import pytest

from skinclf.archives.sources import check_left_out, read_sources
from skinclf.config.schema import MetadataConfig
from skinclf.errors import ConfigError
from skinclf.spec.taxonomy import HAM10000

ROWS = """lesion_id,image_id,dx,dataset
L1,a,nv,rosendahl
L1,b,nv,rosendahl
L2,c,mel,vienna
,d,mel,vienna
,e,mel,vienna
L3,f,wart,vienna
L4,g,bcc,
"""


def test_sources_are_counted_by_images_and_lesions_of_classes(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(ROWS)
    found = read_sources(str(file), HAM10000)
    assert list(found.items()) == [("vienna", (3, 3)), ("rosendahl", (2, 1)), ("", (1, 1))]
    file.write_text(ROWS.replace("dataset", "clinic"))
    own = MetadataConfig(columns={"dataset": "clinic"})
    assert read_sources(str(file), HAM10000, own) == found
    assert read_sources("folders", HAM10000) == {}


@pytest.mark.parametrize(
    ("left_out", "images", "told"),
    [
        ("a", {}, "nothing in rows.csv names a source"),
        ("a", {"": 9}, "nothing in rows.csv names a source"),
        ("d", {"a": 1, "b": 2000}, "no source 'd' in rows.csv; there are b (2,000 images), a (1 "),
        ("d", {"a\nb": 1}, r"there are a\x0ab (1 images)"),
        ("a\nb", {"a\nb": 9}, r"left_out: a\x0ab is the only source"),
        ("a", {"a": 9}, "a is the only source in rows.csv: nothing is left to train on"),
    ],
)
def test_what_can_t_be_left_out_is_said_with_what_there_is(
    left_out: str, images: dict[str, int], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_left_out(left_out, images, "rows.csv")
    assert told in str(caught.value)
