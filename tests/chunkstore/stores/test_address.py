"""An address is a value, and no text that is made of it shows a credential."""

from __future__ import annotations

import pytest

from chunkstore import MemoryStore
from chunkstore.errors import StoreError
from chunkstore.stores.address import Address, fail

SECRET = "hunter-two"


@pytest.mark.parametrize(
    "options",
    [
        {"secret_access_key": SECRET},
        {"token": SECRET},
        {"connection_string": SECRET},
        {"auth": ("me", SECRET)},
        {"client_options": {"default_headers": {"Authorization": SECRET}}},
        {"client_kwargs": {"aws_session_token": SECRET}},
    ],
)
def test_options_stay_hidden(options: dict[str, object]) -> None:
    """Whatever option holds a credential, at whatever depth, a text that quotes it does not."""
    shown = Address("s3://bucket/x", options).hide(f"signed with {SECRET}: refused")
    assert shown == "signed with ***: refused"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pass@host/x", "https://***@host/x"),
        ("simplecache::https://token@host/x", "simplecache::https://***@host/x"),
        ("https://host/x?sig=abc&se=1", "https://host/x?***"),
        ("abfs://container@account.dfs.core.windows.net/x", None),
        ("s3://bucket/a@b", None),
        ("s3://bucket/x", None),
    ],
)
def test_urls_show_places_alone(url: str, shown: str | None) -> None:
    """Users, passwords and signatures of a URL are hidden; buckets and containers are not."""
    assert repr(Address(url, {})) == repr(shown or url)


def test_an_address_is_a_value() -> None:
    """Equal URLs and options are equal addresses, and one stays as it was made."""
    options = {"endpoint": "a", "client_options": {"timeout": "1s"}, "list": [1]}
    one, two = Address("s3://b/x", options), Address("s3://b/x", options)
    assert one == two
    assert hash(one) == hash(two)
    options["client_options"]["timeout"] = "2s"  # type: ignore[index]
    options["list"].append(2)  # type: ignore[attr-defined]
    assert one == two
    assert one != Address("s3://b/x", options)


@pytest.mark.parametrize(("text", "has_cause"), [("no route", True), (f"bad {SECRET}", False)])
def test_a_cause_that_tells_is_left_out(text: str, has_cause: bool) -> None:
    """An error keeps its cause for whoever looks into it, unless the cause shows a credential."""
    place, store = Address("s3://b/x", {"key": SECRET}), MemoryStore()
    with pytest.raises(StoreError, match="cannot read 'a' in MemoryStore") as caught:
        fail(store, place, ("read", "a"), ValueError(text), is_unsure=True)
    assert SECRET not in str(caught.value)
    assert (caught.value.__cause__ is not None) is has_cause
    assert caught.value.is_unsure
    assert caught.value.key == "a"
