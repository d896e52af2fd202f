"""A folder of images that changes between scorings of it."""

from pathlib import Path

from rich.console import Console

from skinclf.archives.decoding import Decode
from skinclf.stages.score import Summary, score
from tests.support.images import jpeg
from tests.support.pipeline import pipeline_config


class Scoring:
    """Images below `folder`/archive and the scores of them below `folder`/scores."""

    def __init__(self, trained: Path, folder: Path, decode: Decode | None = None) -> None:
        self._trained, self._out, self._decode = trained, folder / "scores", decode
        self.folder = folder / "archive"
        self.folder.mkdir()

    def write(self, *numbers: int, shade: int = 100) -> None:
        for number in numbers:
            (self.folder / f"IMG_{number:03}.jpg").write_bytes(jpeg((number, shade, 80)))

    def score(self, *settings: str) -> Summary:
        config = pipeline_config(
            self._trained, f"score.archive={self.folder}", f"score.output={self._out}", *settings
        )
        return score(config, Console(quiet=True), self._decode)
