"""Where the checkout is, and the real data beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"
"""HAM10000 (CC BY-NC 4.0), where a developer has it beside the checkout; never part of it."""
