"""Files that people write, and files of others that are imported."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from gateways.access.users_file import parse_users
from gateways.alerts.parse import parse
from rules.errors import ConfigurationError
from rules.language.expression import parse_expression, parse_limit
from rules.language.load import load_rules
from rules.language.problems import ExpressionError
from rules.site.parse import parse_site
from rules.strict_yaml import load
from streams.importing.guessing.guess import guess_map
from streams.importing.map_file import load_map
from streams.importing.run import import_recording
from streams.scenarios.load import load_scenarios
from streams.settings import load_settings
from tests.rules.engine.plant import LOW, SITE, program, site
from tests.streams.importing import formats
from tools.fuzz.mutate import WORDS, YAML_WORDS, Make, of_bytes, of_text
from tools.fuzz.runner import Case

ROOT: Final = Path(__file__).parents[2]
_WRONG: Final = (ConfigurationError, UnicodeDecodeError)
"""A file that is not UTF-8 is refused before it is parsed (`streams/text_file.py`)."""

_EXPRESSIONS: Final = (
    "RackLiquidFlow < 0.7 * design_flow and RackPower > 20 kW", "rate(RackLiquidFlow, 10 s) > 5 L/min/s", "not (a or b)",
    "avg(temperature, 1 min) - min(RackPower, 10 s) >= 3 K", "max(gpu.temperature) by rack > 80 degC", "vote2oo3(a, b, c)",
    "count(GPU.temperature > 80 degC) >= 2", "frozen(PumpSpeed, 5 min)", "ewma(RackPower, 10 s) / 3 + -2 ^ 4", "a == 'x'",
    "80 degC within 5 min", "limit each GPU.power_limit to 500 W", "integral(RackPower, 1 h) * (1 + (2 - 3) * 4) != 0 kWh",
    "cusum(RackPower, 10 kW, 2 kW) > 5", "sum(rack.RackPower) by feed", "delta(a, 1 s) < abs(b)",
)  # fmt: skip
_EXPRESSION_WORDS: Final = (
    b"(" * 60, b"(" * 5000, b")" * 60, b"not " * 100, b"-" * 3000, b" and ", b" or ", b" by ", b" each ", b" to ", b"1 kW", b"1e400 W", b"0 s",
    b"5 min", b"99999999999 h", b"avg(", b"max(", b"rate(", b",", b"..", b"%", b"^", b"L/min", b"m^3/s", b"1/0", b"a.b.c.d", b"+ 1 " * 400, b"* a " * 400,
)  # fmt: skip


def _texts(*paths: str) -> list[bytes]:
    return [file.read_bytes() for path in paths for file in sorted(ROOT.glob(path))]


def _of_yaml(seeds: list[bytes], *words: bytes) -> Make:
    return of_text(seeds, (*YAML_WORDS, *words))


def yaml_files(_: Path) -> Case:
    """The strict reader alone."""
    seeds = [*_texts("examples/maps/*.yaml", "tests/rules/bad/*.yaml"), SITE.encode()]
    return Case(_of_yaml(seeds), lambda data: load(data.decode(), "site.yaml"), _WRONG)


def site_files(_: Path) -> Case:
    """`parse_site`."""
    words = (b"R[1..2]", b"R[1..9999999]", b"[A..Z][1..999]", b"-T[01..99]", b"{point}", b"{", b"500..1600 W", b"1e308..1e308 W", b"0..300 L/min",
             b"is: rack", b"rack", b"feeds: [R1]", b"contains: {\"-X[1..2000]\": rack}", b"opc.tcp://h:1/x", b"ns=2;s={point}", b"kind: opcua")  # fmt: skip
    return Case(
        _of_yaml([SITE.encode(), *_texts("examples/machine_temperature/site.yaml")], *words),
        lambda data: parse_site(data.decode(), "site.yaml"),
        _WRONG,
    )


def rule_files(_: Path) -> Case:
    """`load_rules`: language, types and limits."""
    seeds = [
        b"rules:" + LOW.encode(),
        *_texts("tests/rules/bad/*.yaml", "examples/machine_temperature/rules/*.yaml"),
    ]
    words = (*_EXPRESSION_WORDS, *(one.encode() for one in _EXPRESSIONS))
    return Case(
        _of_yaml(seeds, *words), lambda data: load_rules({"rules.yaml": data.decode()}, site()), _WRONG
    )


def expressions(_: Path) -> Case:
    """The expression language's parser."""
    make = of_text([one.encode() for one in _EXPRESSIONS], _EXPRESSION_WORDS)

    def run(data: bytes) -> None:
        text = data.decode()
        parse_expression(text)
        parse_limit(text)

    return Case(make, run, (ExpressionError, UnicodeDecodeError))


