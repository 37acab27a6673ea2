"""Receipts, their sum and the report."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_integration.receipts import Receipt, StoreReport, checksum, merge_receipts

# Times are multiples of a power of two, so that sums do not depend on the order by rounding.
seconds = st.integers(0, 1000).map(lambda n: n / 64)
receipts = st.lists(
    st.builds(
        Receipt,
        block_id=st.tuples(st.integers(0, 50), st.integers(0, 50)),
        value_bytes=st.integers(0, 10**9),
        checksum=st.integers(0, 2**32 - 1),
        started_s=seconds,
        write_s=seconds,
    ),
    min_size=1,
    max_size=12,
)


@given(parts=receipts, data=st.data())
def test_receipts_add_up_the_same_in_any_order_and_grouping(
    parts: list[Receipt], data: st.DataObject
) -> None:
    """A tree of any shape over any permutation gives one and the same tally."""
    expected = merge_receipts(list(parts))
    waiting = list(data.draw(st.permutations(parts)))
    while len(waiting) > 1:
        n = data.draw(st.integers(2, len(waiting)))
        waiting = [merge_receipts(waiting[:n]), *waiting[n:]]
    assert merge_receipts(waiting) == expected
    assert expected.n_blocks == len(parts)
    assert expected.value_bytes == sum(part.value_bytes for part in parts)
    assert expected.ended_s == max(part.started_s + part.write_s for part in parts)


def test_the_sum_sees_values_places_and_losses() -> None:
    """Another value, two blocks that trade places, and a missing block all show."""
    a, b = Receipt((0, 0), 8, 111, 0.0, 0.0), Receipt((0, 1), 8, 222, 0.0, 0.0)
    swapped = [a._replace(checksum=222), b._replace(checksum=111)]
    changed = [a, b._replace(checksum=223)]
    sums = {merge_receipts(list(parts)).checksum for parts in ([a, b], swapped, changed, [a])}
    assert len(sums) == 4
    assert all(0 <= value < 2**64 for value in sums)


@given(
    shape=st.lists(st.integers(0, 5), max_size=3), dtype=st.sampled_from(["?", "i2", "f8", "c8"])
)
def test_the_checksum_is_of_values_in_c_order(shape: list[int], dtype: str) -> None:
    """Memory layout does not matter, values do."""
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    assert checksum(values) == checksum(np.asfortranarray(values))
    assert checksum(values) == checksum(np.stack([values, values], axis=-1)[..., 0])
    if values.size:
        changed = values.copy()
        changed.flat[-1] = not changed.flat[-1]
        assert checksum(changed) != checksum(values)


def test_the_checksum_of_text_sees_where_words_end() -> None:
    """Moving a letter from one word to the next shows."""
    words = [np.array(pair, dtype=object) for pair in (["ab", "c"], ["a", "bc"])]
    assert checksum(words[0]) != checksum(words[1])
    assert checksum(words[0]) == checksum(np.array(["ab", "c"], np.dtypes.StringDType()))


@pytest.mark.parametrize("elapsed_s", [0.0, 2.0])
def test_the_report_prints_and_pickles(elapsed_s: float) -> None:
    """A job that took no measurable time has no rate; all else is shown."""
    report = StoreReport("/x in s", (10, 3), "int8", 1_200, 64_000_000, "ff", 3.5, elapsed_s)
    text = str(report)
    assert ("32 MB/s" in text) == (elapsed_s > 0)
    assert "(10, 3) int8 in 1,200 blocks, 64.0 MB of values" in text
    assert "checksum ff" in text
    assert pickle.loads(pickle.dumps(report)) == report
