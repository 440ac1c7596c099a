"""Who may act in a unit, as its engine knows it: the access list that rules, and what it makes of what is signed.

Rules:
- Without a list, and without a root key in the site file, a unit is open: everybody may do everything, unsigned.
- What nobody has signed who is on the list is a forgery: it is refused before its identity is looked at, so that no
  forged one makes a repeat of a genuine one. Then come repeats, and then who may do what, and for whom.
- Activations of rules have one source, whoever signs them: who has no right to them, or is late, is a forger here, so
  that none takes the place of a genuine one.
- A list is signed by an admin of the one before it. The first is believed: it is signed by an admin of its own, with
  the root key where the site file names one. So whoever takes the log away does not open the unit.
- What is signed for another time than the site allows (`action_expiry`) is refused. Only the log's clock is asked.
- An action or activation with a text that is too long is a forgery at any site: nobody's comment may stop a worker, or
  stand in every later word on an alarm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from rules.access.rights import Right, may
from rules.access.signatures import is_signed
from rules.access.users import User, Users, digest_of, plain_users, read_users
from rules.engine.inputs import (
    ACCESS_SOURCE,
    ACTION_SOURCE,
    ACTIVATION_SOURCE,
    AccessList,
    Action,
    Activation,
    Signed,
)
from rules.errors import InvariantError
from rules.site.model import Site

Detail = Mapping[str, str | int | float | bool | None]
SIGNED: Final = (Action, AccessList, Activation)
"""Inputs that may have to be signed."""
ACTION_TEXT_MAX: Final = 2_000
"""Characters of each text of an action or activation: so what is said of it fits into a message of any log."""
_TEXT_MAX: Final = 200
"""Of a forged text, in the journal."""


class Access:
    """The access list of a unit. `users` is empty, and `digest` "", before the first one."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.users: Users = {}
        self.digest = ""

    @property
    def is_open(self) -> bool:
        """Whether anybody may do anything."""
        return not self.users and not self._site.root_key

    # -- before its identity is looked at

    def forgery(self, value: Signed, now_ns: int | None) -> str:
        """Why an input is not believed to be its signer's; '' where it is, or nothing is asked.

        `now_ns`: the unit's last tick, None before the first one.
        """
        if isinstance(value, AccessList):
            return self._forged_list(value, now_ns)
        if any(len(text) > ACTION_TEXT_MAX for text in (value.identity.source, value.signer, *_texts(value))):
            return f"a text of it has more than {ACTION_TEXT_MAX} characters"
        if self.is_open:
            return ""
        if isinstance(value, Action):
            return self._forged_action(value, now_ns)
        return self._forged_activation(value, now_ns)

    def _forged_action(self, action: Action, now_ns: int | None) -> str:
        if self.users and now_ns is None:
            return "there is no time yet"
        return self._stranger(action, ACTION_SOURCE + action.signer, now_ns)

    def _forged_activation(self, value: Activation, now_ns: int | None) -> str:
        return (
            self._stranger(value, ACTIVATION_SOURCE, now_ns)
            or _denied(value.signer, self.users[value.signer], "activate-rules")
            or self._lateness(value.at_ns, now_ns)
        )

    def _stranger(self, value: Action | Activation, source: str, now_ns: int | None) -> str:
        """Why a user has not said this; `source`: what theirs is."""
        if not self.users:
            return "there is no access list yet"
        if not value.signature:
            return "it is not signed"
        user = self.users.get(value.signer)
        if user is None:
            return "its signer is not on the access list"
        if value.identity.source != source:
            return "its source is not its signer's"
        return self._mismatch(value, user.keys, now_ns)

    def _forged_list(self, value: AccessList, now_ns: int | None) -> str:
        users = read_users(value.users)
        if isinstance(users, str):
            return users
        signer = (self.users or users).get(value.signer)
        if signer is None or not may(signer.role, "change-users"):
            return "its signer is no admin"
        if value.identity.source != ACCESS_SOURCE:
            return "its source is not that of access lists"
        keys = signer.keys
        if not self.users and self._site.root_key:
            keys = (self._site.root_key,)
        return self._mismatch(value, keys, now_ns)

    def _mismatch(self, value: Signed, keys: tuple[str, ...], now_ns: int | None) -> str:
        if not is_signed(value, self._site.name, keys):
            return f"its signature is of no key of '{value.signer}', or it was altered"
        newest_ns = max(value.at_ns, value.identity.epoch)
        if now_ns is not None and newest_ns > now_ns + self._site.action_expiry_ns:
            return "it is of a time that has not come: see the clock of who sent it"
        return ""

    # -- of what is genuine and new

    def refusal(self, action: Action, now_ns: int | None) -> str:
        """Why who has signed an action may not have it done; '' where they may, or the unit is open."""
        if self.is_open:
            return ""
        if late := self._lateness(action.at_ns, now_ns):
            return late
        signer, right = self.users[action.signer], action.action
        by: User | None = signer
        if action.by != action.signer:
            by = self.users.get(action.by)
            if by is None:
                return f"'{action.by}' is not on the access list"
            if not signer.may_speak_for(action.by):
                return f"'{action.signer}' may not speak for '{action.by}'"
        return _denied(action.by, by, right) or _denied(action.signer, signer, right)

    def take(self, value: AccessList, now_ns: int | None) -> Detail:
        """Let a genuine list rule, unless it comes too late; what the journal has of it, a `reason` where it does."""
        users, is_first = read_users(value.users), not self.users
        late = self._lateness(value.at_ns, now_ns)
        if late or isinstance(users, str):
            return {"signer": value.signer, "reason": late or str(users)}
        self.users, self.digest = users, digest_of(users)
        return {"signer": value.signer, "digest": self.digest, "users": len(users), "first": is_first}

    def _lateness(self, at_ns: int, now_ns: int | None) -> str:
        if now_ns is None or now_ns - at_ns <= self._site.action_expiry_ns:
            return ""
        age_s, allowed_s = (now_ns - at_ns) / 1e9, self._site.action_expiry_ns / 1e9
        return f"it was signed {age_s:.0f} s ago, and the site allows {allowed_s:g} s"

    # -- for the journal and snapshots

    def signers(self, action: Action) -> Detail:
        """Whose word an action is, for its line in the journal."""
        if self.is_open:
            return {"signed": False}
        return {"signed": True} if action.signer == action.by else {"signed": True, "signer": action.signer}

    def activator(self, value: Activation) -> Detail:
        """Whose word an activation is, for its line in the journal; nothing where the unit is open."""
        return {} if self.is_open else {"signed": True, "signer": value.signer}

    def of_forged(self, value: Signed, reason: str) -> Detail:
        """What the journal has of an input that is not believed: what it says of itself, and by which it is known."""
        detail: dict[str, str | int | float | bool | None] = {
            "reason": reason,
            "signed": False,
            "signer": value.signer[:_TEXT_MAX],
            "source": value.identity.source[:_TEXT_MAX],
            "epoch": value.identity.epoch,
            "sequence": value.identity.sequence,
            "signature_hash": signature_hash(value),
        }
        texts = {}
        if isinstance(value, Action):
            texts = {"action": value.action, "rule": value.rule, "asset": value.asset, "by": value.by}
        elif isinstance(value, Activation):
            texts = {"site_digest": value.site_digest, "rules_digest": value.rules_digest}
        return detail | {name: text[:_TEXT_MAX] for name, text in texts.items()}

    def saved(self) -> dict[str, Any]:
        """For a snapshot."""
        return plain_users(self.users)

    def adopt(self, saved: Mapping[str, Any]) -> None:
        """Take over what `saved` gave."""
        users = read_users(saved) if saved else {}
        if isinstance(users, str):
            raise InvariantError(f"a snapshot has an access list that is none: {users}")
        self.users, self.digest = users, digest_of(users) if users else ""


def _texts(value: Action | Activation) -> tuple[str, ...]:
    """What an action or an activation says, and may go into a line of the journal."""
    if isinstance(value, Activation):
        return value.site_digest, value.rules_digest
    return value.rule, value.asset, value.by, value.occurrence, value.comment


def _denied(name: str, user: User | None, right: Right) -> str:
    """Why a user's role is too low; '' where it is not, or nobody was found who would need one."""
    if user is None or may(user.role, right):
        return ""
    return f"'{name}' may not do that: no {right} for role {user.role}"


def signature_hash(value: Signed) -> str:
    """By which its sender finds the answer to an input that was not believed: 16 digits of a SHA-256."""
    said = ":".join(map(str, (*value.identity, value.signature)))
    return hashlib.sha256(said.encode()).hexdigest()[:16]
