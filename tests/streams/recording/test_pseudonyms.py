import hashlib
import hmac

from rules.site.parse import parse_site
from streams.recording.pseudonyms import Pseudonyms, host_names

KEY = b"0123456789abcdef"
SITE = """
name: small
tick: 1 s
rules: [rules]
sources:
  plc-1: {kind: opcua, endpoint: "opc.tcp://PLC-1.site.example:4840", address: "ns=2;s={point}"}
  nvml-a: {kind: nvml, assets: R01-T1}
units:
  row-a:
    assets:
      P-1: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}}
      R01:
        type: Rack
        contains:
          -T1: {type: Tray, contains: {-G1: {type: GPU}, G2: {type: GPU}}}
          -T10: {type: Tray}
"""


def x(name: str) -> str:
    return "x" + hmac.new(KEY, name.encode(), hashlib.sha256).hexdigest()[:16]


def test_hosts_go_wherever_they_stand_and_nothing_else_does() -> None:
    site, findings = parse_site(SITE, "site.yaml")
    assert site is not None, findings
    hide = Pseudonyms(KEY, host_names(site, ["ticker", "fact:row-a", "old/backfill", "nvml-a"])).hide
    tray = x("r01-t1")
    for text, hidden in {
        "R01-T1-G1.power_limit": f"{tray}-G1.power_limit",
        "R01-T1G2: 92 °C": f"{tray}G2: 92 °C",
        "r01-t1_fan, R01-T1": f"{tray}_fan, {tray}",
        "R01-T10 and R01-T1x are others": "R01-T10 and R01-T1x are others",
        "row-a:nvml-a/backfill:5:1:0": f"row-a:{x('nvml-a')}/backfill:5:1:0",
        "old/backfill": f"{x('old')}/backfill",
        "older, bold, fact:row-a, ticker": "older, bold, fact:row-a, ticker",
        "opc.tcp://plc-1.site.example:4840": f"opc.tcp://{x('plc-1.site.example')}:4840",
        "R01: 92 °C, P-1.PumpSpeed": "R01: 92 °C, P-1.PumpSpeed",
        "": "",
    }.items():
        assert hide(text) == hidden
