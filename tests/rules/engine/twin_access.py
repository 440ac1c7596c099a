"""What the twin knows of access lists, in plain Python. It acts on nothing: actions that it is given are refused.

Activations it takes where they are signed as they have to be.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rules.engine.inputs import AccessList, Action, Activation
from rules.site.model import Site

S = 1_000_000_000
ORDER = ["viewer", "operator", "engineer", "admin"]
NEEDS = {"remove-from-service": "engineer", "return-to-service": "engineer"}
NAMES = {
    Action: ("actions", "action"),
    AccessList: ("access_lists", "access-list"),
    Activation: ("activations", "activation"),
}
SCHEMAS = {Action: "action/1", AccessList: "access/1", Activation: "activation/1"}


def verifies(value: Action | AccessList | Activation, keys: list[str], site: str) -> bool:
    """What is signed is written out here once more."""
    if isinstance(value, Action):
        body: dict[str, Any] = {
            "action": value.action, "rule": value.rule, "asset": value.asset, "by": value.by, "at_ns": value.at_ns,
            "occurrence": value.occurrence, "until_ns": value.until_ns, "one_shot": value.one_shot,
            "comment": value.comment, "signer": value.signer,
        }  # fmt: skip
        optional = ("occurrence", "until_ns", "one_shot", "comment", "signer")
        body = {name: item for name, item in body.items() if item or name not in optional}
    elif isinstance(value, AccessList):
        body = {"users": value.users, "at_ns": value.at_ns, "signer": value.signer}
    else:
        body = {"site_digest": value.site_digest, "rules_digest": value.rules_digest, "at_ns": value.at_ns}
        body |= {"signer": value.signer}
    text = {
        "schema": SCHEMAS[type(value)], "site": site, "unit": value.unit,
        "source": value.identity.source, "epoch": value.identity.epoch, "sequence": value.identity.sequence,
        "body": body,
    }  # fmt: skip
    for key in keys:
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
                bytes.fromhex(value.signature), orjson.dumps(text, option=orjson.OPT_SORT_KEYS)
            )
        except InvalidSignature:
            continue
        return True
    return False


class TwinAccess(ABC):
    """The list that rules, as it stood in its input."""

    site: Site
    now: int | None
    counters: Counter[str]

    def no_list(self) -> None:
        self.people: dict[str, Any] = {}
        self.forgeries: Counter[int] = Counter()

    @abstractmethod
    def entry(self, kind: str, at: int, detail: dict[str, Any], name: str | None = None) -> None:
        """A line of the journal."""

    def is_forged(self, value: Action | AccessList | Activation, unit: str) -> bool:
        reason = self.forgery(value)
        if not reason:
            return False
        at = self.now or 0
        self.forgeries[at] += 1
        name = f"{unit}:forged:{at}:{self.forgeries[at]}:0"
        identity = value.identity
        text = f"{identity.source}:{identity.epoch}:{identity.sequence}:{value.signature}"
        mark = hashlib.sha256(text.encode()).hexdigest()[:16]
        detail: dict[str, Any] = {
            "reason": reason, "signed": False, "signer": value.signer, "source": identity.source,
            "epoch": identity.epoch, "sequence": identity.sequence, "signature_hash": mark,
        }  # fmt: skip
        if isinstance(value, Action):
            detail |= {"action": value.action, "rule": value.rule, "asset": value.asset, "by": value.by}
        if isinstance(value, Activation):
            detail |= {"site_digest": value.site_digest, "rules_digest": value.rules_digest}
        counted, kind = NAMES[type(value)]
        self.counters[counted] += 1
        self.counters[f"{counted}_refused"] += 1
        self.entry(f"{kind}-refused", at, detail, name)
        return True

    def forgery(self, value: Action | AccessList | Activation) -> str:
        if isinstance(value, Action | Activation):
            if not self.people:
                return ""
            if self.now is None and isinstance(value, Action):
                return "there is no time yet"
            if not value.signature:
                return "it is not signed"
            if value.signer not in self.people:
                return "its signer is not on the access list"
            who = self.people[value.signer]
        else:
            admins = [one for one in value.users.values() if one["role"] == "admin" and one["keys"]]
            if not admins:
                return "no admin has a key: nobody could change it again"
            who = (self.people or value.users).get(value.signer, {"role": "viewer"})
            if who["role"] != "admin":
                return "its signer is no admin"
        if not verifies(value, who["keys"], self.site.name):
            return f"its signature is of no key of '{value.signer}', or it was altered"
        if self.now is not None and max(value.at_ns, value.identity.epoch) > self.now + 60 * S:
            return "it is of a time that has not come: see the clock of who sent it"
        if isinstance(value, Activation):
            if ORDER.index(who["role"]) < ORDER.index("engineer"):
                return f"'{value.signer}' may not do that: no activate-rules for role {who['role']}"
            return self.late(value.at_ns)
        return ""

    def late(self, at: int) -> str:
        if self.now is None or self.now - at <= 60 * S:
            return ""
        return f"it was signed {(self.now - at) / 1e9:.0f} s ago, and the site allows 60 s"

    def at(self, at: int) -> int:
        return 0 if self.now is None else min(max(self.now, at), self.now + S)

    def access_list(self, value: AccessList) -> None:
        self.counters["access_lists"] += 1
        late = self.late(value.at_ns)
        if late:
            self.counters["access_lists_refused"] += 1
            self.entry("access-list-refused", self.at(value.at_ns), {"signer": value.signer, "reason": late})
            return
        text = orjson.dumps(value.users, option=orjson.OPT_SORT_KEYS)
        detail = {
            "signer": value.signer, "digest": hashlib.sha256(text).hexdigest(), "users": len(value.users),
            "first": not self.people,
        }  # fmt: skip
        self.people = dict(value.users)
        self.entry("access-list", self.at(value.at_ns), detail)

    def action(self, value: Action) -> None:
        """One that is refused, as its signer has no right to it."""
        self.counters["actions"] += 1
        self.counters["actions_refused"] += 1
        reason = self.late(value.at_ns)
        signer, by = self.people[value.signer], self.people.get(value.by)
        if not reason and by is None:
            reason = f"'{value.by}' is not on the access list"
        if not reason and value.by != value.signer and not {value.by, "*"} & set(signer["speaks_for"]):
            reason = f"'{value.signer}' may not speak for '{value.by}'"
        for name, user in ((value.by, by), (value.signer, signer)):
            needed = NEEDS.get(value.action, "operator")
            if not reason and user is not None and ORDER.index(user["role"]) < ORDER.index(needed):
                reason = f"'{name}' may not do that: no {value.action} for role {user['role']}"
        detail = {
            "action": value.action, "rule": value.rule, "asset": value.asset, "by": value.by, "reason": reason,
            "signed": True,
        }  # fmt: skip
        if value.signer != value.by:
            detail["signer"] = value.signer
        assert reason
        self.entry("action-refused", self.at(value.at_ns), detail)
