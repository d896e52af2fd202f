"""Names that come from outside: written in one way, and made harmless for those who read them."""

import re
import unicodedata

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would run (OWASP, "CSV Injection")."""

CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1: ESC starts a terminal's commands
    "\u2028\u2029"  # line and paragraph separators
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # these turn the direction of what follows
    "\ud800-\udfff]"  # no characters, and not to be written as UTF-8
)


def normalized(text: str) -> str:
    """Text without outer blanks, each letter with its accent one character (NFC): macOS writes two
    into names of files.
    """
    return unicodedata.normalize("NFC", text).strip()


def comparable(text: str) -> str:
    """A name or a word as it is compared with others: `normalized`, and without case."""
    return normalized(text).lower()


def printable(text: str, keep: str = "") -> str:
    r"""Text whose control characters, but those in `keep`, are shown as `\x1b` or `\u202e`."""

    def shown(found: re.Match[str]) -> str:
        code = ord(found[0])
        if found[0] in keep:
            return found[0]
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return CONTROLS.sub(shown, text)


def harmless_cell(text: str) -> str:
    """Text for a cell of a CSV: printable, and never a formula (a `'` precedes it)."""
    return ("'" if text.startswith(FORMULA) else "") + printable(text)


def in_one_line(error: Exception) -> str:
    """An error's text; of pydantic's ValidationError, each wrong key with what is wrong."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return str(error)
    lines = (
        ": ".join(filter(None, [".".join(map(str, detail["loc"])), detail["msg"].lower()]))
        for detail in details()
    )
    return "; ".join(lines)
