"""`skinclf browse`, over scores that are written without Spark."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.command import Command
from tests.support.images import jpeg, write_zip
from tests.support.scores import write_scores

NV, UNSURE = [0, 0, 0.1, 0, 0, 0.9, 0], [0, 0, 0.05, 0, 0.5, 0.45, 0]
HOSTILE = ("</script><script>alert(1)", "' onerror='x", '" onload="x', "<img src=x>", "\u202egpj")


@pytest.fixture
def skinclf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


class Page(HTMLParser):
    """Figures, images and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[Mapping[str, str | None]] = []
        self.images: list[Mapping[str, str | None]] = []
        self.elements: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "figure":
            self.figures.append(dict(attrs))
        if tag == "img":
            self.images.append(dict(attrs))


def browsed(skinclf: Command, scores: Path, *options: str) -> Page:
    file = scores.parent / "browse.html"
    done = skinclf("browse", str(scores), "--output", str(file), *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(str(file))
    return Page(file.read_text())


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """The scores of two files and two members of a zip, beside a reject."""
    archive = tmp_path / "archive"
    archive.mkdir()
    for name in ("a", "b"):
        (archive / f"{name}.jpg").write_bytes(jpeg())
    write_zip(archive / "c.zip", {"d.jpg": jpeg(), "e.jpg": jpeg(), "f.jpg": b""})
    scores = {"a": NV, "b": UNSURE, "d": NV, "e": UNSURE}
    write_scores(tmp_path / "model", archive, scores, {"f": ("empty", "0 bytes")})
    return tmp_path / "model"


def test_the_page_shows_the_most_uncertain_first_and_the_rejects(
    skinclf: Command, scored: Path
) -> None:
    page = browsed(skinclf, scored)
    text = (scored.parent / "browse.html").read_text()
    assert [figure["data-predicted"] for figure in page.figures] == ["mel", "mel", "nv", "nv"]
    margins = [float(figure["data-margin"] or 0) for figure in page.figures]
    assert margins == pytest.approx([0.05, 0.05, 0.8, 0.8], abs=1e-6)
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.images)
    assert {image["alt"] for image in page.images} == {
        *("a, predicted nv", "b, predicted mel", "d, predicted nv", "e, predicted mel")
    }
    assert "All 4 images are shown" in text
    assert "Scores: 4. Rejects: 1." in text
    assert '<td>empty</td><td>1</td><td class="long">the file has no bytes</td>' in text
    assert '<td>empty</td><td class="long">0 bytes</td>' in text


def test_a_limit_is_said_on_the_page(skinclf: Command, scored: Path) -> None:
    page = browsed(skinclf, scored, "--limit", "2")
    assert [figure["data-predicted"] for figure in page.figures] == ["mel", "mel"]
    assert "2 of 4 images are shown" in (scored.parent / "browse.html").read_text()


def test_a_source_that_can_t_be_read_any_more_has_a_placeholder(
    skinclf: Command, scored: Path
) -> None:
    archive = scored.parent / "archive"
    (archive / "a.jpg").unlink()
    (archive / "c.zip").unlink()
    page = browsed(skinclf, scored)
    text = (scored.parent / "browse.html").read_text()
    assert (len(page.figures), len(page.images)) == (4, 1)
    assert "3 images can't be shown any more" in text
    assert 'aria-label="a can\'t be shown: vanished"' in text
    assert "the file is not there any more" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text(skinclf: Command, tmp_path: Path, name: str) -> None:
    write_zip(tmp_path / "a.zip", {f"{name}.jpg": jpeg(), f"{name}2.jpg": b""})
    image_id = name.rpartition("/")[2]
    rejects = {f"{image_id}2": ("empty", name)}
    write_scores(tmp_path / "model", tmp_path / "a.zip", {image_id: NV}, rejects)
    page = browsed(skinclf, tmp_path / "model")
    assert page.elements.count("script") == 1
    assert page.handlers == []
    assert len(page.images) == 1
    assert "\u202e" not in (tmp_path / "browse.html").read_text()


def test_nothing_is_fetched_from_elsewhere(skinclf: Command, scored: Path) -> None:
    browsed(skinclf, scored)
    text = (scored.parent / "browse.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert "url(" not in text
    assert "@import" not in text


def test_controls_have_labels_and_are_there_only_with_javascript(
    skinclf: Command, scored: Path
) -> None:
    browsed(skinclf, scored)
    text = (scored.parent / "browse.html").read_text()
    assert re.search(r'<form class="controls" id="controls" hidden>', text)
    assert len(re.findall(r"<label>[^<]+<select id=", text)) == 2
    assert 'aria-live="polite"' in text


def test_a_folder_without_scores_is_one_line(
    skinclf: Command, scored: Path, tmp_path: Path
) -> None:
    for folder, told in (
        (tmp_path / "nowhere", "nowhere: no scores here. Run skinclf score"),
        (tmp_path, f"holds a folder for each model; name one of them: {scored}"),
    ):
        done = skinclf("browse", str(folder), "--output", str(tmp_path / "page.html"))
        assert done.returncode == 2
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


def test_limits_of_the_config_hold(skinclf: Command, scored: Path) -> None:
    page = browsed(skinclf, scored, "--set", "archive.max_pixels=10")
    assert (len(page.figures), page.images) == (4, [])


def test_the_predicted_class_has_its_own_probability_beside_it(
    skinclf: Command, scored: Path
) -> None:
    """A decision rule may choose another than the most probable one."""
    for file in (scored / "scores").glob("*.parquet"):
        table = pq.read_table(file)
        place = table.schema.get_field_index("predicted")
        decided = pa.array(["mel"] * len(table), table.schema.field(place).type)
        pq.write_table(table.set_column(place, "predicted", decided), file)
    browsed(skinclf, scored)
    text = (scored.parent / "browse.html").read_text()
    captions = re.findall(r"<figcaption>(.*?)\n", text)
    shown = {re.sub("<.*?>", "", caption).strip() for caption in captions}
    assert {line.partition(" · ")[0] for line in shown} == {"mel 0.00", "mel 0.50"}
    assert any(line.startswith("mel 0.00 · nv 0.90") for line in shown)
