"""Spark workers in network namespaces of their own (Linux), whose cables can be pulled."""

import json
import secrets
import shutil
import subprocess
from typing import Self

from tests.support.cluster import Network


class Namespaces(Network):
    """A bridge with the master's and the driver's address, and a namespace for each worker.

    Name and addresses are this network's own: a killed test run leaves its bridge behind, and
    two bridges of one address answer for each other.
    """

    def __init__(self, workers: int) -> None:
        self._bridge = f"sk{secrets.token_hex(4)}"
        self._workers = workers
        self._prefix = free_prefix()
        self.master = f"{self._prefix}.1"

    def __enter__(self) -> Self:
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self.master}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        for number in range(self._workers):
            name, cable = self._name(number), self._cable(number)
            ip("netns", "add", name)
            ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", cable, "master", self._bridge, "up")
            ip("-n", name, "addr", "add", f"{self.worker(number)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self._workers):
            ip("netns", "del", self._name(number))
        ip("link", "del", self._bridge)

    def worker(self, number: int) -> str:
        return f"{self._prefix}.{number + 2}"

    def command(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", self._name(number)]

    def cut(self, number: int) -> None:
        """Pull a worker's cable: nothing reaches it, and nobody is told."""
        ip("link", "set", self._cable(number), "down")

    def mend(self, number: int) -> None:
        ip("link", "set", self._cable(number), "up")

    def _name(self, number: int) -> str:
        return f"{self._bridge}-{number}"

    def _cable(self, number: int) -> str:
        return f"{self._bridge}c{number}"


def ip(*arguments: str) -> bytes:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True).stdout


def free_prefix() -> str:
    """The first three numbers of addresses that no interface here has."""
    used = {
        address["local"].rpartition(".")[0]
        for interface in json.loads(ip("-json", "-4", "addr", "show"))
        for address in interface["addr_info"]
    }
    return next(prefix for number in range(256) if (prefix := f"10.213.{number}") not in used)


def why_not() -> str:
    """Why namespaces can't be made here; "" where they can."""
    if not shutil.which("ip"):
        return "no command `ip` (iproute2)"
    cable = f"sk{secrets.token_hex(4)}"
    name = f"{cable}-probe"
    try:
        ip("netns", "add", name)
        ip("link", "add", cable, "type", "veth", "peer", "name", "e", "netns", name)
        ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed: {error.stderr.decode().strip()}"
    return ""
