import pytest

from skinclf.errors import UsageError
from skinclf.system.uris import (
    check_no_secret,
    distinct_ends,
    is_uri,
    options_of,
    split_options,
    without_password,
    without_secrets,
)


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://KEY:SECRET@bucket/x", "s3a://KEY@bucket", "hdfs://user:SECRET@host/x"),
        *("abfss://:SECRET@account/x", "abfss://c@a/x?client_secret=SECRET"),
        *("abfss://c@a/x?sv=1&sig=SECRET", "https://a/x.zip?sv=1&sig=SECRET"),
        *("s3a://KEY:with/SECRET@bucket/x", "s3://b/x?X-Amz-Signature=SECRET"),
        *("hdfs://user:p@SECRET@host/x", "https://user:SECRET@SECRET@host:8020/x@y"),
    ],
)
def test_keys_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError, match="holds a key or a password") as refused:
        check_no_secret(uri)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "path",
    [
        *("s3://bucket/a@b:c.jpg", "abfss://container@account.dfs.core.windows.net/x"),
        *("hdfs://user@host:8020/x", "/data/a:b@c?token=1", "s3://b/x?region=eu-west-1"),
    ],
)
def test_what_only_looks_like_one_is_not(path: str) -> None:
    check_no_secret(path)
    assert without_secrets(path).replace("***", "1") == path


def test_a_server_is_named_without_user_and_password() -> None:
    for address in ("https://user:p@SECRET@host/x@y", "https://user@host/x@y", "https://host/x@y"):
        assert without_password(address) == "https://host/x@y"


def test_paths_have_as_many_parts_as_tell_them_apart() -> None:
    assert distinct_ends(["a/x", "b/x", "y/"]) == {"a/x": 2, "b/x": 2, "y/": 1}
    assert distinct_ends(["s3://b/x", "s3://b/x/"]) == {"s3://b/x": 1, "s3://b/x/": 1}


def test_options_are_those_of_object_stores_alone() -> None:
    assert split_options("s3://b/x?scheme=http") == ("s3://b/x", "?scheme=http")
    assert split_options("/data/what?.jpg") == ("/data/what?.jpg", "")
    assert split_options("hdfs://host/what?.jpg") == ("hdfs://host/what?.jpg", "")
    assert options_of("s3://b?region=r&scheme=http") == {"region": "r", "scheme": "http"}


def test_databricks_own_form_is_a_uri() -> None:
    assert is_uri("dbfs:/mnt/x")
    assert is_uri("file:/mnt/x")  # Hadoop's
    assert not is_uri("C:/x")


def test_tokens_in_texts_are_not_shown() -> None:
    assert without_secrets("sc://host:15002/;token=abc;user_id=7") == (
        "sc://host:15002/;token=***;user_id=7"
    )
