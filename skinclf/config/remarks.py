"""What conf/default.toml says of each setting: for pages, for editors, for people."""

import re
from pathlib import Path
from typing import Any

from skinclf.config.loader import shipped_config
from skinclf.config.schema import Config

TABLE = re.compile(r"\[([\w.]+)\]\s*(?:#\s*(.*))?$")
VALUE = re.compile(r'(\w+) = (?:"[^"]*"|\[[^\]]*\]|[^#]*?)\s*(?:#\s*(.*))?$')
CONTINUED = re.compile(r"\s+#\s*(.*)$")


def read_remarks() -> dict[str, str]:
    """`section` or `section.key` → the comment behind it."""
    remarks: dict[str, str] = {}
    section = key = ""
    for line in Path(shipped_config("default.toml")).read_text().splitlines():
        if table := TABLE.match(line):
            section = key = table[1]
            remarks[key] = table[2] or ""
        elif value := VALUE.match(line):
            key = f"{section}.{value[1]}"
            remarks[key] = value[2] or ""
        elif more := CONTINUED.match(line):
            remarks[key] += f" {more[1]}"
    return remarks


def json_schema() -> dict[str, Any]:
    """JSON Schema of a config file, with these remarks as descriptions."""
    schema = Config.model_json_schema()
    _describe(schema, schema, "", read_remarks())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _describe(
    schema: dict[str, Any], section: dict[str, Any], prefix: str, remarks: dict[str, str]
) -> None:
    for name, field in section.get("properties", {}).items():
        if remark := remarks.get(f"{prefix}{name}"):
            field["description"] = remark
        reference = field.get("$ref", "").rpartition("/")[2]
        if reference:
            _describe(schema, schema["$defs"][reference], f"{prefix}{name}.", remarks)
