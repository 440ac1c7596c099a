"""Settings of a process: a file, the environment (`HEADRACE_…`), secret files. Unknown keys are errors.

Order, strongest first: environment, secret files, `headrace.yaml` in the site folder, the defaults here. The plant's
limits are not here: they are in the site file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.strict_yaml import load
from streams.text_file import read_text

PREFIX = "HEADRACE_"
BOOTSTRAP_VARIABLE = f"{PREFIX}BROKER__BOOTSTRAP"
_UNKNOWN: Final = "unknown variable "


class SecuritySettings(BaseModel, extra="forbid", hide_input_in_errors=True):
    """Who a process is to the broker, and how it knows the broker (docs/kafka.md). Secrets are never shown."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca_file: Path | None = Field(
        None, description="PEM of who signs the broker's certificate; the machine's own list if none"
    )
    certificate_file: Path | None = Field(None, description="PEM of the client's certificate, and its chain")
    key_file: Path | None = Field(
        None, description="PEM of its private key, not encrypted; in certificate_file if none"
    )
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr | None = Field(
        None, description="by the environment or a secret file only, never in headrace.yaml"
    )
    password_file: Path | None = Field(None, description="file of the password alone")
    token_file: Path | None = Field(
        None, description="of OAUTHBEARER: read at each connection, so that it may change"
    )

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are TLS."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def has_login(self) -> bool:
        """Whether a process says who it is by SASL."""
        return self.security_protocol.startswith("SASL_")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("key_file needs certificate_file")
        if not self.is_encrypted and (self.ca_file or self.certificate_file):
            raise ValueError(
                f"ca_file and certificate_file are of TLS, and security_protocol is {self.security_protocol}: "
                "set it to SSL or SASL_SSL, or leave them out"
            )
        if not self.has_login:
            return self
        if self.sasl_mechanism == "OAUTHBEARER":
            if self.token_file is None:
                raise ValueError("OAUTHBEARER needs token_file")
        elif not self.username or (self.password is None) == (self.password_file is None):
            raise ValueError(f"{self.sasl_mechanism} needs username, and either password_file or password")
        return self


class BrokerSettings(SecuritySettings):
    """How to reach the log, and how its topics are kept there."""

    bootstrap: str = Field(
        "127.0.0.1:19092", description="host:port of a broker, several separated by commas"
    )
    partitions: int = Field(3, ge=1, description="partitions of `events` and of what is keyed by unit")
    replication: int | None = Field(
        None,
        ge=1,
        description="copies of every partition; 3, and 1 where one broker is all, at a loopback address",
    )
    min_insync_replicas: int | None = Field(
        None, ge=1, description="of these that have a record before it counts; 2 of 3, 1 of 1"
    )
    session_timeout_s: float = Field(6.0, gt=0)
    request_timeout_s: float = Field(5.0, gt=0)
    embedded_limit_records: int = Field(
        25_000,
        ge=100,
        description="and before a partition has this many: Tansu looks a position up batch by batch",
    )
    embedded_limit_mb: int = Field(
        700, ge=64, description="roll the embedded broker to a fresh log before this"
    )

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, text: str) -> str:
        """The client library checks no address: it fails on one later, with an error of its own."""
        for address in text.split(","):
            _, _, port = address.strip().rpartition(":")
            if not (port.isdecimal() and 0 < int(port) < 65_536):
                raise ValueError(f"'{address.strip()}' is no address, write host:port")
        return text


class SpoolSettings(BaseModel, extra="forbid"):
    """What a gateway keeps on disk while the broker is away."""

    limit_mb: int = Field(512, ge=1)
    drain_speed: float = Field(
        6.0, gt=0, description="so many records of backfill for each one that comes in live"
    )
    drain_records_per_s: float = Field(
        50.0, gt=0, description="backfill at least, where little comes in live"
    )
    memory_s: float = Field(
        10.0,
        gt=0,
        description="unacknowledged live data is kept in memory this long: beyond a change of leaders",
    )


class TickerSettings(BaseModel, extra="forbid"):
    """The only clock of the engine."""

    hold_back_ms: int = Field(
        30, ge=0, description="a tick follows its time by this, so that samples come first"
    )


class WorkerSettings(BaseModel, extra="forbid"):
    """How the worker keeps its state."""

    snapshot_every_s: float = Field(10.0, gt=0)
    watchdog_s: float = Field(
        15.0, gt=0, description="no progress for this long while input waits: end the process"
    )
    replaces_site: str = Field(
        "",
        pattern="^([0-9a-f]{12,64})?$",
        description="how the digest of the site file begins that this one follows on the log",
    )


class JournalSettings(BaseModel, extra="forbid"):
    """Signed heads of the journal (docs/journal.md)."""

    key: Path | None = Field(
        None, description="file of the private key (PEM) that signs; without it nothing is signed"
    )
    head_every_s: float = Field(3600.0, gt=0, description="of event time, between two heads of a unit")


