"""Every kind of record on the log, as others may read it: topic, key, headers, and the schema of its value.

Rules: a JSON schema is made from the class that the writer fills, so that neither can say something else than the code;
a field more is no new version for a reader, so that none is forbidden. Arrow schemas are those of the wire.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, Final, get_type_hints

import pyarrow as pa
from pydantic import TypeAdapter

from rules.access.users import User
from rules.engine.inputs import AccessList
from rules.engine.outputs import Alarm, Command, Entry
from streams import replay_mark, role
from streams.command_signatures import SIGNATURE
from streams.dead_letter import PREFIX
from streams.journal.heads import Head
from streams.replay_mark import Mark
from streams.role import Status
from streams.rule_sets import rule_set
from streams.site_folder import SITE_FILE
from streams.snapshots import CHUNK_SCHEMA, LOG_SCHEMA, MANIFEST_SCHEMA, Manifest
from streams.topics import (
    DEAD_LETTERS,
    EVENTS,
    JOURNAL,
    OWNERS,
    REPLAY_MARK,
    RULE_SETS,
    SNAPSHOTS,
    STATUS,
    Topic,
)
from streams.wire import (
    ARROW_SCHEMAS,
    CLASS_OF_INPUT,
    CLASS_OF_OUTPUT,
    HEAD_SCHEMA,
    OUTSIDE,
    OWNER_EPOCH,
    TOPIC_OF,
)
from streams.worker import owners
from streams.worker.owners import Claim

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"
TEXT: Final = "text/plain"
HEADERS: Final[Mapping[str, str]] = {
    "schema": "what the value is",
    "source": "who counts it: identity is source, epoch and sequence",
    "epoch": "when that source began, in ns since 1970: a number",
    "backfill": "1 where it comes late, out of a spool",
    OWNER_EPOCH: "of the worker that says it, a number: who reads passes by what has a lower one than the unit's last",
    SIGNATURE: "of a command: the id of the worker's key, a colon, an Ed25519 signature as hex (docs/actuators.md)",
    "digest": "SHA-256 of the snapshot that it belongs to",
    replay_mark.HEADER: "the recording, where the log is a replay's",
    f"{PREFIX}reason": "why nobody could read it: a word that does not change",
    f"{PREFIX}detail": "the same for people",
    f"{PREFIX}topic": "where it stood",
    f"{PREFIX}partition": "where it stood",
    f"{PREFIX}offset": "where it stood",
    f"{PREFIX}cut": "what was too long for a record, and is not all here",
}
"""All are text in UTF-8."""
_TOLD: Final = {
    "raised_id": "names the occurrence: the id of the transition that raised it, '' where it never went off",
    "raised_ns": "when it went off, in ns since 1970 (event time)",
    "cleared_ns": "when its condition returned; null while it holds",
    "value": "what its message shows",
    "unknown_ns": "since when nobody knows whether its condition holds",
    "suppressed_by": "the keys of the alarms that explain it",
    "by": "who acted on it last",
    "at_ns": "when this transition happened, in ns since 1970 (event time)",
}
"""Of an alarm's fields."""
_BESIDE: Final[Mapping[type[Any], tuple[str, ...]]] = {
    Alarm: (OWNER_EPOCH,),
    Command: (OWNER_EPOCH, SIGNATURE),
    Entry: (),
}
"""The headers that an output may have, beside that of a replay."""


@dataclass(frozen=True, slots=True)
class RecordKind:
    """`schema`: what its header `schema` says, '' where that is another's (a dead letter). `key`: what the key holds.

    `value`: the JSON Schema of its value where `content_type` is JSON; `arrow`: of an Arrow record batch.
    `headers`: those that it has, `may_have`: those that it may have besides.
    """

    name: str
    schema: str
    topic: Topic
    says: str
    key: str
    content_type: str = JSON
    value: Mapping[str, Any] = field(default_factory=dict)
    arrow: pa.Schema | None = None
    headers: tuple[str, ...] = ("schema",)
    may_have: tuple[str, ...] = (replay_mark.HEADER,)


def record_kinds() -> tuple[RecordKind, ...]:
    """All of them, in the order of the topics."""
    return (*_inputs(), *_outputs(), *_of_workers(), *_others())


def _inputs() -> list[RecordKind]:
    identity = ("schema", "source", "epoch")
    binary = [
        RecordKind(
            _name(schema),
            schema,
            EVENTS,
            "one row, as an Arrow IPC record batch message without its schema",
            EVENTS.key,
            BINARY,
            arrow=arrow,
            headers=identity,
            may_have=("backfill", replay_mark.HEADER),
        )
        for schema, arrow in ARROW_SCHEMAS.items()
    ]
    numbers = {name: {"type": "integer", "minimum": 0} for name in ("epoch", "sequence")}
    beside = {"unit": {"type": "string"}, "source": {"type": "string"}, **numbers}
    return binary + [
        RecordKind(
            _name(schema),
            schema,
            EVENTS,
            _doc(kind),
            EVENTS.key,
            value=_object({"schema": {"const": schema}, **beside, "body": _body(kind)}),
            headers=identity,
        )
        for schema, kind in CLASS_OF_INPUT.items()
    ]


