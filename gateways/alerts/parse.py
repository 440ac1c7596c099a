"""`subscriptions.yaml`, strictly: text in, subscriptions and everything that is wrong out.

Rules: what holds a secret (the URL of a chat or mail service, the key that signs, the token of the edge) is named by
`{env: NAME}` or `{file: PATH}` and never stands in the file; names are checked against the site and the file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    Secret,
    Step,
    Subscription,
    Subscriptions,
)
from gateways.alerts.values import (
    choices_of,
    duration_of,
    hours_of,
    integer_of,
    names_of,
    seconds_of,
    zone_of,
)
from gateways.listen import address_of
from rules.access.users import is_name
from rules.engine.outputs import AlarmState, Severity
from rules.findings import Finding
from rules.site.ids import NAME_ID
from rules.site.model import Site
from rules.strict_yaml import DURATION_NS, Node, load
from streams.loopback import is_loopback

Reveal = Callable[[Literal["env", "file"], str], str]
"""The secret that a variable or a file holds. OSError or KeyError: there is none."""

GroupsOf = Callable[[], Mapping[str, str]]
"""By rule its group, of the site's rules."""

SEVERITIES: Final = get_args(Severity)
STATES: Final = get_args(AlarmState)
GROUP_KEYS: Final = ("unit", "rule", "asset", "severity", "type")
_S: Final = DURATION_NS["s"]
_FILTER_KEYS: Final = ("unit", "type", "rule", "group", "asset", "severity", "state", "hours")
_ALARM_KEYS: Final = (*_FILTER_KEYS, "group_by", "wait", "digest", "quiet", "at_once", "escalate", "user")
_CHANNEL_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "webhook": ("url", "secret"),
    "apprise": ("url",),
    "alertmanager": ("url",),
    "file": ("path",),
}
_COMMON_KEYS: Final = ("kind", "timeout", "parallel", "give_up", "fallback")


def parse(
    text: str, file: str, site: Site, reveal: Reveal, groups_of: GroupsOf = dict
) -> tuple[Subscriptions, list[Finding]]:
    """Subscriptions as far as they can be read, and all findings: with an error among them they are not to be used.

    `groups_of` is called where a subscription asks for a group.
    """
    root, findings = load(text, file, hides=True)
    if root is None:
        return Subscriptions(), findings
    fields = root.fields(
        allowed=("time_zone", "fallback", "serve", "channels", "subscriptions"),
        required=("channels", "subscriptions"),
    )
    channels = _Channels(fields.get("channels"), fields.get("fallback"), reveal)
    subscriptions: dict[str, Subscription] = {}
    node = fields.get("subscriptions")
    asks = node is not None and any("group" in entry.entries for entry in node)
    groups = groups_of() if asks else {}
    for name, entry in ({} if node is None else node.as_mapping()).items():
        assert node is not None
        _check_name(node.keys[name], name, "subscription")
        subscriptions[name] = _subscription(name, entry, site, groups, channels)
    zone = zone_of(fields["time_zone"]) if "time_zone" in fields else ZoneInfo("UTC")
    edge = _edge(fields["serve"], reveal) if "serve" in fields else None
    return Subscriptions(channels.channels, subscriptions, zone, edge, groups), findings


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
        """Names of channels, one or a list; at least one, as else nobody is told and nothing says so."""
        if node.kind == "list" and not node.items:
            node.report("nobody is told", f"one of: {', '.join(self._names)}")
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
            seconds_of(fields.get("timeout"), 10.0, 0.1, 120.0),
            integer_of(fields.get("parallel"), 8, 1, 64),
            seconds_of(fields.get("give_up"), 60.0, 1.0, 86_400.0),
            fallback,
        )

    def _url(self, kind: str, node: Node) -> Secret:
        if kind == "file":
            return Secret(node.as_text() or "")
        if node.kind == "mapping" or kind == "apprise":
            secret = _hidden(node, self._reveal)
        else:
            secret = Secret(node.as_text() or "")
            if _may_hold_a_password(secret.text):
                node.report("a password in a URL", "write {env: NAME} or {file: PATH}, which hold the URL")
                return Secret("")
        if kind != "apprise" and secret.text and not _is_http(secret.text):
            node.report("this is no address of a web service", "such as http://127.0.0.1:9000/alarms")
        return secret


