from __future__ import annotations

import tracemalloc

from rules.json_bytes import json_bytes


def test_keys_are_sorted() -> None:
    assert json_bytes({"b": [1.5, None], "a": "ä"}) == '{"a":"ä","b":[1.5,null]}'.encode()


def test_what_is_kept_takes_what_it_says() -> None:
    tracemalloc.start()
    try:
        kept = [json_bytes({"number": number}) for number in range(200)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(kept) < 400
