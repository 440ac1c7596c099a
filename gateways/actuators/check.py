"""What `headrace check` says of targets: actuators write to the simulated plant alone as yet.

Rule: only a server itself says whether it is the simulated plant, and no check asks one. `headrace up` has it on
loopback, where no PLC is: so what names another host is warned of.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from rules.findings import Finding
from rules.site.model import Site
from rules.strict_yaml import load
from streams.loopback import is_loopback


def check_targets(site: Site, text: str, file: str) -> list[Finding]:
    """A warning for each endpoint of the site file (`text`) at which actuators would write, and perhaps may not."""
    named = {actuator.source for actuator in site.actuators.values()}
    endpoints = {name: site.sources[name].endpoint for name in named if site.sources[name].kind == "opcua"}
    far = {name for name, endpoint in endpoints.items() if not is_loopback(urlsplit(endpoint).hostname or "")}
    root, _ = load(text, file) if far else (None, [])
    if root is None:
        return []
    for name in sorted(far):
        root.entries["sources"].entries[name].entries["endpoint"].report(
            f"actuators write to Headrace's own simulated plant alone as yet: where {endpoints[name]} is another "
            "server, every command to it is refused",
            "read it without actuators, and act on alarms at the device (docs/actuators.md, Targets)",
            "warning",
        )
    return root.document.findings
