"""What this machine has: versions, memory, processor. Found without importing the packages."""

import importlib.metadata
import platform
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("skinclf", "tensorflow", "keras", "numpy", "pandas", "pyarrow")
OTHER_BUILDS = {"tensorflow": ("tensorflow-cpu",)}
"""The same package under another name: without what GPUs need, which is half of it."""

MISSING = "missing"
"""The version of a package that is not there."""


def versions() -> dict[str, str]:
    """The versions in this process, found without importing the packages."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        found[name] = "unknown" if find_spec(name) else MISSING  # a checkout, or another build
        for distribution in (name, *OTHER_BUILDS.get(name, ())):
            with suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(distribution)
    return found


def free_megabytes() -> int | None:
    """Memory that this process may still take, by the machine and by its container (Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines}
    free = sizes["MemAvailable"]
    with suppress(OSError, ValueError):  # "max": no limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        counted = Path("/sys/fs/cgroup/memory.stat").read_text().split()
        used = int(counted[counted.index("anon") + 1])  # files' pages are given back
        free = min(free, (limit - used) // 2**20)
    return free


def has_bfloat16() -> bool:
    """Whether this machine's processor computes in bfloat16 (x86: AVX-512 or AMX; Linux)."""
    with suppress(OSError):
        words = set(Path("/proc/cpuinfo").read_text().split())
        return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
    return False
