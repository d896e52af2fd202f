"""Ports for processes that a test starts."""

from contextlib import ExitStack, closing

from skinclf.system.ports import listening_socket

NOT_THE_SYSTEM_S = "10000-32767"
"""Below those that Linux gives to connections: one of its choice may be taken again until the
process listens."""


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:  # all at once, or they might be one
        probes = [
            held.enter_context(closing(listening_socket(NOT_THE_SYSTEM_S))) for _ in range(count)
        ]
        return [int(probe.getsockname()[1]) for probe in probes]