def typed_expressions(_: Path) -> Case:
    """Conditions with the type checker, in a rule."""
    make = of_text([one.encode() for one in _EXPRESSIONS[:10]], _EXPRESSION_WORDS)
    place = site()

    def run(data: bytes) -> None:
        text = "\n      ".join(data.decode().splitlines())
        load_rules({"r.yaml": f"rules:\n  r:\n    for: Rack\n    when: >\n      {text}\n    severity: low\n    message: m\n"}, place)  # fmt: skip

    return Case(make, run, _WRONG)


def subscription_files(_: Path) -> Case:
    """`subscriptions.yaml`."""
    seeds = [
        *_texts("examples/narvik-small/subscriptions.yaml"),
        b"serve:\n  listen: 127.0.0.1:0\n  token: {env: T}\n  links: {base_url: 'http://127.0.0.1:1', expire: 1 h}\nfallback: log\ntime_zone: Europe/Oslo\n"
        b"channels:\n  log: {kind: file, path: log.jsonl}\n  hook: {kind: webhook, url: {env: U}, secret: {file: s}, timeout: 2 s, parallel: 3, give_up: 1 min, fallback: log}\n"
        b"  am: {kind: alertmanager, url: 'http://127.0.0.1:9093'}\n  mail: {kind: apprise, url: {env: M}}\nsubscriptions:\n  duty:\n    to: [log, hook]\n    asset: R1\n    severity: [urgent, high]\n"
        b"    hours: {from: '22:00', to: '06:00', days: [fri]}\n    digest: {above: 5, every: 1 min, worst: 3}\n    escalate: [{after: 5 min, to: mail}]\n    user: eva\n    wait: 5 s\n    group_by: [unit]\n  heart: {to: am, always: 1 min}\n",
    ]  # fmt: skip
    words = (
        b"{env: X}",
        b"{file: /etc/passwd}",
        b"http://[",
        b"http://a:99999/",
        b"[::1]:1",
        b"0.0.0.0:1",
        b"25:00",
        b"Europe/Oslo",
        b"../../x",
    )

    def reveal(where: str, name: str) -> str:
        if name == "none":
            raise KeyError(name)
        return "https://127.0.0.1:1/x?token=1"

    return Case(
        _of_yaml(seeds, *words),
        lambda data: parse(data.decode(), "subscriptions.yaml", site(), reveal),
        _WRONG,
    )


def users_files(_: Path) -> Case:
    """`users.yaml`."""
    seeds = [
        b"users:\n  ada:\n    role: admin\n    keys: [5f0c2a51fdb34cbd0b2f0e9d35c2cfb7bf0d4bd1c8d3aa0f4cf3b1a4a6d1f9e2]\n  eva:\n    role: operator\n"
        b"    password: $argon2id$v=19$m=19456,t=2,p=1$KsiZKJaEFXDCM0isGzohsA$dtN+8iqQvln1heUirdNoHdYQHswLEaWFvd0MOv9/28Y\n    login: eva@example.org\n"
        b"  scada:\n    role: engineer\n    speaks_for: all\nproxy: {addresses: [127.0.0.1], header: X-Forwarded-Email}\n"
    ]  # fmt: skip
    words = (
        b"$argon2id$v=19$m=999999999,t=9,p=9$x$y",
        b"$argon2id$",
        b"speaks_for: [eva]",
        b"::1",
        b"999.1.1.1",
        b"'*'",
    )
    return Case(_of_yaml(seeds, *words), lambda data: parse_users(data.decode(), "users.yaml"), _WRONG)


def settings_files(work: Path) -> Case:
    """`headrace.yaml`."""
    seeds = [
        b"run_dir: run\nbroker: {bootstrap: '127.0.0.1:9092', partitions: 3}\nspool:\n  limit_mb: 5\naccess:\n  keys: {scada: /x.pem}\nscada:\n  endpoint: opc.tcp://127.0.0.1:4850/h\n"
        b"  history_h: 4\nrecorder:\n  folder: rec\n  keep_gb: 2.5\njournal: {key: k.pem, head_every_s: 60}\n"
    ]  # fmt: skip
    file = work / "headrace.yaml"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        load_settings(file)

    return Case(_of_yaml(seeds), run, (ConfigurationError,))


