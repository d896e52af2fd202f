import pytest


@pytest.fixture(autouse=True)
def _in_the_shared_session(request: pytest.FixtureRequest) -> None:
    """Jobs that a test calls run in the session that this process has, save where it opts out."""
    if "own_session" not in request.fixturenames:
        request.getfixturevalue("spark")
