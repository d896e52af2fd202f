import tomllib
from pathlib import Path

import pytest
from jsonschema import ValidationError as JsonSchemaError
from jsonschema import validate

from skinclf.config.loader import (
    Files,
    Option,
    changed,
    load_config,
    origins_of,
    parse_config,
    to_toml,
)
from skinclf.config.schema import Config
from skinclf.errors import ConfigError
from tests.support.repository import REPOSITORY

CONF = REPOSITORY / "conf"


def message_of(files: Files | None, *assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(files, assignments)
    return str(caught.value)


def test_default_toml_shows_every_setting_with_its_default() -> None:
    assert tomllib.loads((CONF / "default.toml").read_text()) == Config().model_dump(mode="json")


@pytest.mark.parametrize("file", sorted(CONF.glob("*.toml")), ids=lambda file: file.name)
def test_every_shipped_config_is_valid(file: Path) -> None:
    load_config(str(file))


def test_assignments_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nepochs = 3\nseed = 4\n")
    config = load_config(str(file), ["train.epochs=7", "dataset.path=/a b"])
    assert (config.train.epochs, config.train.seed, config.dataset.path) == (7, 4, "/a b")


def test_where_a_training_runs_is_no_part_of_what_it_learns() -> None:
    """A cluster that has lost a machine for good resumes with fewer slots."""
    here, there = Config(), load_config(None, ["train.slots=4", "train.local_mode=false"])
    assert here.hyperparameters == there.hyperparameters
    assert load_config(None, ["train.threads_per_slot=1"]).hyperparameters == here.hyperparameters
    assert load_config(None, ["train.dropout=0.4"]).hyperparameters != here.hyperparameters


def test_one_path_may_stand_without_brackets() -> None:
    assert load_config(None, ["archive.paths=a.zip"]).archive.paths == ("a.zip",)
    assert load_config(None, ['archive.paths=["a", "b"]']).archive.paths == ("a", "b")


def test_spark_properties_keep_their_dots() -> None:
    config = load_config(None, ["spark.conf.spark.local.dir=/scratch"])
    assert config.spark.conf == {"spark.local.dir": "/scratch"}


def test_an_assignment_is_read_as_toml_has_it() -> None:
    """Blanks around a text count only in quotes, and names in quotes keep their dots."""
    given = ["run.path = runs/x ", "dataset.path=' y'", "spark.conf.spark.a = b "]
    config = load_config(None, [*given, 'metadata.labels."sq. cell" = akiec'])
    assert (config.run.path, config.dataset.path) == ("runs/x", " y")
    assert config.spark.conf == {"spark.a": "b"}
    assert config.metadata.labels == {"sq. cell": "akiec"}
    assert changed(config, {"metadata.labels.a. b": "nv"}).metadata.labels["a. b"] == "nv"


def test_a_section_without_a_line_leaves_its_settings_as_they_are(tmp_path: Path) -> None:
    first, later = tmp_path / "first.toml", tmp_path / "later.toml"
    first.write_text("[train]\nepochs = 3\n[evaluate.gates]\naccuracy = 0.9\n")
    later.write_text("[train]\n[evaluate.gates]\n")
    files = [str(first), str(later)]
    config = load_config(files)
    assert (config.train.epochs, config.evaluate.gates) == (3, {"accuracy": 0.9})
    assert load_config(files, ["evaluate.gates={}"]).evaluate.gates == {}


def test_spark_properties_are_read_as_toml_has_them(tmp_path: Path) -> None:
    """With dots that make tables, numbers, booleans, and quotes."""
    file = tmp_path / "spark.toml"
    file.write_text('[spark.conf]\nspark.executor.memory = "2g"\n"spark.task.cpus" = 2\n')
    given = ['spark.conf.spark.local.dir="/scratch"', "spark.conf.spark.ui.enabled=true"]
    assert load_config(str(file), given).spark.conf == {
        "spark.executor.memory": "2g",
        "spark.task.cpus": "2",
        "spark.local.dir": "/scratch",
        "spark.ui.enabled": "true",
    }


def test_the_last_word_on_a_spark_property_counts_however_its_dots_are_written(
    tmp_path: Path,
) -> None:
    quoted, bare = tmp_path / "quoted.toml", tmp_path / "bare.toml"
    quoted.write_text('[spark.conf]\n"spark.executor.memory" = "2g"\n')
    bare.write_text('[spark.conf]\nspark.executor.memory = "4g"\n')
    key = "spark.executor.memory"
    for files, memory in (((quoted, bare), "4g"), ((bare, quoted), "2g")):
        names = [str(file) for file in files]
        assert load_config(names).spark.conf == {key: memory}
        assert load_config(names, [f"spark.conf.{key}=8g"]).spark.conf == {key: "8g"}


def test_the_last_word_on_a_gate_counts_however_its_dots_are_written(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[evaluate.gates]\nmel.auc = 0.9\n"mel.sensitivity" = 0.5\n')
    gates = load_config(str(file), ["evaluate.gates.mel.sensitivity=0.7"]).evaluate.gates
    assert gates == {"mel.auc": 0.9, "mel.sensitivity": 0.7}


def test_the_schema_for_editors_takes_what_is_taken() -> None:
    schema = Config.model_json_schema()
    for settings in ({"mel": {"sensitivity": 0.5}}, {"accuracy": 0.5}):
        validate({"evaluate": {"gates": settings}}, schema)
    for paths in ("a.zip", ["a.zip", "b"]):
        validate({"archive": {"paths": paths}, "spark": {"conf": {"spark": {"a": 2}}}}, schema)
    with pytest.raises(JsonSchemaError):
        validate({"archive": {"paths": 3}}, schema)


def test_columns_and_labels_are_set_one_by_one_and_read_back(tmp_path: Path) -> None:
    given = ["metadata.columns.dx=diagnosis", "metadata.labels.benign naevus=nv"]
    config = load_config(None, given)
    assert config.metadata.columns == {"dx": "diagnosis"}
    assert config.metadata.labels == {"benign naevus": "nv"}
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert load_config(str(tmp_path / "config.toml")).metadata == config.metadata


def test_the_resolved_config_reads_back_alike_and_without_secrets(tmp_path: Path) -> None:
    config = load_config(None, ["train.epochs=3", "spark.conf.spark.a=1", "spark.conf.my.token=x"])
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config))
    assert "token" not in file.read_text()
    again = load_config(str(file))
    assert again.train == config.train
    assert again.spark.conf == {"spark.a": "1"}


