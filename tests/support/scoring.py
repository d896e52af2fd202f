"""A folder of images that changes between scorings of it."""

from pathlib import Path

from rich.console import Console

from skinclf.archives.decoding import Decode
from skinclf.spec.model import ModelLoader
from skinclf.stages.score import score_by
from skinclf.stages.score_summary import Summary
from tests.support.images import jpeg
from tests.support.models import Brightness
from tests.support.pipeline import pipeline_config

BRIGHTNESS = Brightness()


class Scoring:
    """Images below `folder`/archive and the scores of them below `folder`/scores."""

    def __init__(self, folder: Path, decode: Decode | None = None) -> None:
        self._out, self._decode = folder / "scores", decode
        self.folder = folder / "archive"
        self.folder.mkdir()

    def write(self, *numbers: int, shade: int = 100) -> None:
        for number in numbers:
            (self.folder / f"IMG_{number:03}.jpg").write_bytes(jpeg((number, shade, 80)))

    def score(self, *settings: str, model: ModelLoader = BRIGHTNESS) -> Summary:
        config = pipeline_config(
            self.folder.parent,
            *(f"score.archive={self.folder}", f"score.output={self._out}", *settings),
        )
        return score_by(model, config, Console(quiet=True), self._decode)
