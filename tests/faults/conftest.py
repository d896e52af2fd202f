from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.training import Training


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests of a process: each of them leaves it with two idle workers."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two slots that nothing happened to, in local mode: it is the same anywhere."""
    training = Training(prepared, tmp_path_factory.mktemp("uninterrupted"), "local[2]")
    assert training.finish() == 0, training.told()
    assert training.restarts() == []
    return training.run
