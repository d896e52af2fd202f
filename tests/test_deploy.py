"""deploy/: nothing of it runs here. Its files are checked by schemas, and against what they name.

Kubernetes' own kinds: by its published schemas (the package kubernetes-validate). A
SparkApplication: no package has its schema, so by a small one of the fields that are used, written
by hand; its pods' parts by the schema of a pod. Databricks: its tasks, files and options. Airflow:
with a stand-in for its package.
"""

import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

from skinclf.cli.commands import app
from skinclf.config.loader import load_config
from tests.support.repository import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DAG = DEPLOY / "airflow" / "skinclf_dag.py"
CLUSTER = tomllib.loads((REPOSITORY / "conf" / "cluster.toml").read_text())
LABELS = {"app.kubernetes.io/name": "skinclf"}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def checked_command(job: str, options: list[str], config: Path) -> Any:
    """The settings that a command of a job stands for; an error where it can't be run so."""
    assert (REPOSITORY / "jobs" / f"{job}.py").exists()
    command = typer.main.get_command(app).commands[job]  # type: ignore[attr-defined]
    given = command.make_context(job, options).params
    return load_config(str(config), given["assignments"] or ())


@pytest.mark.parametrize(
    "file", [p for p in DEPLOY.rglob("*.*") if "__pycache__" not in p.parts], ids=lambda p: p.name
)
def test_each_file_says_first_that_it_was_not_run(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    assert "Validated" in first
    assert "not run" in first


@pytest.mark.parametrize("name", ["account", "volume", "network-policy"])
def test_kubernetes_kinds_follow_their_schemas(name: str) -> None:
    for document in documents(KUBERNETES / f"{name}.yaml"):
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_the_kustomization_names_every_file() -> None:
    (kustomization,) = documents(KUBERNETES / "kustomization.yaml")
    files = {file.name for file in KUBERNETES.glob("*.yaml")}
    assert set(kustomization["resources"]) == files - {"kustomization.yaml"}


def test_the_pod_template_follows_its_schema() -> None:
    (pod,) = documents(REPOSITORY / "conf" / "pod.yaml")
    kubernetes_validate.validate(pod, "1.37", strict=True)


POD_FIELDS = {
    "cores": {"type": "integer", "minimum": 1},
    "memory": {"type": "string", "pattern": "^[0-9]+[mg]$"},
    "memoryOverhead": {"type": "string", "pattern": "^[0-9]+[mg]$"},
    **{name: {"type": "object"} for name in ("labels", "podSecurityContext", "securityContext")},
    "volumeMounts": {"type": "array"},
}
SPARK_APPLICATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "mode", "sparkVersion", "mainApplicationFile", "driver", "executor"],
    "properties": {
        "type": {"const": "Python"},
        "mode": {"const": "cluster"},
        **{key: {"type": "string"} for key in ("sparkVersion", "image", "mainApplicationFile")},
        "arguments": {"type": "array", "items": {"type": "string"}},
        "sparkConf": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": {"type": "array"},
        "restartPolicy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "type": {"enum": ["Never", "Always", "OnFailure"]},
                "onFailureRetries": {"type": "integer", "minimum": 0},
                "onFailureRetryInterval": {"type": "integer", "minimum": 1},
                "onSubmissionFailureRetries": {"type": "integer", "minimum": 0},
                "onSubmissionFailureRetryInterval": {"type": "integer", "minimum": 1},
            },
        },
        "driver": {
            "type": "object",
            "additionalProperties": False,
            "properties": POD_FIELDS | {"serviceAccount": {"type": "string"}},
        },
        "executor": {
            "type": "object",
            "additionalProperties": False,
            "properties": POD_FIELDS | {"instances": {"type": "integer", "minimum": 1}},
        },
    },
}
"""Of sparkoperator.k8s.io/v1beta2, `spec`: what train.yaml uses of it."""


@pytest.fixture
def train() -> dict[str, Any]:
    (document,) = documents(KUBERNETES / "train.yaml")
    return document


def test_the_spark_application_has_known_fields(train: dict[str, Any]) -> None:
    assert (train["apiVersion"], train["kind"]) == (
        *("sparkoperator.k8s.io/v1beta2", "SparkApplication"),
    )
    jsonschema.validate(train["spec"], SPARK_APPLICATION)
    for role in ("driver", "executor"):
        spec = train["spec"][role]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": role, "labels": spec["labels"]},
            "spec": {
                "serviceAccountName": spec.get("serviceAccount", "default"),
                "securityContext": spec["podSecurityContext"],
                "volumes": train["spec"]["volumes"],
                "containers": [
                    {
                        "name": "spark",
                        "securityContext": spec["securityContext"],
                        "volumeMounts": spec["volumeMounts"],
                    }
                ],
            },
        }
        kubernetes_validate.validate(pod, "1.37", strict=True)
        assert spec["labels"] == LABELS


