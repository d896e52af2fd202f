"""Metadata on top of a Markdown card, as the Hugging Face Hub reads it."""

import json
import re
from collections.abc import Mapping
from typing import Any

LICENCES = frozenset(
    {
        *("apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0"),
        *("cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "pddl"),
    }
)
"""Of the Hub's identifiers those that archives of images have."""


def front_matter(values: Mapping[str, Any]) -> str:
    """A block of YAML with one line a key: JSON is YAML, too."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---", ""])


def licence_of(text: str) -> dict[str, str]:
    """The Hub's `license` for a licence in words, such as "CC BY-NC 4.0"."""
    name = re.sub(r"[\s_]+", "-", text.strip().lower())
    if not name:
        return {"license": "unknown"}
    if name in LICENCES:
        return {"license": name}
    words = re.sub(r"[^a-z0-9.]+", "-", name).strip("-")
    return {"license": "other"} | ({"license_name": words} if words else {})
