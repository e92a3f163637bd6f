"""Hashes of passwords, judged by openssl and by their own verification."""

from __future__ import annotations

import subprocess

from atoll.host.password_hash import crypt_password, hash_password
from atoll.installer.answers.checks import check_hash


def test_it_is_what_debian_takes() -> None:
    one, two = hash_password("correct horse"), hash_password("correct horse")
    assert one.startswith("$y$j9T$")
    assert one != two
    assert check_hash(one) is None
    assert crypt_password("correct horse", one) == one
    assert crypt_password("correct horsf", one) != one


def test_letters_outside_of_ascii() -> None:
    made = hash_password("Grüße, 世界")
    assert crypt_password("Grüße, 世界", made) == made


def test_another_program_makes_the_same() -> None:
    words = ["openssl", "passwd", "-6", "-salt", "atollsalt", "-stdin"]
    theirs = subprocess.run(words, input=b"atoll\n", capture_output=True, check=True).stdout
    assert crypt_password("atoll", "$6$atollsalt$") == theirs.decode().strip()
