"""Pseudonyms for the names of hosts: keyed, so that nobody without the key can try names, and the same in every file.

Rules: a pseudonym is `x` and 16 hexadecimal digits of HMAC-SHA-256 of the name in lower case; a name is replaced
wherever it stands as a whole word or words, in ids and texts, in capitals or not, the longest first; everything else
stays as it is. Hosts are the sources of the site (an NVML source is a host, an OPC UA source a PLC), what GPUs are
directly part of, and the hosts of endpoints. People, whom actions, activations and access lists name, are hidden with
them (the export looks for them). No field of the log names a tenant or a job so far.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from rules.engine.inputs import ACCESS_SOURCE, ACTION_SOURCE, FACT_SOURCE
from rules.site.model import Site

DIGITS: Final = 16
BACKFILL: Final = "/backfill"
_OWN_SOURCES: Final = frozenset({"ticker", "activation", "actuators", ACCESS_SOURCE})
"""Sources that are Headrace's own and name no host."""

_KNOWN: Final = 1 << 16
_WORD: Final = re.compile(r"[^\W_]+")
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
"""Names are ASCII; unlike `str.lower`, this changes no text's length."""


class _Name(NamedTuple):
    """A name in lower case: where its first word begins, and how much of it the pseudonym stands for."""

    word_at: int
    text: str
    hidden: int
    pseudonym: str


class Pseudonyms:
    """Replaces names; each is given with what it becomes, see `host_names`."""

    def __init__(self, key: bytes, names: Iterable[tuple[str, str]]) -> None:
        """`names`: a name, and the part of it at its beginning that is hidden."""
        self._key = key
        self._known: dict[str, str] = {}
        self._by_word: dict[str, list[_Name]] = defaultdict(list)
        for name, hidden in sorted({(name.lower(), hidden.lower()) for name, hidden in names}, key=_longest):
            word = _WORD.search(name)
            if word is not None:
                found = _Name(word.start(), name, len(hidden), self._pseudonym(hidden))
                self._by_word[word.group()].append(found)

    def _pseudonym(self, name: str) -> str:
        return "x" + hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:DIGITS]

    def hide(self, text: str) -> str:
        """`text` with every name replaced."""
        pieces, at = [], 0
        lower = text.translate(_LOWER)
        for word in _WORD.finditer(lower):
            for name in self._by_word.get(word.group(), ()):
                begin = word.start() - name.word_at
                end = begin + len(name.text)
                if begin >= at and lower.startswith(name.text, begin) and not lower[end : end + 1].isalnum():
                    pieces += [text[at:begin], name.pseudonym, text[begin + name.hidden : end]]
                    at = end
                    break
        return "".join([*pieces, text[at:]])

    def hide_name(self, text: str) -> str:
        """The same, remembered: most texts of a recording are ids that come again and again."""
        if len(self._known) > _KNOWN:
            self._known.clear()
        if text not in self._known:
            self._known[text] = self.hide(text)
        return self._known[text]


def host_names(site: Site, sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names of hosts, each with the part of it to hide. `sources`: of the log, whether the site has them or not."""
    for source in {*site.sources, *sources}:
        name = source.removesuffix(BACKFILL).removeprefix(ACTION_SOURCE)
        if name not in _OWN_SOURCES and not name.startswith(FACT_SOURCE):
            yield name, name
    for one in site.sources.values():
        address = urlsplit(one.endpoint).netloc.rpartition("@")[2]
        host = address.rpartition(":")[0] if re.search(r":\d+$", address) else address
        for name in {host, host.lower()} - {""}:
            yield name, name
    hosts = {site.assets[gpu].part_of or gpu for unit in site.units.values() for gpu in unit.gpus}
    for host in hosts:
        yield host, host
    for asset in site.assets.values():
        host = asset.part_of or ""
        if host in hosts and asset.id.startswith(host) and asset.id[len(host)].isalnum():
            yield asset.id, host  # in `H1G1` the host's name is no whole word


def _longest(names: tuple[str, str]) -> tuple[int, tuple[str, str]]:
    return -len(names[0]), names
