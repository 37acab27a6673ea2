"""Shows what an assertion compared in the contracts as well as in the tests themselves."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.contracts.codecs", "tests.contracts.pipelines", "tests.contracts.stores"
)
