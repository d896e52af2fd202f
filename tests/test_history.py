from skinclf.config import TrainConfig
from skinclf.history import Epoch, best_epoch, final_epoch, is_over


def history(*val_losses: float) -> list[Epoch]:
    return [{"epoch": n, "val_loss": loss} for n, loss in enumerate(val_losses, start=1)]


def test_the_best_epoch_has_the_lowest_loss_or_the_highest_of_anything_else() -> None:
    assert best_epoch(history(3, 1, 2, 1), "val_loss") == 2
    rows: list[Epoch] = [
        {"epoch": 1, "val_accuracy": 0.5},
        {"epoch": 2, "val_accuracy": 0.7},
        {"epoch": 3, "val_accuracy": 0.7},
    ]
    assert best_epoch(rows, "val_accuracy") == 2


def test_training_is_over_after_all_epochs_or_too_many_without_a_better_one() -> None:
    patient = TrainConfig(epochs=5, early_stopping=2)
    assert not is_over([], patient)
    assert not is_over(history(3, 2, 2.5), patient)
    assert is_over(history(3, 2, 2.5, 2.1), patient)
    assert is_over(history(5, 4, 3, 2, 1), patient)
    assert not is_over(history(3, 2, 2.5, 2.1), TrainConfig(epochs=5))


def test_the_model_gets_the_last_or_the_best_epoch_s_weights() -> None:
    assert final_epoch(history(3, 1, 2), TrainConfig()) == 3
    assert final_epoch(history(3, 1, 2), TrainConfig(final_weights="best")) == 2
