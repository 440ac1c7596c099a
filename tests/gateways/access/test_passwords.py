"""Hashes of passwords, and guesses."""

from __future__ import annotations

from gateways.access.passwords import ATTEMPTS, WINDOW_S, Attempts, hashed, is_hash, is_right


def test_a_hash_is_its_passwords_and_no_two_are_equal() -> None:
    made = hashed("correct horse battery")
    assert is_hash(made)
    assert is_right("correct horse battery", made)
    assert not is_right("correct horse batter", made)
    assert not is_right("", made)
    assert hashed("correct horse battery") != made
    assert "horse" not in made


def test_what_is_no_hash_is_nobodys_password() -> None:
    for text in ("", "correct horse battery", "$argon2id$v=19$m=19456,t=2,p=1$x", "$2b$12$abc"):
        assert not is_right(text, text)
        assert not is_hash(text)
    assert not is_right("\udcff", hashed("x"))


def test_who_guesses_has_to_wait_and_nobody_else() -> None:
    attempts = Attempts()
    for second in range(ATTEMPTS):
        assert attempts.may_try("eva", "10.0.0.1", second)
    assert not attempts.may_try("eva", "10.0.0.1", WINDOW_S - 0.1)
    assert attempts.may_try("eva", "10.0.0.2", 5.0)
    assert attempts.may_try("otto", "10.0.0.1", 5.0)
    assert attempts.may_try("eva", "10.0.0.1", WINDOW_S)
    assert not attempts.may_try("eva", "10.0.0.1", WINDOW_S)
    attempts.succeeded("eva", "10.0.0.1")
    assert attempts.may_try("eva", "10.0.0.1", WINDOW_S)


def test_names_without_end_take_no_memory_without_end() -> None:
    attempts = Attempts()
    for number in range(10_000):
        attempts.may_try(f"name-{number}", "10.0.0.1", 0.0)
    assert len(attempts._tries) == 4096