def test_the_spark_application_has_the_settings_and_the_slots_of_ours(
    train: dict[str, Any],
) -> None:
    spec = train["spec"]
    lines = (REPOSITORY / "conf" / "spark-defaults.conf").read_text().splitlines()
    ours = dict(line.split(None, 1) for line in lines if line.strip() and line[0] != "#")
    elsewhere = {"spark.executor.memory", "spark.executor.memoryOverhead", "spark.task.cpus"}
    assert {key: spec["sparkConf"][key] for key in ours if key not in elsewhere} == {
        key: value.strip() for key, value in ours.items() if key not in elsewhere
    }
    executor = spec["executor"]
    assert executor["memory"] == ours["spark.executor.memory"].strip()
    assert executor["memoryOverhead"] == ours["spark.executor.memoryOverhead"].strip()
    slots = executor["instances"] * executor["cores"] // int(spec["sparkConf"]["spark.task.cpus"])
    assert slots == CLUSTER["train"]["slots"]
    job = spec["mainApplicationFile"].removeprefix("local:///opt/repository/jobs/")
    settings = checked_command(
        job.removesuffix(".py"), spec["arguments"], REPOSITORY / "conf" / "cluster.toml"
    )
    assert settings.run.path.startswith(spec["driver"]["volumeMounts"][0]["mountPath"])
    (claim,) = documents(KUBERNETES / "volume.yaml")
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_network_policy_opens_the_ports_that_are_set(train: dict[str, Any]) -> None:
    (policy,) = documents(KUBERNETES / "network-policy.yaml")
    (rule,) = policy["spec"]["ingress"]
    opened = [(port["port"], port.get("endPort", port["port"])) for port in rule["ports"]]
    conf = train["spec"]["sparkConf"]
    first, last = map(int, CLUSTER["fault_tolerance"]["ports"].split("-"))
    spark = [int(conf["spark.driver.port"]), int(conf["spark.blockManager.port"])]
    assert opened == [*((port, port) for port in spark), (first, last)]
    assert (
        policy["spec"]["podSelector"] == rule["from"][0]["podSelector"] == {"matchLabels": LABELS}
    )


