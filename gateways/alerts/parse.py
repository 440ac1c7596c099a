"""`subscriptions.yaml`, strictly: text in, subscriptions and everything that is wrong out.

Rules: what holds a secret (the URL of a chat or mail service, the key that signs, the token of the edge) is named by
`{env: NAME}` or `{file: PATH}` and never stands in the file; names are checked against the site and the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple, cast, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gateways.alerts.model import (
    TOLD,
    Channel,
    ChannelKind,
    Digest,
    Edge,
    Filter,
    Hours,
    Secret,
    Step,
    Subscription,
    Subscriptions,
)
from rules.engine.outputs import AlarmState, Severity
from rules.findings import Finding, nearest
from rules.site.ids import NAME_ID
from rules.site.model import Site
from rules.strict_yaml import DURATION_NS, Node, load

Reveal = Callable[[Literal["env", "file"], str], str]
"""The secret that a variable or a file holds. OSError or KeyError: there is none."""

SEVERITIES: Final = get_args(Severity)
STATES: Final = get_args(AlarmState)
GROUP_KEYS: Final = ("unit", "rule", "asset", "severity", "type")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_LISTEN: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:]+):(\d{1,5})")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_PATTERN: Final = re.compile(r"[*?\[]")
_S: Final = DURATION_NS["s"]
_FILTER_KEYS: Final = ("unit", "type", "rule", "asset", "severity", "state", "hours")
_ALARM_KEYS: Final = (*_FILTER_KEYS, "group_by", "wait", "digest", "quiet", "at_once", "escalate")
_CHANNEL_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "webhook": ("url", "secret"),
    "apprise": ("url",),
    "alertmanager": ("url",),
    "file": ("path",),
}
_COMMON_KEYS: Final = ("kind", "timeout", "parallel", "give_up", "fallback")


def parse(text: str, file: str, site: Site, reveal: Reveal) -> tuple[Subscriptions, list[Finding]]:
    """Subscriptions as far as they can be read, and all findings: with an error among them they are not to be used."""
    root, findings = load(text, file)
    if root is None:
        return Subscriptions(), findings
    fields = root.fields(
        allowed=("time_zone", "fallback", "serve", "channels", "subscriptions"),
        required=("channels", "subscriptions"),
    )
    channels = _Channels(fields.get("channels"), fields.get("fallback"), reveal)
    subscriptions: dict[str, Subscription] = {}
    node = fields.get("subscriptions")
    for name, entry in ({} if node is None else node.as_mapping()).items():
        assert node is not None
        _check_name(node.keys[name], name, "subscription")
        subscriptions[name] = _subscription(name, entry, site, channels)
    zone = _zone(fields["time_zone"]) if "time_zone" in fields else ZoneInfo("UTC")
    edge = _edge(fields["serve"], reveal) if "serve" in fields else None
    return Subscriptions(channels.channels, subscriptions, zone, edge), findings


def _check_name(key: Node, name: str, what: str) -> None:
    if not NAME_ID.fullmatch(name):
        key.report(f"'{name}' can't be the name of a {what}", "small letters, digits and -")


class _Channels:
    """The channels, and references to them."""

    def __init__(self, node: Node | None, fallback: Node | None, reveal: Reveal) -> None:
        self._names = tuple(node.entries) if node is not None else ()
        self._reveal = reveal
        last_resort = self.one(fallback) if fallback is not None else ""
        self.channels: dict[str, Channel] = {}
        for name, entry in ({} if node is None else node.as_mapping()).items():
            assert node is not None
            _check_name(node.keys[name], name, "channel")
            channel = self._channel(name, entry, last_resort if last_resort != name else "")
            if channel is not None:
                self.channels[name] = channel

    def one(self, node: Node) -> str:
        """The name of a channel; '' after a finding."""
        return node.as_choice(self._names, "channel") or ""

    def several(self, node: Node) -> tuple[str, ...]:
        """Names of channels, one or a list."""
        return tuple(dict.fromkeys(name for one in node.as_list_or_one() if (name := self.one(one))))

    def _channel(self, name: str, node: Node, last_resort: str) -> Channel | None:
        kinds = get_args(ChannelKind)
        kind = node.entries["kind"].as_choice(kinds, "kind") if "kind" in node.entries else None
        own = _CHANNEL_KEYS.get(kind or "", ("url", "path", "secret"))
        required = own if kind and kind != "webhook" else ("url",) if kind else ()
        fields = node.fields((*_COMMON_KEYS, *own), ("kind", *required))
        url = fields.get("url") or fields.get("path")
        if kind is None or url is None:
            return None
        fallback = self.one(fields["fallback"]) if "fallback" in fields else last_resort
        if fallback == name:
            fields["fallback"].report(f"'{name}' can't fall back to itself")
        return Channel(
            name,
            cast(ChannelKind, kind),
            self._url(kind, url),
            _hidden(fields["secret"], self._reveal) if "secret" in fields else None,
            _seconds(fields.get("timeout"), 10.0, 0.1, 120.0),
            _integer(fields.get("parallel"), 8, 1, 64),
            _seconds(fields.get("give_up"), 60.0, 1.0, 86_400.0),
            fallback,
        )

    def _url(self, kind: str, node: Node) -> Secret:
        if kind == "file":
            return Secret(node.as_text() or "")
        if node.kind == "mapping" or kind == "apprise":
            secret = _hidden(node, self._reveal)
        else:
            secret = Secret(node.as_text() or "")
            if "@" in urlsplit(secret.text).netloc:
                node.report("a password in a URL", "write {env: NAME} or {file: PATH}, which hold the URL")
        if kind != "apprise" and secret.text and not _is_http(secret.text):
            node.report("this is no address of a web service", "such as http://127.0.0.1:9000/alarms")
        return secret


def _is_http(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False


def _hidden(node: Node, reveal: Reveal) -> Secret:
    """What `{env: NAME}` or `{file: PATH}` holds."""
    if node.kind != "mapping":
        node.report("a secret does not stand in the file", "write {env: NAME} or {file: PATH}, which hold it")
        return Secret("")
    fields = node.fields(("env", "file"))
    if len(fields) != 1:
        if node.is_whole(("env", "file")):
            node.report("one of 'env' and 'file' says where the secret is")
        return Secret("")
    where, value = next(iter(fields.items()))
    name = value.as_text()
    if name is None:
        return Secret("")
    if where == "env" and name.upper().startswith("HEADRACE_"):
        value.report(f"'{name}' would be a setting", "choose a name that does not begin with HEADRACE_")
        return Secret("")
    try:
        text = reveal(cast(Literal["env", "file"], where), name).strip()
    except KeyError:
        value.report(f"the environment has no {name}", "set it where the role is started")
        return Secret("")
    except (OSError, UnicodeDecodeError) as error:
        value.report(f"{name} can't be read: {getattr(error, 'strerror', '') or error}")
        return Secret("")
    if not text:
        value.report(f"{name} is empty")
    return Secret(text)


def _subscription(name: str, node: Node, site: Site, channels: _Channels) -> Subscription:
    is_always = "always" in node.entries
    fields = node.fields(("to", "always") if is_always else ("to", "always", *_ALARM_KEYS), ("to",))
    to = channels.several(fields["to"]) if "to" in fields else ()
    if is_always:
        always_ns = fields["always"].as_duration_ns(_S, 86_400 * _S) or 60 * _S
        return Subscription(name, to, always_ns=always_ns)
    return Subscription(
        name,
        to,
        _filter(fields, site),
        _choices(fields.get("group_by"), GROUP_KEYS, "key"),
        _duration(fields.get("wait"), 0, 3600),
        _digest(fields["digest"]) if "digest" in fields else None,
        _hours(fields["quiet"]) if "quiet" in fields else None,
        frozenset(_choices(fields["at_once"], SEVERITIES, "severity"))
        if "at_once" in fields
        else frozenset({"urgent"}),
        _steps(fields["escalate"], channels) if "escalate" in fields else (),
    )


def _filter(fields: Mapping[str, Node], site: Site) -> Filter:
    types = sorted({asset.type for asset in site.assets.values()})
    states = _choices(fields.get("state"), STATES, "state")
    return Filter(
        _names(fields.get("unit"), site.units, "unit"),
        _names(fields.get("type"), types, "type of asset of this site"),
        _names(fields.get("rule"), None, "rule"),
        _names(fields.get("asset"), None, "asset"),
        frozenset(_choices(fields.get("severity"), SEVERITIES, "severity")),
        frozenset(states) or TOLD,
        _hours(fields["hours"]) if "hours" in fields else None,
    )


def _names(node: Node | None, known: Iterable[str] | None, what: str) -> tuple[str, ...]:
    """Names and patterns; a name in full has to be among `known`, where these are known."""
    names = []
    for one in () if node is None else node.as_list_or_one():
        name = one.as_text()
        if name is None:
            continue
        if known is not None and not _PATTERN.search(name) and name not in (known := tuple(known)):
            one.report(f"no {what} is called '{name}'", nearest(name, known) or f"one of: {', '.join(known)}")
        names.append(name)
    return tuple(names)


def _choices(node: Node | None, choices: Iterable[str], what: str) -> tuple[str, ...]:
    found = () if node is None else node.as_list_or_one()
    return tuple(choice for one in found if (choice := one.as_choice(choices, what)))


def _digest(node: Node) -> Digest:
    fields = node.fields(("above", "every", "worst"), ("above", "every"))
    return Digest(
        _integer(fields.get("above"), 1, 1, 100_000),
        _duration(fields.get("every"), 60, 86_400) or 60 * _S,
        _integer(fields.get("worst"), 5, 0, 50),
    )


def _hours(node: Node) -> Hours | None:
    fields = node.fields(("from", "to", "days"), ("from", "to"))
    begin, end = (_minutes(fields.get(key)) for key in ("from", "to"))
    if begin is None or end is None:
        return None
    days = frozenset(DAYS.index(day) for day in _choices(fields.get("days"), DAYS, "day"))
    return Hours(begin, end, days or frozenset(range(7)))


def _minutes(node: Node | None) -> int | None:
    text = None if node is None else node.as_text()
    match = None if text is None else _CLOCK.fullmatch(text)
    minutes = 9999 if match is None else int(match[1]) * 60 + int(match[2])
    if node is not None and text is not None and minutes > 24 * 60:
        node.report(f"'{text}' is no time of the day", "such as '06:30', up to '24:00'")
    return minutes if minutes <= 24 * 60 else None


def _steps(node: Node, channels: _Channels) -> tuple[Step, ...]:
    steps = list[Step]()
    for one in node.as_list():
        fields = one.fields(("after", "to"), ("after", "to"))
        if len(fields) == 2:
            after_ns = _duration(fields["after"], 300, 7 * 86_400) or 300 * _S
            if steps and after_ns <= steps[-1].after_ns:
                fields["after"].report(
                    "each step comes later than the one before it", "all count from the alarm"
                )
            steps.append(Step(after_ns, channels.several(fields["to"])))
    return tuple(steps)


def _zone(node: Node) -> ZoneInfo:
    name = node.as_text() or "UTC"
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        from zoneinfo import available_timezones

        node.report(
            f"no time zone is called '{name}'", nearest(name, available_timezones()) or "such as Europe/Oslo"
        )
        return ZoneInfo("UTC")


def _edge(node: Node, reveal: Reveal) -> Edge:
    fields = node.fields(("listen", "token", "links"), ("listen",))
    host, port = _listen(fields["listen"]) if "listen" in fields else ("127.0.0.1", 0)
    token = _hidden(fields["token"], reveal) if "token" in fields else None
    if token is None and host not in _LOOPBACK and node.is_whole():
        node.report(f"{host} can be reached from elsewhere: a token is needed", "token: {file: PATH}")
    links = _links(fields["links"]) if "links" in fields else _Links("", 12 * 3600 * _S)
    return Edge(host, port, token, links.base_url, links.link_ns)


class _Links(NamedTuple):
    base_url: str
    link_ns: int


def _links(node: Node) -> _Links:
    fields = node.fields(("base_url", "expire"), ("base_url",))
    base_url = (fields["base_url"].as_text() or "") if "base_url" in fields else ""
    if base_url and not _is_http(base_url):
        fields["base_url"].report("this is no address of a web service", "such as https://alarms.example.org")
    return _Links(base_url.rstrip("/"), _duration(fields.get("expire"), 12 * 3600, 30 * 86_400))


def _listen(node: Node) -> tuple[str, int]:
    text = node.as_text() or ""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[2]) > 65_535:
        if text:
            node.report(f"'{text}' is no address to listen at", "such as 127.0.0.1:8470")
        return "127.0.0.1", 0
    return match[1].strip("[]"), int(match[2])


def _duration(node: Node | None, default_s: float, high_s: float) -> int:
    if node is None:
        return round(default_s * _S)
    return node.as_duration_ns(1, round(high_s * _S)) or 0


def _seconds(node: Node | None, default_s: float, low_s: float, high_s: float) -> float:
    if node is None:
        return default_s
    return (node.as_duration_ns(round(low_s * _S), round(high_s * _S)) or default_s * _S) / _S


def _integer(node: Node | None, default: int, low: int, high: int) -> int:
    return default if node is None else node.as_integer(low, high) or default