def _may_hold_a_password(url: str) -> bool:
    """Also where it can't be taken apart, as what is said about it shows it."""
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return "@" in url


def _is_http(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False


def _hidden(node: Node, reveal: Reveal) -> Secret:
    """What `{env: NAME}` or `{file: PATH}` holds."""
    if node.kind != "mapping":
        hint = "write {env: NAME} or {file: PATH}, which hold it"
        node.report("a secret does not stand in the file", hint)
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


def _subscription(
    name: str, node: Node, site: Site, groups: Mapping[str, str], channels: _Channels
) -> Subscription:
    is_always = "always" in node.entries
    fields = node.fields(("to", "always") if is_always else ("to", "always", *_ALARM_KEYS), ("to",))
    to = channels.several(fields["to"]) if "to" in fields else ()
    if is_always:
        always_ns = fields["always"].as_duration_ns(_S, 86_400 * _S) or 60 * _S
        return Subscription(name, to, always_ns=always_ns)
    return Subscription(
        name,
        to,
        _filter(fields, site, groups),
        choices_of(fields.get("group_by"), GROUP_KEYS, "key"),
        duration_of(fields.get("wait"), 0, 3600),
        _digest(fields["digest"]) if "digest" in fields else None,
        hours_of(fields["quiet"]) if "quiet" in fields else None,
        frozenset(choices_of(fields["at_once"], SEVERITIES, "severity"))
        if "at_once" in fields
        else frozenset({"urgent"}),
        _steps(fields["escalate"], channels) if "escalate" in fields else (),
        user=_user(fields["user"]) if "user" in fields else "",
    )


def _user(node: Node) -> str:
    name = node.as_text() or ""
    if name and not is_name(name):
        node.report(f"'{name}' is no name: printable, without ':' and '/', 64 characters at most")
    return name


def _filter(fields: Mapping[str, Node], site: Site, groups: Mapping[str, str]) -> Filter:
    types = sorted({asset.type for asset in site.assets.values()})
    states = choices_of(fields.get("state"), STATES, "state")
    return Filter(
        names_of(fields.get("unit"), site.units, "unit"),
        names_of(fields.get("type"), types, "type of asset of this site"),
        names_of(fields.get("rule"), None, "rule"),
        names_of(fields.get("group"), sorted(set(groups.values()) - {""}), "group of the site's rules"),
        names_of(fields.get("asset"), None, "asset"),
        frozenset(choices_of(fields.get("severity"), SEVERITIES, "severity")),
        frozenset(states) or TOLD,
        hours_of(fields["hours"]) if "hours" in fields else None,
    )


def _digest(node: Node) -> Digest:
    fields = node.fields(("above", "every", "worst"), ("above", "every"))
    return Digest(
        integer_of(fields.get("above"), 1, 1, 100_000),
        duration_of(fields.get("every"), 60, 86_400) or 60 * _S,
        integer_of(fields.get("worst"), 5, 0, 50),
    )


def _steps(node: Node, channels: _Channels) -> tuple[Step, ...]:
    steps = list[Step]()
    for one in node.as_list():
        fields = one.fields(("after", "to"), ("after", "to"))
        if len(fields) == 2:
            after_ns = duration_of(fields["after"], 300, 7 * 86_400) or 300 * _S
            if steps and after_ns <= steps[-1].after_ns:
                fields["after"].report(
                    "each step comes later than the one before it", "all count from the alarm"
                )
            steps.append(Step(after_ns, channels.several(fields["to"])))
    return tuple(steps)


def _edge(node: Node, reveal: Reveal) -> Edge:
    fields = node.fields(("listen", "token", "links"), ("listen",))
    host, port = _listen(fields["listen"]) if "listen" in fields else ("127.0.0.1", 0)
    token = _hidden(fields["token"], reveal) if "token" in fields else None
    if token is None and not is_loopback(host) and node.is_whole():
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
    return _Links(base_url.rstrip("/"), duration_of(fields.get("expire"), 12 * 3600, 30 * 86_400))


def _listen(node: Node) -> tuple[str, int]:
    text = node.as_text() or ""
    found = address_of(text)
    if found is None and text:
        node.report(f"'{text}' is no address to listen at", "such as 127.0.0.1:8470")
    return found or ("127.0.0.1", 0)