def scenario_files(_: Path) -> Case:
    """What `headrace test` reads."""
    seeds = [
        b"scenarios:\n  low:\n    duration: 1 min\n    inputs:\n      R1:\n        RackLiquidFlow: [100 L/min, {at: 10 s, to: 20 L/min}, {from: 20 s, until: 30 s, ramp: 90 L/min}]\n"
        b"    expect:\n      R1:\n        low: {raised: [{at: 11 s}]}\n",
        *_texts("examples/narvik/scenarios/*.yaml")[:2],
    ]  # fmt: skip
    rules = program(LOW)
    return Case(
        _of_yaml(seeds), lambda data: load_scenarios({"s.yaml": data.decode()}, site(), rules), _WRONG
    )


_COLUMNS: Final = "columns:\n  flow: {to: CDU-A.LiquidFlow, unit: L/min}\n  temp: {to: CDU-A.LiquidTemperature, unit: degC}\n"
_PROMETHEUS: Final = (
    "series:\n  label: Hostname\n  names: {a: DGX-1, b: DGX-2}\nlabels:\n  gpu: {'0': -G1, '1': -G2}\ncolumns:\n"
    "  DCGM_FI_DEV_GPU_TEMP: {to: '{series}{gpu}.temperature', unit: degC}\nignored: ['*']\n"
)
MAPS: Final = {
    "csv": "format: csv\ntime: {column: time, zone: Europe/Oslo}\norder: any\nmax_gap: 30 s\n" + _COLUMNS,
    "parquet": "format: parquet\ntime: {column: time, zone: UTC}\norder: any\nmax_gap: 30 s\n" + _COLUMNS,
    "influx": "format: influx\ntime: {format: unix ms}\norder: any\nmax_gap: 30 s\ncolumns:\n  cdu.flow: {to: CDU-A.LiquidFlow, unit: L/min, labels: {m: a}}\nignored: ['*']\n",
    "prometheus": "format: prometheus\norder: any\n" + _PROMETHEUS,
    "prometheus-json": "format: prometheus-json\n" + _PROMETHEUS,
    "remote-read": "format: remote-read\n" + _PROMETHEUS,
}  # fmt: skip


def _import_folder(work: Path, kind: str) -> Path:
    (work / "site").mkdir()
    (work / "site" / "site.yaml").write_text(formats.SITE)
    (work / "map.yaml").write_text("site: site\n" + MAPS[kind])
    return work / "map.yaml"


def map_files(work: Path) -> Case:
    """Maps of `headrace import`."""
    file = _import_folder(work, "csv")
    seeds = [f"site: site\n{text}".encode() for text in MAPS.values()]
    seeds += [one.replace(b"../", b"") for one in _texts("examples/maps/*.yaml")]

    def run(data: bytes) -> None:
        file.write_bytes(data)
        load_map(file)

    return Case(
        _of_yaml(seeds, b"unix ms", b"%Y-%m-%d", b"Europe/Oslo", b"{series}{gpu}"), run, (ConfigurationError,)
    )


def _importer(work: Path, kind: str, name: str, make: Make) -> Case:
    plan = _import_folder(work, kind)
    file, output = work / name, work / "out.mcap"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        import_recording([file], plan, output, lambda _: None)

    return Case(make, run, (ConfigurationError,))


def import_csv(work: Path) -> Case:
    """CSV."""
    seeds = [
        b"time,flow,temp\n2026-01-01 00:00:00,1.5,20\n2026-01-01 00:00:10,1e3,NaN\n2026-10-25 02:30:00,,-1\n",
        "\ufefftime;flow;temp\r\n2026-01-01T00:00:00Z;1,5;20\r\n".encode(),
        b'time,flow,temp\n"2026-01-01 00:00:00","1\n5",20\n',
    ]
    words = (
        b'"',
        b'""',
        b",",
        b";",
        b"9999-12-31 23:59:59",
        b"0001-01-01 00:00:00",
        b"2026-13-45",
        b"2262-04-12 00:00:00",
        b'"' + b"x" * 200_000,
    )
    return _importer(work, "csv", "x.csv", of_text(seeds, words))


