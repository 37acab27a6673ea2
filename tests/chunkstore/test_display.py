"""Text and HTML for people say what they were given, and nothing gets out of a table cell."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.display import as_html, as_text, human_bytes

FACTS = [("shape", (2, 3)), ("data type", "int8"), ("x", "")]


def test_text_has_two_columns() -> None:
    """All values start in one column, two blanks behind the longest name."""
    assert as_text("Array", FACTS).splitlines() == [
        "Array",
        "  shape      (2, 3)",
        "  data type  int8",
        "  x          ",
    ]


def test_no_facts() -> None:
    """A title alone is shown alone."""
    assert as_text("Array", []) == "Array"
    assert as_html("Array", []) == "<table><caption>Array</caption></table>"


class Reader(HTMLParser):
    """Collects the tags and the texts of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the name of a tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data)


@settings(max_examples=20)
@given(st.text(), st.text(), st.text())
def test_html_escapes_everything(title: str, name: str, value: str) -> None:
    """No title, name or value, whatever it holds, adds a tag to the table."""
    reader = Reader()
    reader.feed(as_html(title, [(name, value)]))
    reader.close()
    assert reader.tags == ["table", "caption", "tr", "th", "td"]


def test_html_shows_what_was_given() -> None:
    """What a browser shows is the text itself."""
    reader = Reader()
    reader.feed(as_html("<A & B>", [("a<b", "'\"&amp;")]))
    reader.close()
    assert reader.texts == ["<A & B>", "a<b", "'\"&amp;"]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (1 << 40, "1.0 TiB"),
        (5 << 50, "5.0 PiB"),
        (5 << 60, "5120.0 PiB"),
    ],
)
def test_human_bytes(n_bytes: int, text: str) -> None:
    """A number of bytes is written in the largest unit that keeps it at one or more."""
    assert human_bytes(n_bytes) == text
