import pytest

from skinclf.config.loader import load_config, to_toml
from skinclf.config.schema import EvaluateConfig
from skinclf.errors import ConfigError, QualityError
from skinclf.evaluation.gates import check_gate_settings, check_gates, gates_of
from skinclf.spec.taxonomy import HAM10000
from tests.evaluation.drawn import drawn_predictions, evaluation_result

RESULT = evaluation_result(drawn_predictions(60, 1), rounds=20).model_copy(
    update={
        "model": {"accuracy": 0.75, "categorical_crossentropy": 0.5},
        "intervals": {"accuracy": (0.6, 0.8)},
    }
)


def test_a_metric_reaches_its_gate_by_its_value_and_a_loss_from_below() -> None:
    gates = {"accuracy": 0.75, "categorical_crossentropy": 0.5}
    assert [gate.is_reached for gate in gates_of(RESULT, gates)] == [True, True]
    check_gates(RESULT, "report.html", gates)
    gates = {"accuracy": 0.7501, "categorical_crossentropy": 0.4999}
    assert [gate.is_reached for gate in gates_of(RESULT, gates)] == [False, False]


def test_one_line_names_each_metric_that_is_missed_with_value_and_bound() -> None:
    gates = {"accuracy": 0.9, "categorical_crossentropy": 0.25, "binary_accuracy": 0.5}
    with pytest.raises(QualityError) as caught:
        check_gates(RESULT, "report.html", gates)
    assert str(caught.value) == (
        "evaluate.gates on test: accuracy is 0.75 (95% CI 0.6–0.8), at least 0.9 is expected; "
        "categorical_crossentropy is 0.5, at most 0.25 is expected; binary_accuracy is not defined "
        "by these images, at least 0.5 is expected. Everything is written: report.html"
    )
    assert caught.value.exit_status == 3


def test_a_class_has_gates_of_its_own() -> None:
    mel = RESULT.classes["mel"]
    (gate,) = gates_of(RESULT, {"mel.sensitivity": 0.5})
    assert (gate.value, gate.interval) == (mel.sensitivity, mel.intervals["sensitivity"])
    empty = mel.model_copy(update={"auc": None})
    result = RESULT.model_copy(update={"classes": RESULT.classes | {"mel": empty}})
    assert [gate.is_reached for gate in gates_of(result, {"mel.auc": 0.0})] == [False]


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ({"balanced": 0.5}, "no metric 'balanced'; known are accuracy, balanced_accuracy"),
        ({"mole.auc": 0.5}, r"no metric 'mole\.auc'.*classes: akiec, bcc"),
        ({"accuracy": 60}, r"evaluate\.gates\.accuracy: 0 to 1 is expected, got 60"),
        ({"binary_crossentropy": -1}, "0 or more is expected, got -1"),
    ],
)
def test_a_gate_that_nothing_can_reach_is_refused(gates: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_gate_settings(gates, HAM10000)
    check_gate_settings({"binary_crossentropy": 2, "nv.f1": 1}, HAM10000)


def test_toml_and_the_command_line_name_gates_with_their_dots() -> None:
    assignments = ["evaluate.gates.accuracy=0.7", "evaluate.gates.mel.sensitivity=0.8"]
    config = load_config(None, assignments)
    assert config.evaluate.gates == {"accuracy": 0.7, "mel.sensitivity": 0.8}
    assert load_config(config, ["evaluate.gates.mel.sensitivity=0.9"]).evaluate.gates == {
        "accuracy": 0.7,
        "mel.sensitivity": 0.9,
    }
    assert '"mel.sensitivity" = 0.8' in to_toml(config)
    nested = EvaluateConfig.model_validate({"gates": {"mel": {"auc": 0.9}}})
    assert nested.gates == {"mel.auc": 0.9}
    with pytest.raises(ConfigError, match=r"evaluate\.gates\.accuracy: .*number.*'high'"):
        load_config(None, ["evaluate.gates.accuracy=high"])
