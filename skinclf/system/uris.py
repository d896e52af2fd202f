"""URIs of storage: their parts, and what must not be in them."""

import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

from skinclf.errors import UsageError

WITH_OPTIONS = re.compile(r"(s3[an]?|gs|gcs|abfss?)://")
"""Object stores, whose URIs may end in options: ?region=…&endpoint_override=…"""

WITH_ONE_SLASH = re.compile(r"(dbfs|file):/(?!/)")
"""As Databricks and Hadoop write them; any other such name is a local file's."""

USER_INFO = re.compile(
    r"(s3[an]?://)(?:[^/?#\s]*:\S*@|[^/?#\s]*@|[^/?#\s]*:[^/?#\s]*)|(://)[^/?#@\s]*:[^/?#\s]*@"
)
"""abfss://container@account is no secret; nor is the user of hdfs://user@host. No bucket has a
colon in its name, and half of the secrets of S3 have a slash. A password may have an @.
"""

OF_A_SERVER = re.compile(r"(?<=//)[^/?#\s]+@")
"""User and password in the address of a server, where even the user is not shown."""

SECRET_OPTION = re.compile(
    r"(?i)secret|passw|pwd|token|(access|account|api)_?key|credential|signature|^sig$|^sas"
)


def is_uri(path: str) -> bool:
    """Whether this names something on storage rather than a local file by its path."""
    return "://" in path or WITH_ONE_SLASH.match(path) is not None


def split_options(uri: str) -> tuple[str, str]:
    """A URI and its options with their question mark; "" where it has none, or can have none."""
    if not WITH_OPTIONS.match(uri):
        return uri, ""
    path, mark, options = uri.partition("?")
    return path, mark + options


def options_of(uri: str) -> dict[str, str]:
    """The options of a URI by name."""
    return dict(parse_qsl(split_options(uri)[1].removeprefix("?")))


def distinct_ends(paths: Iterable[str]) -> dict[str, int]:
    """Path → how many of its last parts no other of these paths has. A path with a slash at its end
    is the one without.
    """
    left = {path: path.rstrip("/").split("/") for path in paths}
    counts: dict[str, int] = {}
    for count in range(1, max(map(len, left.values()), default=0) + 1):
        ends = Counter(parts[-count:] for parts in set(map(tuple, left.values())))
        counts |= {p: count for p, parts in left.items() if ends[tuple(parts[-count:])] == 1}
        left = {path: parts for path, parts in left.items() if path not in counts}
    return counts


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The authority of a URI and the path in it, not %-encoded, without options."""
    path, _ = split_options(uri)
    bucket, _, key = path.partition("://")[2].partition("/")
    return bucket, unquote(key)


def without_password(uri: str) -> str:
    """A server's address without user and password, and without the values of secret options."""
    return without_secrets(OF_A_SERVER.sub("", uri))


def check_no_secret(path: str) -> None:
    """Raise UsageError, which does not repeat it, where a path or URI holds a password or key."""
    options = dict(parse_qsl(path.partition("?")[2])) if is_uri(path) else {}
    if USER_INFO.search(path) or any(map(SECRET_OPTION.search, options)):
        raise UsageError(f"{without_secrets(path)}: {REFUSED}")


REFUSED = (
    "holds a key or a password, which would be written to every table and log. Put it into the "
    "environment, a profile or a role instead: docs/how-to/object-stores.md"
)


def without_secrets(text: str) -> str:
    """Text whose URIs show neither user nor password, nor options that are secret."""
    text = USER_INFO.sub(lambda found: f"{found[1] or found[2]}***@", text)
    return re.sub(
        r"([?&;])([^=&;\s]+)=[^&;\s'\"]*",
        lambda found: f"{found[1]}{found[2]}=***" if SECRET_OPTION.search(found[2]) else found[0],
        text,
    )
