"""The merge of a certificate bundle, which is generated and not edited: it is merged as a set.

A machine with a certificate authority of its own keeps it, whatever the image adds and removes.
"""

from __future__ import annotations

import re

BUNDLE = "ssl/certs/ca-certificates.crt"
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def merge_certificates(old: bytes, live: bytes, new: bytes) -> bytes:
    """The image's list without what was removed here, and then what was added here."""
    before, here, theirs = (_BLOCK.findall(text) for text in (old, live, new))
    removed = {*before} - {*here}
    added = [block for block in here if block not in {*before, *theirs}]
    kept = [block for block in theirs if block not in removed]
    return b"".join(block + b"\n" for block in dict.fromkeys((*kept, *added)))