def _outputs() -> list[RecordKind]:
    said = {
        "id": {"type": "string", "description": "the same when it comes again"},
        "unit": {"type": "string"},
    }
    return [
        RecordKind(
            _name(schema),
            schema,
            TOPIC_OF[kind],
            _doc(kind),
            TOPIC_OF[kind].key,
            value=_object({"schema": {"const": schema}, **said, "body": _body(kind)}),
            may_have=(*_BESIDE[kind], replay_mark.HEADER),
        )
        for schema, kind in CLASS_OF_OUTPUT.items()
    ]


def _of_workers() -> list[RecordKind]:
    chunk, manifest, log = (raw.decode() for raw in (CHUNK_SCHEMA, MANIFEST_SCHEMA, LOG_SCHEMA))
    files = {"type": "object", "additionalProperties": {"type": "string"}, "required": [SITE_FILE]}
    rules = rule_set.SCHEMA.decode()
    digest = ("schema", "digest")
    return [
        RecordKind("head", HEAD_SCHEMA, JOURNAL, _doc(Head), JOURNAL.key, value=_flat(Head, HEAD_SCHEMA)),
        RecordKind(
            "snapshot", manifest, SNAPSHOTS, _doc(Manifest), "unit:slot:manifest",
            value=_object(_fields(Manifest), ("last_record",)), headers=digest,
        ),
        RecordKind(
            "snapshot-chunk", chunk, SNAPSHOTS,
            "a piece of an engine's state, which a worker of the same version reads and nobody else",
            "unit:slot:number", BINARY, headers=digest,
        ),
        RecordKind("log", log, SNAPSHOTS, "the id of this log", "log:id", TEXT),
        RecordKind(
            "owner", owners.SCHEMA, OWNERS, _doc(Claim), OWNERS.key, value=_flat(Claim, owners.SCHEMA)
        ),
        RecordKind(
            _name(rules), rules, RULE_SETS, "the site file and the rule files, texts by name", RULE_SETS.key,
            value=files,
        ),
    ]  # fmt: skip


def _others() -> list[RecordKind]:
    letter = tuple(f"{PREFIX}{word}" for word in ("reason", "detail", "topic", "partition", "offset"))
    mark = replay_mark.SCHEMA
    return [
        RecordKind(
            "dead-letter", "", DEAD_LETTERS, "key, value and headers as they came", DEAD_LETTERS.key, BINARY,
            headers=letter, may_have=tuple(HEADERS),
        ),
        RecordKind("status", role.SCHEMA, STATUS, _doc(Status), STATUS.key, value=_flat(Status, role.SCHEMA)),
        RecordKind(
            _name(mark), mark, REPLAY_MARK, _doc(Mark), REPLAY_MARK.key, value=_flat(Mark),
            headers=("schema", replay_mark.HEADER), may_have=(),
        ),
    ]  # fmt: skip


def _name(schema: str) -> str:
    return schema.partition("/")[0]


def _doc(kind: type[Any]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def _body(kind: type[Any]) -> dict[str, Any]:
    """What has a default may lack in a record of an older version, which the log may still have."""
    fields = {name: one for name, one in _fields(kind).items() if name not in OUTSIDE}
    defaults = {
        one.name: {} if one.default is MISSING else {"default": one.default}
        for one in dataclasses.fields(kind)
        if one.default is not MISSING or one.default_factory is not MISSING
    }
    if kind is AccessList:
        user = _object(_fields(User), User._field_defaults)
        fields["users"] = {"type": "object", "additionalProperties": user}
    if kind is Alarm:
        for name, words in _TOLD.items():
            fields[name] = {**fields[name], "description": words}
    return _object({name: one | defaults.get(name, {}) for name, one in fields.items()}, defaults)


def _flat(kind: type[Any], schema: str = "") -> dict[str, Any]:
    """A value that has its fields beside what it calls itself, if it does."""
    return _object({**_fields(kind), **({"schema": {"const": schema}} if schema else {})})


def _fields(kind: type[Any]) -> dict[str, Any]:
    return {name: TypeAdapter(hint).json_schema() for name, hint in get_type_hints(kind).items()}


def _object(properties: Mapping[str, Any], may_lack: Collection[str] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in may_lack]
    return {"type": "object", "required": required, "properties": dict(properties)}
