"""TCP ports, from a range that a firewall lets through."""

import random
import socket

from skinclf.errors import ConfigError


def listening_socket(ports: str) -> socket.socket:
    """A socket that listens on a free port of the range "FROM-TO"; "": of the system's choice.

    Ports are tried in random order. Raises ConfigError where all are taken.
    """
    if not ports:
        return socket.create_server(("", 0))
    first, last = map(int, ports.split("-"))
    for port in random.sample(range(first, last + 1), last + 1 - first):
        try:
            return socket.create_server(("", port))
        except OSError:
            continue
    raise ConfigError(
        f"fault_tolerance.ports: none of {ports} is free on {socket.gethostname()}; each training "
        f"slot of a host takes one, and a port is not free again at once: name a wider range"
    )
