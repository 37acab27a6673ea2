"""Text and HTML for people, made from records of facts.

Floor 1. Knows nothing of arrays or groups: a caller hands over a title and pairs of name and
value, and gets them laid out.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Facts", "Text", "as_html", "as_text", "human_bytes"]

Facts = Sequence[tuple[str, object]]
"""Pairs of a name and a value, in the order in which to show them."""

_STEP = 1024


class Text(str):
    r"""Text of several lines, which an interpreter shows as it reads.

    Examples
    --------
    >>> Text("two\nlines")
    two
    lines
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def as_text(title: str, facts: Facts) -> Text:
    """Lay facts out in two columns under a title.

    Examples
    --------
    >>> print(as_text("Array", [("shape", (2, 3)), ("dtype", "int8")]))
    Array
      shape  (2, 3)
      dtype  int8
    """
    width = max((len(name) for name, _ in facts), default=0)
    lines = (f"  {name:<{width}}  {value}" for name, value in facts)
    return Text("\n".join([title, *lines]))


def as_html(title: str, facts: Facts) -> str:
    """Lay facts out as an HTML table; every text is escaped.

    Examples
    --------
    >>> as_html("A", [("path", "<b>")])[-44:]
    '<th>path</th><td>&lt;b&gt;</td></tr></table>'
    """
    import html  # A long table, for notebooks alone.

    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts
    )
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"


def human_bytes(n_bytes: int) -> str:
    """Write a number of bytes in the largest binary unit that keeps it at 1 or more.

    Examples
    --------
    >>> human_bytes(1536), human_bytes(12)
    ('1.5 KiB', '12 B')
    """
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < _STEP:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} PiB"
