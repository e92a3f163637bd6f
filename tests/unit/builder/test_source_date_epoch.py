"""What SOURCE_DATE_EPOCH may be."""

from __future__ import annotations

import pytest

from atoll.base.errors import UsageError
from atoll.builder.use_lock import source_date_epoch


@pytest.mark.parametrize("text", ["", "tomorrow", "-1", "1.5", "²"])
def test_what_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH") as caught:
        source_date_epoch()
    assert caught.value.hint


def test_a_number_counts_and_silence_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1788000000")
    assert source_date_epoch() == 1_788_000_000
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert source_date_epoch() is None