def import_parquet(work: Path) -> Case:
    """Parquet."""
    texts = pa.array(["2026-01-01 00:00:00", "2026-01-01 00:00:10", None])
    stamps = pa.array([1_767_225_600_000, 1_767_225_610_000, None], pa.timestamp("ms"))
    days = pa.array([20_454, 20_455, None], pa.date32())
    temp = pa.array(["20", "x", None])
    seeds = []
    for times in (stamps, stamps.cast(pa.timestamp("ns", "UTC")), texts, texts.dictionary_encode(), days):
        table = pa.table({"time": times, "flow": [1.5, None, 3.0], "temp": temp.dictionary_encode()})
        for codec in ("none", "snappy", "zstd"):
            written = io.BytesIO()
            pq.write_table(table, written, compression=codec)
            seeds.append(written.getvalue())
    return _importer(work, "parquet", "x.parquet", of_bytes(seeds))


def import_influx(work: Path) -> Case:
    """Line protocol."""
    seeds = [
        b"cdu,m=a flow=17.2,power=2733i 1767225600000\ncdu,m=a flow=18 1767225610000\n# c\n",
        b'a\\ b,c\\=d=e f="x\\"y",g=t 1\n',
    ]
    return _importer(work, "influx", "x.lp", of_text(seeds, (b"\\", b'"', b",", b"=", b"i", b"9" * 25)))


def import_prometheus(work: Path) -> Case:
    """Prometheus' text and OpenMetrics."""
    seeds = [
        one[:3000]
        for one in _texts(
            "tests/streams/importing/prometheus/*.om", "tests/streams/importing/prometheus/*.txt"
        )
    ]
    seeds.append(
        b'# TYPE t gauge\nDCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="a"} 50 1767225600\nDCGM_FI_DEV_GPU_TEMP{gpu="1",Hostname="a"} 51 1767225610\n# EOF\n'
    )
    return _importer(
        work,
        "prometheus",
        "x.om",
        of_text(seeds, (b"{", b"}", b'"', b"# EOF", b"# HELP x \\", b'# {a="b"} 1 1', b"NaN", b"+Inf")),
    )


def import_json(work: Path) -> Case:
    """The answer of Prometheus' HTTP interface."""
    seeds = [
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"DCGM_FI_DEV_GPU_TEMP","gpu":"0","Hostname":"a"},"values":[[1767225600,"50"],[1767225610.5,"51"]]}]}}'
    ]
    from tools.fuzz.mutate import of_json

    return _importer(work, "prometheus-json", "x.json", of_json(seeds))


def import_remote(work: Path) -> Case:
    """Remote read: protobuf in snappy, and streams of chunks."""
    from cramjam import snappy

    from streams.importing.remote_read import crc32c

    folder = ROOT / "tests/streams/importing/prometheus"
    samples, chunks = (folder / "samples.bin").read_bytes(), (folder / "chunks.bin").read_bytes()
    plain = bytes(snappy.decompress_raw(samples))[:4000]
    outer = of_bytes([samples[:4000], chunks[:4000], b"\xff\xff\xff\xff\x0f" + b"a" * 20])
    inner, framed = of_bytes([plain]), of_bytes([chunks[8:3000]])

    def varint(number: int) -> bytes:
        out = b""
        while number > 0x7F:
            out += bytes([number & 0x7F | 0x80])
            number >>= 7
        return out + bytes([number])

    def make(rng: random.Random) -> bytes:
        chance = rng.random()
        if chance < 0.3:
            return outer(rng)
        if chance < 0.65:  # the compression is right, and what it holds is not
            return bytes(snappy.compress_raw(inner(rng)))
        body = framed(rng)
        return varint(len(body)) + crc32c(body).to_bytes(4, "big") + body

    return _importer(work, "remote-read", "x.bin", make)


def guesses(work: Path) -> Case:
    """`headrace import --guess`: any file."""
    _import_folder(work, "csv")
    seeds = [
        b"time,flow,temp\n2026-01-01 00:00:00,1.5,20\n",
        b"cdu,m=a flow=17.2 1767225600000\n",
        *(one[:1500] for one in _texts("tests/streams/importing/prometheus/*.*")),
    ]
    file = work / "x.csv"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        guess_map(file, work / "site", work)

    return Case(of_bytes(seeds, WORDS), run, (ConfigurationError,))


FILE_TARGETS: Final = {
    "yaml": yaml_files,
    "site": site_files,
    "rules": rule_files,
    "expressions": expressions,
    "types": typed_expressions,
    "subscriptions": subscription_files,
    "users": users_files,
    "settings": settings_files,
    "scenarios": scenario_files,
    "maps": map_files,
    "import-csv": import_csv,
    "import-parquet": import_parquet,
    "import-influx": import_influx,
    "import-text": import_prometheus,
    "import-json": import_json,
    "import-remote": import_remote,
    "import-guess": guesses,
}
