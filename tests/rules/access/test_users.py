"""Lists as anybody may write them on a log: they are read, or it is said why not, and nothing else happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rules.access.users import digest_of, is_name, plain_users, read_users
from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Identity
from rules.engine.outputs import Entry
from streams.wire import encode_output
from tests.rules.access.people import action, listing, public_of
from tests.rules.engine.plant import LOW, START, UNIT, program, site, tick

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
_keys = st.lists(st.sampled_from([public_of("ada"), public_of("eva"), "00" * 32, "ff" * 32]), max_size=3)
_user = st.fixed_dictionaries(
    {"role": st.sampled_from(["admin", "operator"]) | _json},
    optional={"keys": _keys | _json, "speaks_for": st.just(["*"]) | _json},
)
lists = st.dictionaries(
    st.sampled_from(["ada", "eva", "scada", "a:b"]) | st.text(max_size=9), _user | _json, max_size=4
)


@given(lists)
def test_what_is_read_is_written_the_same(plain: dict[str, Any]) -> None:
    users = read_users(plain)
    if isinstance(users, str):
        assert users
        return
    assert read_users(plain_users(users)) == users
    assert digest_of(users) == digest_of(read_users(plain_users(users)))  # type: ignore[arg-type]
    assert all(is_name(name) for name in users)


@given(lists, st.text(max_size=9) | st.sampled_from(["ada", "eva"]), st.text(max_size=130), st.booleans())
def test_an_engine_survives_whatever_stands_on_the_log(
    plain: dict[str, Any], signer: str, signature: str, is_first: bool
) -> None:
    engine = Engine(program(LOW), site(), UNIT)
    engine.step([tick(START)] if is_first else [tick(START), listing()])
    forged = replace(listing(START + 1), users=plain, signer=signer, signature=signature)
    sent = replace(action("comment"), signer=signer, signature=signature, rule=signature, by=signer)
    odd = Activation(UNIT, Identity("activation", START, 1), "a", signature, START, signer, signature)
    said = engine.step([forged, sent, replace(sent, signature=""), odd])
    assert (engine.counters["activations_refused"] == 0) == is_first
    assert next(one.kind for one in said if isinstance(one, Entry)) == "access-list-refused"
    assert (engine.counters["access_lists"] == 1) == is_first
    for one in said:
        encode_output(one, 1)
    again = Engine(program(LOW), site(), UNIT)
    again.restore(engine.snapshot())
    assert again.snapshot() == engine.snapshot()
