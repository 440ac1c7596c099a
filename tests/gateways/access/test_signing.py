"""Where keys to sign with come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.access.signing import edge_key, needed_edge_key, own_key
from rules.errors import ConfigurationError
from streams.keys import make_key, public_text, read_public
from streams.settings import AccessSettings, Settings, load_settings


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HEADRACE_KEY", raising=False)
    make_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def public(path: Path) -> str:
    return public_text(read_public(path.with_name(f"{path.name}.pub")))


def test_the_option_comes_before_the_environment_and_this_before_the_home(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own_key(None) is None
    home = tmp_path / ".config" / "headrace" / "key.pem"
    home.parent.mkdir(parents=True)
    make_key(home)
    other = tmp_path / "other.pem"
    make_key(other)
    found = own_key(None)
    assert found is not None
    assert public_text(found.public_key()) == public(home)
    monkeypatch.setenv("HEADRACE_KEY", other.read_text())
    found = own_key(None)
    assert found is not None
    assert public_text(found.public_key()) == public(other)
    assert load_settings() is not None
    found = own_key(key)
    assert found is not None
    assert public_text(found.public_key()) == public(key)


def test_a_key_that_others_may_read_is_not_taken(key: Path) -> None:
    key.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others than its owner may read this private key"):
        own_key(key)


def test_what_is_no_key_is_said_and_not_shown(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KEY", "a secret that is none")
    with pytest.raises(ConfigurationError, match="HEADRACE_KEY: error: no private") as raised:
        own_key(None)
    assert "a secret" not in str(raised.value)


def test_an_edge_has_its_key_from_the_settings(key: Path) -> None:
    settings = Settings(access=AccessSettings(keys={"scada": key}))
    found = edge_key(settings, "scada")
    assert found is not None
    assert public_text(found.public_key()) == public(key)
    key.chmod(0o440)  # as a secret is mounted
    assert edge_key(settings, "scada") is not None
    key.chmod(0o444)
    with pytest.raises(ConfigurationError, match="others than its owner may read"):
        edge_key(settings, "scada")
    assert edge_key(settings, "alerts") is None
    with pytest.raises(ConfigurationError, match="'alerts' has no key to sign with"):
        needed_edge_key(settings, "alerts")
