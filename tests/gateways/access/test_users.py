"""`users.yaml`: what is wrong with one, and who somebody is by password, certificate, key and proxy."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from gateways.access.passwords import ATTEMPTS, WINDOW_S, hashed
from gateways.access.users import Users
from gateways.access.users_file import parse_users, read_users_file, shared_hashes
from rules.access.users import plain_users, read_users
from rules.errors import ConfigurationError

KEY, OTHER = "ab" * 32, "cd" * 32
DER = b"a certificate"
PASSWORD = hashed("correct horse battery")
TEXT = f"""
users:
  ada: {{role: admin, keys: [{KEY}], certificates: {hashlib.sha256(DER).hexdigest()}}}
  eva:
    role: operator
    password: {PASSWORD}
    login: eva@example.org
  scada: {{role: engineer, keys: ["{OTHER}"], speaks_for: all}}
  panel: {{role: operator, speaks_for: [eva]}}
proxy: {{addresses: [127.0.0.1, "::1"], header: X-Forwarded-Email}}
"""


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.yaml").write_text(TEXT)
    return tmp_path


def test_the_file_as_an_access_list_has_no_secret(folder: Path) -> None:
    plain = plain_users(read_users_file(folder).listed())
    assert plain["scada"] == {"role": "engineer", "keys": [OTHER], "speaks_for": ["*"]}
    assert plain["eva"] == {"role": "operator", "keys": [], "speaks_for": []}
    assert read_users(plain) == read_users_file(folder).listed()
    assert "argon2" not in repr(read_users_file(folder))


@pytest.mark.parametrize(
    ("mode", "is_shared"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True)]
)
def test_hashes_that_others_may_read_are_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture, mode: int, is_shared: bool
) -> None:
    (folder / "users.yaml").chmod(mode)
    assert not Users(folder).is_open
    assert ("chmod 600" in caplog.text) == is_shared


def test_a_file_without_hashes_may_be_read_by_all(folder: Path) -> None:
    (folder / "users.yaml").write_text("users: {ada: {role: admin}}")
    (folder / "users.yaml").chmod(0o644)
    assert shared_hashes(folder, read_users_file(folder)) == []


def test_a_site_without_the_file_is_open_and_knows_nobody(tmp_path: Path) -> None:
    users = Users(tmp_path)
    assert users.is_open
    assert users.authenticate("eva", "correct horse battery") is None


def test_by_password(folder: Path) -> None:
    users = Users(folder)
    found = users.authenticate("eva", "correct horse battery")
    assert found is not None
    assert (found.name, found.may("acknowledge"), found.may("remove-from-service")) == ("eva", True, False)
    for name, password in [
        ("eva", "wrong"),
        ("nobody", "nobody has this one"),
        ("ada", ""),
        ("eva", "x" * 2000),
    ]:
        assert users.authenticate(name, password) is None


def test_after_wrong_passwords_the_right_one_has_to_wait(folder: Path) -> None:
    clock = Clock()
    users = Users(folder, clock)
    for _ in range(ATTEMPTS):
        assert users.authenticate("eva", "wrong", "10.0.0.1") is None
    assert users.authenticate("eva", "correct horse battery", "10.0.0.1") is None
    assert users.authenticate("eva", "correct horse battery", "10.0.0.2") is not None
    clock.now_s = WINDOW_S
    assert users.authenticate("eva", "correct horse battery", "10.0.0.1") is not None


def test_many_guesses_at_once_are_no_way_around_the_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []
    together = threading.Barrier(8)

    def is_right(password: str, phc: str) -> bool:
        looked_at.append(password)
        return False

    monkeypatch.setattr("gateways.access.users.is_right", is_right)
    users = Users(folder)

    def guess(number: int) -> None:
        together.wait()
        users.authenticate("eva", str(number))

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(looked_at) == ATTEMPTS


def test_by_certificate_and_by_key(folder: Path) -> None:
    users = Users(folder)
    for found, name in [
        (users.of_certificate(DER), "ada"), (users.of_key(KEY), "ada"), (users.of_key(OTHER), "scada"),
        (users.of_certificate(DER + b"!"), None), (users.of_key(""), None), (users.of_certificate(b""), None),
    ]:  # fmt: skip
        assert (None if found is None else found.name) == name


def test_the_word_of_a_proxy_counts_only_where_it_is_one(folder: Path) -> None:
    users = Users(folder)
    headers = {"x-forwarded-email": "eva@example.org"}
    found = users.of_proxy("127.0.0.1", headers)
    assert found is not None
    assert found.name == "eva"
    assert users.of_proxy("::1", headers) is found
    assert users.of_proxy("10.0.0.1", headers) is None
    assert users.of_proxy("not an address", headers) is None
    assert users.of_proxy("127.0.0.1", {"x-forwarded-email": ""}) is None
    assert users.of_proxy("127.0.0.1", {}) is None
    assert users.of_proxy("127.0.0.1", {**headers, "X-Forwarded-Email": "ada@example.org"}) is None


def test_a_changed_file_is_read_again_and_a_wrong_one_changes_nothing(folder: Path) -> None:
    users, file = Users(folder), folder / "users.yaml"
    file.write_text(TEXT.replace("eva:", "iva:").replace("[eva]", "[iva]"))
    assert users.get("eva") is None
    assert users.get("iva") is not None
    file.write_text("users: {")
    os.utime(file, ns=(1, 1))
    assert users.get("iva") is not None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("role: operator\n", "role: king\n", "4:11: error: unknown role 'king' (one of: viewer, operator"),
        ("  eva:\n", "  e/a:\n", "3:3: error: 'e/a' is no name"),
        (PASSWORD, "correct horse battery", "5:15: error: a password stands here as its hash"),
        (PASSWORD, "123456789012", "5:15: error: a password stands here as its hash"),
        (KEY, KEY[:-2], "2:29: error: no public key: 64 digits"),
        ("speaks_for: [eva]", "speaks_for: [iva]", "there is no user 'iva'"),
        (OTHER, KEY, "'ada''s as well"),
        ("127.0.0.1", "localhost", "'localhost' is no address"),
        ("X-Forwarded-Email", "X Email", "'X Email' is no name of a header"),
        ("login:", "mail:", "unknown key 'mail'"),
        ("users:", "people:", "unknown key 'people'"),
    ],
    ids=lambda text: text.replace(PASSWORD, "PASSWORD"),  # its salt is another in each process
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_users(TEXT.replace(old, new).strip(), "users.yaml")
    assert any(words in str(finding) for finding in raised.value.findings), str(raised.value)
    for secret in ("correct horse", "123456789012"):
        assert secret not in repr(raised.value.findings)
