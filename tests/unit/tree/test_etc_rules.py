"""Rules for /etc: what a pattern matches, and invalid patterns."""

from __future__ import annotations

import pytest

from atoll.base.errors import UsageError
from atoll.tree.etc_rules import Winner, is_machine_made, parse_rule, winner, with_defaults


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/etc/motd", "motd", True),
        ("motd", "motd", True),
        ("motd", "motd.d", False),
        ("ssh", "ssh/sshd_config", True),
        ("ssh/", "ssh/sshd_config", True),
        ("*.conf", "a.conf", True),
        ("*.conf", "a/b.conf", False),
        ("**.conf", "a/b.conf", True),
        ("a/**/c", "a/b/b/c", True),
        ("a?", "ab", True),
        ("a?", "a/", False),
        ("a[b]", "a[b]", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    rules = (parse_rule(pattern, "image"),)
    assert winner(rules, path) is (Winner.IMAGE if matches else Winner.MERGE)


@pytest.mark.parametrize(
    ("pattern", "wins"),
    [("", "image"), ("/etc/", "image"), ("/usr", "image"), ("a/../b", "local"), ("a", "mine")],
)
def test_what_is_no_rule_is_refused(pattern: str, wins: str) -> None:
    with pytest.raises(UsageError):
        parse_rule(pattern, wins)


def test_the_first_rule_that_matches_counts() -> None:
    rules = with_defaults((parse_rule("ld.so.cache", "local"), parse_rule("**", "image")))
    assert winner(rules, "machine-id") is Winner.LOCAL
    assert winner(rules, "ld.so.cache") is Winner.LOCAL
    assert winner(rules, "passwd-") is Winner.IMAGE


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("machine-id", True),
        ("ssh/ssh_host_rsa_key.pub", True),
        ("passwd-", True),
        ("passwd", False),
        ("ssh/sshd_config", False),
        ("hosts", False),
    ],
)
def test_what_machines_make_by_themselves_is_known(path: str, made: bool) -> None:
    assert is_machine_made(path) == made
