"""Which library computes a job's predictions."""

import logging
from importlib.util import find_spec

from skinclf.errors import ConfigError, StorageError
from skinclf.spec.views import Tta
from skinclf.training import check_installed
from skinclf.training.openvino_engine import INSTALL, OpenVinoPredictor
from skinclf.training.predictor import Predictor

log = logging.getLogger(__name__)


def predictor_for(
    run: str,
    engine: str,
    precision: str = "float32",
    *,
    tta: Tta | None = None,
    decided: bool = True,
) -> Predictor:
    """The run's model on an engine (`score.engine`), which is logged.

    "auto" is OpenVINO where that is installed and the run has its graph or can be given one. Raises
    RunError where there is no model, ConfigError where what computes is not installed.
    """
    check_engine(engine)
    predictor = Predictor.of_run(run, precision, tta=tta, decided=decided)
    if engine == "tensorflow":
        return predictor
    if not _has_openvino():
        log.info("predicting with TensorFlow; OpenVINO starts sooner: %s", INSTALL)
        return predictor
    try:
        chosen = OpenVinoPredictor.of_predictor(predictor)
    except (OSError, StorageError) as error:
        if engine == "openvino":
            raise
        log.info("predicting with TensorFlow: the run can't be given its graph: %s", error)
        return predictor
    log.info("predicting with OpenVINO")
    return chosen


def check_engine(engine: str) -> None:
    """Raise ConfigError where what computes is not installed."""
    has_openvino = _has_openvino()
    if engine == "openvino" and not has_openvino:
        raise ConfigError(f"score.engine: OpenVINO is not installed: {INSTALL}")
    if engine == "tensorflow" or not has_openvino:
        check_installed()


def _has_openvino() -> bool:
    return find_spec("openvino") is not None