@pytest.mark.parametrize("role", ["driver", "executor"])
def test_a_container_is_what_spark_calls_it(role: str, tmp_path: Path) -> None:
    """Spark's contract with its images: the word, and the variables that it sets in the pod."""
    for name in ("java", "bin/spark-submit"):
        script = tmp_path / name
        script.parent.mkdir(exist_ok=True)
        script.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        script.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SPARK_HOME": str(tmp_path),
        "SPARK_DRIVER_BIND_ADDRESS": "10.0.0.7",
        "SPARK_JAVA_OPT_0": "-Dwith=a blank",
        "SPARK_JAVA_OPT_1": "-XX:+UseParallelGC",
        **{
            f"SPARK_{name}": name.lower()
            for name in (
                *("EXECUTOR_MEMORY", "DRIVER_URL", "EXECUTOR_ID", "EXECUTOR_CORES"),
                *("APPLICATION_ID", "EXECUTOR_POD_IP", "RESOURCE_PROFILE_ID", "EXECUTOR_POD_NAME"),
            )
        },
    }
    more = ["--properties-file", "spark.properties", "local:///opt/repository/jobs/train.py"]
    done = subprocess.run(
        ["sh", str(REPOSITORY / "docker" / "entrypoint.sh"), role, *more * (role == "driver")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    program, *words = done.stdout.splitlines()
    if role == "driver":
        assert program == str(tmp_path / "bin" / "spark-submit")
        assert words[:2] == ["--deploy-mode", "client"]
        assert "spark.driver.bindAddress=10.0.0.7" in words
        assert words[-3:] == more
    else:
        assert Path(program).name == "java"
        assert words[:4] == [
            *("-Dwith=a blank", "-XX:+UseParallelGC"),
            *("-Xmsexecutor_memory", "-Xmxexecutor_memory"),
        ]
        assert words[words.index("--driver-url") + 1] == "driver_url"
        assert words[-1] == "executor_pod_name"


def test_the_databricks_job_runs_the_stages_in_their_order() -> None:
    (bundle,) = documents(DEPLOY / "databricks" / "databricks.yml")
    job = bundle["resources"]["jobs"]["skinclf"]
    clusters = {each["job_cluster_key"]: each["new_cluster"] for each in job["job_clusters"]}
    before: list[dict[str, str]] = []
    for task, stage in zip(job["tasks"], ("prepare", "train", "evaluate", "score"), strict=True):
        assert task["task_key"] == stage
        assert task.get("depends_on", []) == before
        settings = clusters[task["job_cluster_key"]].get("spark_conf", {})
        assert ("spark.task.cpus" in settings) == (stage == "train")
        script = (DEPLOY / "databricks" / task["spark_python_task"]["python_file"]).resolve()
        assert script == REPOSITORY / "jobs" / f"{stage}.py"
        options = task["spark_python_task"]["parameters"]
        checked_command(stage, options, REPOSITORY / "conf" / "cluster.toml")
        for library in task["libraries"]:
            if "requirements" in library:
                assert (DEPLOY / "databricks" / library["requirements"]).exists()
        before = [{"task_key": stage}]
    text = (DEPLOY / "databricks" / "databricks.yml").read_text()
    for name in bundle["variables"]:
        assert f"${{var.{name}}}" in text


class Failed(Exception):
    """AirflowException's stand-in: tried again."""


class FailedForGood(Failed):
    """AirflowFailException's: not tried again."""


@pytest.fixture
def dag(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The module, read with a stand-in for Airflow; `order` has what was chained."""
    order: list[tuple[str, str]] = []

    class Task:
        def __init__(self, call: Callable[..., None], name: str = "") -> None:
            self.call, self.name = call, name

        def override(self, task_id: str) -> "Task":
            return Task(self.call, task_id)

        def __call__(self, stage: str) -> tuple[str, str]:
            return self.name, stage

    sdk: Any = ModuleType("airflow.sdk")
    sdk.chain = lambda *tasks: order.extend(tasks)
    sdk.dag = lambda **_: lambda function: function
    sdk.task = lambda **_: Task
    errors: Any = ModuleType("airflow.sdk.exceptions")
    errors.AirflowException, errors.AirflowFailException = Failed, FailedForGood
    modules = {"airflow": ModuleType("airflow"), "airflow.sdk": sdk}
    for name, module in (modules | {"airflow.sdk.exceptions": errors}).items():
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(DAG)) | {"order": order}


def test_airflow_runs_the_stages_in_their_order_with_their_options(dag: dict[str, Any]) -> None:
    stages = ("prepare", "train", "evaluate", "score")
    assert dag["order"] == [(stage, stage) for stage in stages]
    for stage in stages:
        words = dag["command"](stage)
        config, properties = (
            words[words.index(option) + 1].replace(dag["CHECKOUT"], str(REPOSITORY))
            for option in ("--config", "--properties-file")
        )
        assert Path(properties).exists()
        script = words.index(f"{dag['CHECKOUT']}/jobs/{stage}.py")
        settings = checked_command(stage, words[script + 1 :], Path(config))
        assert settings.evaluate.gates == (
            {"balanced_accuracy": 0.6} if stage == "evaluate" else {}
        )


@pytest.mark.parametrize(("status", "raised"), [(75, Failed), (143, Failed), (3, FailedForGood)])
def test_airflow_tries_again_what_may_end_otherwise(
    dag: dict[str, Any], status: int, raised: type[Exception]
) -> None:
    run = dag["run"].call
    run.__globals__["command"] = lambda _: ["sh", "-c", f"exit {status}"]
    with pytest.raises(Failed, match=f"evaluate: exit status {status}") as caught:
        run("evaluate")
    assert caught.type is raised


def test_airflow_goes_to_the_next_stage_after_status_0(dag: dict[str, Any]) -> None:
    run = dag["run"].call
    run.__globals__["command"] = lambda _: ["true"]
    run("evaluate")


def test_images_hold_what_is_tracked_alone() -> None:
    """A page with photographs that somebody left in the checkout is not pushed to a registry."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    command = ["git", "ls-files"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout")
    tracked = {name.partition("/")[0] for name in done.stdout.splitlines()}
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert all(
        any(fnmatch(name, pattern) for pattern in kept) for name in tracked - {".dockerignore"}
    )
    assert all(any(fnmatch(name, pattern) for name in tracked) for pattern in kept)
    assert lines[-1] == "docker/.env"  # the last line that fits decides
