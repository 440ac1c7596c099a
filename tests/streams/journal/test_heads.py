"""Signed heads: what they vouch for, and what does not pass for one."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rules.engine.chain import ChainEnd, hash_of
from rules.errors import ConfigurationError, UndecodableError
from streams.command_signatures import command_signer
from streams.journal.chain import Finding, Verifier
from streams.journal.heads import Head, Signer, head_of, is_signed, read_signer
from streams.keys import key_id, make_key, read_public
from tests.streams.journal.lines import journal

LINES = journal(6)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    make_key(tmp_path / "key.pem")
    return read_signer(tmp_path / "key.pem")


def signed(signer: Signer, number: int) -> Head:
    return signer.head("row-a", ChainEnd(number, hash_of(LINES[number - 1])), number * 10)


def findings(tmp_path: Path, values: list[bytes], key: str = "key.pem.pub") -> list[Finding]:
    public = read_public(tmp_path / key)
    verifier = Verifier()
    for place, value in enumerate(values):
        verifier.take(value, str(place))
    return verifier.finish({key_id(public): public})


def test_keys_are_their_owners_and_nothing_is_overwritten(tmp_path: Path) -> None:
    public = make_key(tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert read_signer(tmp_path / "key.pem").key_id == key_id(read_public(public))
    with pytest.raises(ConfigurationError, match="can't be written"):
        make_key(tmp_path / "key.pem")
    for read in (read_signer, read_public):
        with pytest.raises(ConfigurationError, match="can't be read"):
            read(tmp_path / "none")
        (tmp_path / "odd").write_bytes(b"no key")
        with pytest.raises(ConfigurationError, match="Ed25519"):
            read(tmp_path / "odd")
    with pytest.raises(ConfigurationError, match="Ed25519"):
        read_signer(public)


@pytest.mark.parametrize("read", [read_signer, partial(command_signer, site="narvik")])
def test_a_worker_takes_no_key_that_others_may_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    make_key(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(ConfigurationError, match="others than its owner may read this private key"):
        read(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o440)  # as Kubernetes and systemd hand it to a service
    read(tmp_path / "key.pem")


def test_a_head_is_read_as_it_was_written_and_not_otherwise(signer: Signer, tmp_path: Path) -> None:
    head = signed(signer, 3)
    assert head_of(head.as_bytes()) == head
    key = read_public(tmp_path / "key.pem.pub")
    assert is_signed(head, key)
    others = [
        replace(head, number=4), replace(head, at_ns=1), replace(head, unit="row-b"),
        replace(head, hash="00" * 32), replace(head, signature=""), replace(head, signature="no hex"),
    ]  # fmt: skip
    assert not any(is_signed(one, key) for one in others)
    for value in (
        head.as_bytes() + b" ",
        b"[]",
        b"{",
        head.as_bytes().replace(b'"number":3', b'"number":"3"'),
        replace(head, hash="00" * 31).as_bytes(),
        replace(head, hash=head.hash.upper()).as_bytes(),
    ):
        with pytest.raises(UndecodableError):
            head_of(value)


def test_the_last_head_says_how_far_the_journal_is_signed(signer: Signer, tmp_path: Path) -> None:
    heads = [signed(signer, number).as_bytes() for number in (2, 4)]
    assert findings(tmp_path, [*LINES[:2], heads[0], *LINES[2:4], heads[1], *LINES[4:]]) == []
    # said before the recording began: there is nothing to hold it against
    assert findings(tmp_path, [heads[0], *LINES[2:4], heads[1]]) == []


def test_a_cut_tail_a_forged_line_and_a_forged_head_are_found(signer: Signer, tmp_path: Path) -> None:
    good = signed(signer, 4)
    [cut] = findings(tmp_path, [*LINES[:2], signed(signer, 2).as_bytes(), good.as_bytes()])
    assert (cut.what, cut.number, cut.place) == ("cut", 4, "3")
    last = LINES[3].replace(b'"missing":4', b'"missing":5')
    found = findings(tmp_path, [*LINES[:3], last, good.as_bytes()])
    assert [(one.what, one.number, one.place) for one in found] == [
        ("changed", 4, "3"),
        ("not signed", 0, ""),
    ]
    forged = replace(good, at_ns=99)
    found = findings(tmp_path, [*LINES, forged.as_bytes()])
    assert [(one.what, one.place) for one in found] == [("wrong head", "6"), ("not signed", "")]
    moved = replace(good, number=3)
    assert findings(tmp_path, [*LINES, moved.as_bytes()])[0].what == "wrong head"


def test_a_chain_that_was_written_anew_does_not_fit_its_head(signer: Signer, tmp_path: Path) -> None:
    anew = journal(6, "row-b")
    heads = [signer.head("row-b", ChainEnd(3, hash_of(LINES[2])), 30).as_bytes()]
    found = findings(tmp_path, [*anew[:3], *heads, *anew[3:]])
    assert (found[0].what, found[0].number) == ("wrong head", 3)


def test_another_key_vouches_for_nothing(signer: Signer, tmp_path: Path) -> None:
    make_key(tmp_path / "other.pem")
    found = findings(tmp_path, [*LINES, signed(signer, 6).as_bytes()], "other.pem.pub")
    assert [one.what for one in found] == ["not signed", "not signed"]
    assert signer.key_id in found[0].message
