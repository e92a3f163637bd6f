"""What is said of errors of TLS: the machine's clock is a reason, too."""

from __future__ import annotations

import time

import httpx
import pytest

from atoll.host.http_faults import TransientError, network_errors

FAILED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {} (_ssl.c:1006)"
URL = httpx.URL("https://shop.example/v2/")


def hint_for(reason: str) -> str:
    with pytest.raises(TransientError) as caught, network_errors(URL):
        raise httpx.ConnectError(FAILED.format(reason))
    assert caught.value.is_final and reason in str(caught.value)
    return caught.value.hint


@pytest.mark.parametrize("reason", ["certificate is not yet valid", "certificate has expired"])
def test_a_certificate_of_another_time_may_be_a_wrong_clock(reason: str) -> None:
    assert f"today is {time.strftime('%Y-%m-%d')}" in hint_for(reason)
    assert "timedatectl set-time" in hint_for(reason)


def test_an_unknown_authority_is_not_a_matter_of_the_clock() -> None:
    assert "certs.d/shop.example/ca.crt" in hint_for("unable to get local issuer certificate")
