import socket
from contextlib import ExitStack, closing

import pytest

from skinclf.config.loader import load_config
from skinclf.errors import ConfigError
from skinclf.system.ports import listening_socket


def test_a_port_comes_from_the_range() -> None:
    with closing(listening_socket("")) as system_s_choice:
        first = system_s_choice.getsockname()[1]
    with ExitStack() as held:
        ports = f"{first}-{first + 9}"
        taken = [held.enter_context(closing(listening_socket(ports))) for _ in range(3)]
        numbers = {listener.getsockname()[1] for listener in taken}
        assert len(numbers) == 3
        assert numbers <= set(range(first, first + 10))


def test_a_range_without_a_free_port_is_told() -> None:
    with closing(socket.create_server(("", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"none of {port}-{port} is free"):
            listening_socket(f"{port}-{port}")


@pytest.mark.parametrize("ports", ["80-90", "5000-4000", "40000-70000", "any"])
def test_what_is_no_range_is_refused(ports: str) -> None:
    with pytest.raises(ConfigError, match="fault_tolerance"):
        load_config(None, [f"fault_tolerance.ports={ports}"])
