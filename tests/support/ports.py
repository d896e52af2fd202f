"""Ports for processes that a test starts."""

from contextlib import ExitStack, closing

from skinclf.system.ports import listening_socket


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:  # all at once, or they might be one
        probes = [held.enter_context(closing(listening_socket(""))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