class CommandSettings(BaseModel, extra="forbid"):
    """Signatures of commands (docs/actuators.md)."""

    key: Path | None = Field(
        None,
        description="file of the private key (PEM) with which the worker signs; without it none is signed",
    )
    trusted: list[Path] = Field(
        default_factory=list,
        description="files of public keys (PEM): actuators act on what these signed alone; on all without any",
    )


class AccessSettings(BaseModel, extra="forbid"):
    """With what the edges of this machine sign (docs/access.md)."""

    keys: dict[str, Path] = Field(
        default_factory=dict,
        description="by the name of an edge among the users, the file of its private key",
    )


class RecorderSettings(BaseModel, extra="forbid"):
    """How the always-on recorder keeps the log."""

    folder: Path | None = Field(
        None, description="of `headrace run recorder`, without an option; `recordings` in run_dir if none"
    )
    segment_mb: float = Field(256.0, gt=0, description="a segment ends when it is so large")
    segment_s: float = Field(600.0, gt=0, description="or so old")
    keep_gb: float = Field(200.0, gt=0, description="the oldest segments go above this")
    keep_h: float = Field(168.0, gt=0, description="or when they are so old")
    reserve_mb: float = Field(
        2000.0, ge=0, description="of the disk stays free: older segments go, then it stops"
    )
    incident_before_s: float = Field(1800.0, ge=0, description="kept before an alarm of high severity")
    incident_after_s: float = Field(1800.0, ge=0, description="and after it")


class ScadaSettings(BaseModel, extra="forbid"):
    """The OPC UA server (docs/scada.md)."""

    endpoint: str = Field("opc.tcp://127.0.0.1:4850/headrace", description="where clients find it")
    pki: Path | None = Field(
        None, description="certificates, its own and trusted; `scada-pki` in run_dir if none"
    )
    allow_none: bool = Field(False, description="security None as well: on loopback alone")
    history_h: float = Field(4.0, gt=0, description="of every point, for HistoryRead")
    history_mb: float = Field(
        256.0, gt=0, description="all points together; less than the hours if they don't fit"
    )


class HttpSettings(BaseModel, extra="forbid"):
    """Metrics and health of a process (docs/observability.md)."""

    listen: str = Field("", description="HOST:PORT, port 0 for any; nothing is served without it")
    token: Path | None = Field(
        None, description="file with the token that clients need; a must beyond the loopback address"
    )


class EdgeSettings(BaseModel, extra="forbid"):
    """Limits of every HTTP edge, each for itself (docs/security.md)."""

    requests_per_s: float = Field(20.0, gt=0, description="of one client, in the long run")
    burst: int = Field(100, ge=1, description="of one client, at once")
    streams_per_client: int = Field(16, ge=1, description="open at a time")
    idle_s: float = Field(
        30.0, gt=0, description="a connection without a request, or with a part of its head, is closed"
    )
    answer_s: float = Field(15.0, gt=0, description="until an answer is made and taken; a stream has no end")
    proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), description="addresses or networks of proxies, which say whose request it is (X-Forwarded-For)"
    )


class LogSettings(BaseModel, extra="forbid"):
    """What a process logs on stderr."""

    format: Literal["text", "json"] = Field("text", description="json: an object a line")


class TraceSettings(BaseModel, extra="forbid"):
    """Traces of commands (docs/observability.md)."""

    endpoint: str = Field(
        "", description="of OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; none without it"
    )


class Settings(BaseSettings):
    """All of it. `HEADRACE_BROKER__BOOTSTRAP=…` sets `broker.bootstrap`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )

    run_dir: Path = Field(
        Path("run"), description="spools, de-duplication, logs, certificates of this machine"
    )
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    ticker: TickerSettings = Field(default_factory=TickerSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    journal: JournalSettings = Field(default_factory=JournalSettings)
    commands: CommandSettings = Field(default_factory=CommandSettings)
    recorder: RecorderSettings = Field(default_factory=RecorderSettings)
    access: AccessSettings = Field(default_factory=AccessSettings)
    scada: ScadaSettings = Field(default_factory=ScadaSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    edges: EdgeSettings = Field(default_factory=EdgeSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    traces: TraceSettings = Field(default_factory=TraceSettings)

    of_file: ClassVar[dict[str, Any]] = {}
    """What `headrace.yaml` says."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over secrets over the file."""
        yaml = InitSettingsSource(settings_cls, cls.of_file)
        return init_settings, env_settings, file_secret_settings, yaml