def test_folds_and_a_source_to_leave_out_must_agree() -> None:
    assert "fold: 1 to 5 (folds) is expected, got 6" in message_of(
        None, "split.folds=5", "split.fold=6"
    )
    assert "set one of them" in message_of(None, "split.folds=5", "split.left_out=a")


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("train.epoch=3", ["train.epoch:", "no such setting", "did you mean epochs?"]),
        ("trian.epochs=3", ["trian:", "did you mean train?"]),
        ("train.zzz=3", ["train.zzz:", "known are slots, local_mode"]),
        ("train.epochs=many", ["train.epochs:", "integer", "'many'"]),
        ("train.seed=-1", ["train.seed:", "greater than or equal to 0"]),
        ("split.seed=99999999999999999999", ["split.seed:", "less than 9223372036854775808"]),
        (
            "fault_tolerance.startup_timeout_seconds=10000000000",
            ["startup_timeout_seconds:", "less than or equal to 1000000000"],
        ),
        ("train.seed=20261128235301", ["train.seed:", "less than 4294967296"]),
        ("spark.master=bogus", ["spark.master:", "spark://HOST:PORT", "'bogus'"]),
        ("train.learning_rate=inf", ["train.learning_rate:", "finite number"]),
        ("train.epochs=0", ["train.epochs:", "greater than 0"]),
        ("archive.max_decode_seconds=1e300", ["archive.max_decode_seconds:", "86400"]),
        ("archive.max_pixels=1000000000", ["archive.max_pixels:", "178956970"]),
        ("score.limit=3000000000", ["score.limit:", "less than 2147483648"]),
        ("evaluate.name=..", ["evaluate.name:", "pattern"]),
        ("score.table=a.b.c.d", ["score.table:", "catalog.schema.scores", "'a.b.c.d'"]),
        ("score.table=a;b", ["score.table:", "letters, digits, _ and -"]),
        ("split.by=patient", ["split.by:", "'lesion' or 'image'", "'patient'"]),
        ("split.train=0.9", ["split:", "sum of 1", "0.9 + 0.1 + 0.1"]),
        ("split.folds=1", ["split:", "folds: 2 or more are expected, or 0"]),
        ("split.fold=2", ["split:", "fold: is 2, and there are no folds"]),
        (
            'metadata.columns={id = "name"}',
            ["metadata.columns:", "'id' is no column", "lesion_id, image_id, dx"],
        ),
        (
            'metadata.columns={dx = "a", image_id = "A"}',
            ["metadata.columns:", "'A' can't be both dx and image_id"],
        ),
        (
            'metadata.labels={mole = "nv", Mole = "mel"}',
            ["metadata.labels:", "'Mole' can't be both nv and mel"],
        ),
        (
            'metadata.labels={"nävus" = "nv", "na\u0308vus " = "mel"}',
            ["metadata.labels:", "can't be both nv and mel", "however an accent is coded"],
        ),
        ('metadata.labels={mole = ""}', ["metadata.labels:", "at least 1 character"]),
        ("train.slots=2", ["train:", "local_mode = false"]),
        ("evaluate.name=again", ["evaluate:", "name is that of an outside set"]),
        ("epochs=3", ["section.key=value"]),
        ("train=3", ["section.key=value"]),
        ("train.epochs=5\nseed=3", ["train.epochs:", "one value is expected"]),
        ("train.early_stopping_patience=true", ["patience:", "a number is expected", "True"]),
        ("decision.sensitivity=true", ["decision.sensitivity:", "a number is expected"]),
        ("decision.costs.mel=true", ["decision.costs.mel:", "a number is expected"]),
        ("evaluate.gates.accuracy=true", ["evaluate.gates.accuracy:", "a number is expected"]),
        ("image.height=true", ["image.height:", "a number is expected"]),
        (
            "evaluate.screening_sensitivities=[true]",
            ["screening_sensitivities:", "a number is expected"],
        ),
        ("train.monitor=true", ["train.monitor:", "'val_loss'"]),
        ("run.path=true", ["run.path:", 'put it in quotes: "true"']),
        ("evaluate.name=2018", ["evaluate.name:", 'put it in quotes: "2018"']),
        ("dataset.path=2024-05-01", ["dataset.path:", 'put it in quotes: "2024-05-01"']),
    ],
)
def test_a_wrong_setting_is_named_with_what_mends_it(assignment: str, parts: list[str]) -> None:
    message = message_of(None, assignment)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_path_may_begin_in_the_user_s_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell does it in a file of settings, nor behind the = of --set."""
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(
        None, ["run.path=~/runs", 'archive.paths=["~/a", "~b/c"]', "score.output=~"]
    )
    assert config.run.path == "/home/me/runs"
    assert config.archive.paths == ("/home/me/a", "~b/c")
    assert config.score.output == "/home/me"


def test_an_option_that_is_wrong_is_blamed_itself() -> None:
    with pytest.raises(ConfigError, match=r"^--limit: input should be a valid integer"):
        load_config(None, ["train.epochs=3"], [Option("--limit", "score.limit", "many")])
    with pytest.raises(ConfigError, match=r"^--set train\.epochs: input should be a valid int"):
        load_config(None, ["train.epochs=few"], [Option("--limit", "score.limit", 3)])


def test_a_value_where_a_section_is_due_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("train = 3\n")
    assert "train = 3, but train is a section: [train]" in message_of(str(file), "train.epochs=3")
    message = message_of(str(file))
    assert "mine.toml: train: is a section of settings: [train]; got 3" in message


def test_a_setting_that_is_wrong_with_others_is_blamed_on_where_it_was_given(
    tmp_path: Path,
) -> None:
    """And not on the file, which does not have it."""
    file = tmp_path / "mine.toml"
    file.write_text("train.epochs = 3\n")
    message = message_of(str(file), "split.folds=1")
    assert message.startswith("--set split.folds: split: folds: 2 or more")


def test_quotes_in_the_name_of_a_setting_are_those_of_toml() -> None:
    words = ['metadata.labels."basal cell carcinoma"=bcc', "metadata.labels.'a b'='mel'"]
    labels = load_config(None, words).metadata.labels
    assert labels == {"basal cell carcinoma": "bcc", "a b": "mel"}
    assert load_config(None, ["spark.conf.'a.b'=1"]).spark.conf == {"a.b": "1"}
    assert "expected section.key=value" in message_of(None, "train..epochs=3")


def test_a_code_that_is_none_is_told_with_what_to_do_and_nothing_else() -> None:
    message = message_of(None, 'classes.codes=["benign-nevus", "basal cell carcinoma", "mel"]')
    first, second = message.splitlines()
    assert "classes.codes: a code has 1 to 32 letters" in first
    assert "'benign-nevus'" in first
    assert "[metadata.labels]" in second


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml" in message_of("nowhere.toml")
    file = tmp_path / "broken.toml"
    file.write_text("[train\n")
    assert "broken.toml: not valid TOML" in message_of(str(file))


def test_settings_are_accepted_under_the_names_that_they_had_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "old.toml"
    file.write_text(
        '[supervise]\nstall_seconds = 7\n[score]\npath = "s"\n[model]\nname = "paper"\n'
    )
    old = ["train.global_batch=32", "supervise.max_restarts=1", "score.flips=true"]
    config = load_config(str(file), old)
    assert config.fault_tolerance.step_timeout_seconds == 7
    assert config.fault_tolerance.max_restarts == 1
    assert (config.score.output, config.model.name) == ("s", "benbrahim2020")
    assert (config.train.global_batch_size, config.score.tta) == (32, "flips")
    for told in (
        "supervise.stall_seconds is now called fault_tolerance.step_timeout_seconds",
        "score.path is now called score.output",
        "train.global_batch is now called train.global_batch_size",
        "model.name: 'paper' is now called 'benbrahim2020'",
    ):
        assert told in caplog.text
    caplog.clear()
    stored = parse_config(file.read_text(), "an old run")  # nobody can change what is stored
    assert (stored.score.output, caplog.text) == ("s", "")


def test_a_wrong_value_under_an_old_name_is_blamed_on_what_was_given() -> None:
    with pytest.raises(ConfigError, match=r"--set supervise\.stall_seconds: .*or equal to 5"):
        load_config(None, ["supervise.stall_seconds=0"])
    with pytest.raises(ConfigError, match=r"score\.paths.*did you mean|score\.pathes"):
        load_config(None, ["score.pathes=a"])


def test_an_old_name_on_the_command_line_wins_over_the_new_one_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text("[train]\nglobal_batch_size = 64\n")
    assert load_config(str(file), ["train.global_batch=32"]).train.global_batch_size == 32


@pytest.mark.parametrize(
    "text",
    [
        "[train]\nglobal_batch = 32\nglobal_batch_size = 48\n",
        "[train]\nglobal_batch_size = 48\nglobal_batch = 32\n",
        "[fault_tolerance]\nmax_restarts = 1\n[supervise]\nmax_restarts = 2\n",
    ],
)
def test_a_file_with_both_names_of_a_setting_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "both.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"(size|max_restarts): is set twice"):
        load_config(str(tmp_path / "both.toml"))


def test_a_later_file_replaces_what_an_earlier_one_says(tmp_path: Path) -> None:
    """A recipe, and where a cluster has its folders."""
    recipe, cluster = tmp_path / "recipe.toml", tmp_path / "cluster.toml"
    recipe.write_text('[train]\nepochs = 3\nseed = 4\n[dataset]\npath = "here"\n')
    cluster.write_text('[train]\nslots = 2\nlocal_mode = false\nepochs = 5\n[run]\npath = "r"\n')
    files = [str(recipe), str(cluster)]
    config = load_config(files, ["train.seed=6"])
    assert (config.train.epochs, config.train.slots, config.train.seed) == (5, 2, 6)
    assert (config.dataset.path, config.run.path) == ("here", "r")
    origins = origins_of(files, ["train.seed=6"])
    assert origins["train.epochs"] == origins["run.path"] == str(cluster)
    assert origins["dataset.path"] == str(recipe)
    assert origins["train.seed"] == "--set train.seed"
    recipe.write_text('[train]\nepochs = "few"\nsede = 4\n')
    cluster.write_text("[train]\nslots = 0\n")
    message = message_of(files)
    for line in (
        f"{recipe}: train.epochs: input should be a valid integer",
        f"{recipe}: train.sede: there is no such setting; did you mean seed?",
        f"{cluster}: train.slots: input should be greater than 0",
    ):
        assert line in message


@pytest.mark.parametrize("recipe", ["augmented", "best", "compact"])
def test_a_cluster_s_file_leaves_a_recipe_as_it_is(recipe: str) -> None:
    alone = load_config(f"{CONF}/{recipe}.toml")
    both = load_config([f"{CONF}/{recipe}.toml", f"{CONF}/cluster.toml"])
    assert both.train.slots == 4
    assert both.hyperparameters == alone.hyperparameters


def test_a_table_on_the_command_line_is_where_its_settings_are_from() -> None:
    origins = origins_of(None, ["decision.costs={mel=10}", "decision.costs.bcc=2"])
    assert origins == {
        "decision.costs.mel": "--set decision.costs",
        "decision.costs.bcc": "--set decision.costs.bcc",
    }


def test_the_file_that_is_wrong_is_blamed(tmp_path: Path) -> None:
    """A section stands where an earlier file has a value."""
    earlier, later = tmp_path / "a.toml", tmp_path / "b.toml"
    earlier.write_text("train = 3\n")
    later.write_text('[train]\nepochs = "x"\n')
    assert message_of([str(earlier), str(later)]).startswith(f"{later}: train.epochs: input")


def test_an_empty_name_of_a_config_file_is_refused() -> None:
    """Such as a variable of a shell that is not set."""
    with pytest.raises(ConfigError, match=r"^config: is empty"):
        load_config("")


@pytest.mark.parametrize("file", sorted((REPOSITORY / "conf").glob("*.toml")), ids=lambda f: f.name)
def test_shipped_config_files_use_the_names_of_today(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_config(str(file))
    assert caplog.text == ""


def test_a_file_may_begin_with_notepad_s_mark(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[train]\nepochs = 3\n", encoding="utf-8-sig")
    assert load_config(str(file)).train.epochs == 3