def load_settings(
    file: Path | None = None, secrets: Path | None = None, option: str = "", **given: Any
) -> Settings:
    """Read the settings; raises ConfigurationError with a finding for every key or value that is wrong.

    `option`: that of the command line which `given` comes from; what is wrong in it is said of the option.
    """
    findings = _unknown_environment()
    said = _read(file) if file is not None and file.exists() else {}
    bound = type(
        "Settings",
        (Settings,),
        {
            "model_config": SettingsConfigDict(secrets_dir=secrets),
            "of_file": said,
            "__annotations__": {"of_file": ClassVar[dict[str, Any]]},
            "__doc__": Settings.__doc__,
        },
    )
    try:
        settings: Settings = bound(**given)
    except SettingsError as error:
        findings.append(_no_json(error))
    except ValidationError as error:
        for item in error.errors():
            location, is_unknown = item["loc"], item["type"] == "extra_forbidden"
            if is_unknown and not _is_in(said, location) and _is_below(location, findings):
                continue
            where = option if option and _is_in(given, location) else _origin(location, file, said)
            message = _OUR_WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
            hint = _hint(location) if is_unknown else ""
            findings.append(Finding(where, 0, 0, f"{_path(location)}: {message}", hint))
    findings += _secrets_in(file, said)
    if findings:
        raise ConfigurationError(findings)
    return settings


def _read(file: Path) -> dict[str, Any]:
    """The settings of a file, strictly (`rules/strict_yaml`): no aliases, no tags, no key twice."""
    text = read_text(file, str(file))
    if not any(line.partition("#")[0].strip() for line in text.splitlines()):
        return {}
    root, findings = load(text, str(file), hides=True)
    found = {} if root is None else {key: node.plain() for key, node in root.as_mapping().items()}
    if findings:
        raise ConfigurationError(findings)
    return found


def _secrets_in(file: Path | None, said: Mapping[str, Any]) -> list[Finding]:
    """A site's folder is copied, recorded and shown to many: no secret is at home there."""
    broker = said.get("broker")
    if not isinstance(broker, Mapping) or "password" not in broker:
        return []
    hint = f"name its file in broker.password_file, or set {PREFIX}BROKER__PASSWORD"
    return [Finding(str(file), 0, 0, "broker.password: a password does not belong into this file", hint)]


_OUR_WORDS: Final = {"path_type": "write the path of the file, and nothing around it"}
"""In place of pydantic's, by the type of its error."""


def _origin(location: tuple[int | str, ...], file: Path | None, said: Mapping[str, Any]) -> str:
    """Where it stands: a variable, which goes before the file, the file, or several variables together."""
    variables = {name.upper(): name for name in os.environ}
    for length in range(len(location), 0, -1):
        if name := variables.get(_variable(location[:length])):
            return name
    if _is_in(said, location[:2]):
        return str(file)
    below = f"{_variable(location)}__"
    return "environment" if any(name.startswith(below) for name in variables) else "settings"


def _variable(location: tuple[int | str, ...]) -> str:
    return f"{PREFIX}{'__'.join(str(part) for part in location)}".upper()


def _is_below(location: tuple[int | str, ...], unknown: Sequence[Finding]) -> bool:
    """Whether an unknown variable, which has its finding, sets this."""
    names = {one.message.removeprefix(_UNKNOWN).upper() for one in unknown}
    return any(f"{name}__".startswith(f"{_variable(location)}__") for name in names)


def _no_json(error: SettingsError) -> Finding:
    """Its text names the field, in quotes, and no value."""
    field = str(error).split('"')[1]
    begins = _variable((field,))
    names = sorted(name for name in os.environ if name.upper().split("__")[0] == begins)
    hint = "lists and tables are JSON, such as '[\"10.1.0.0/16\"]'"
    return Finding("environment", 0, 0, f"no JSON in {', '.join(names)}", hint)


def _is_in(given: Any, location: tuple[int | str, ...]) -> bool:
    for part in location:
        if not isinstance(given, Mapping) or part not in given:
            return False
        given = given[part]
    return True


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _hint(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, BaseModel)
        ):
            return ""
        model = field.annotation
    return nearest(str(location[-1]), model.model_fields)


def _unknown_environment(environment: Mapping[str, str] | None = None) -> list[Finding]:
    """`HEADRACE_…` variables that set nothing: a typing error that would otherwise go unseen."""
    valid = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            valid |= {f"{PREFIX}{name}__{inner}".upper() for inner in field.annotation.model_fields}
    given = os.environ if environment is None else environment
    return [
        Finding("environment", 0, 0, f"{_UNKNOWN}{name}", nearest(name.upper(), valid))
        for name in sorted(given)
        if name.upper().startswith(PREFIX)
        and name.upper() not in valid
        and name.upper() not in OTHER_VARIABLES
    ]


KEY_VARIABLE = f"{PREFIX}KEY"
OTHER_VARIABLES = frozenset({"HEADRACE_FAKE_NVML_STATE", KEY_VARIABLE})
"""Read by something else than this process's settings: the fake NVML library, and who signs (`gateways/access`)."""
