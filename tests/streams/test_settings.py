from pathlib import Path

import pytest

from gateways.cli.main import run_app
from rules.errors import ConfigurationError
from streams.settings import load_settings

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_environment_wins_over_secrets_and_these_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("run_dir: from-file\nbroker:\n  bootstrap: file:1\n  partitions: 6\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "headrace_run_dir").write_text("from-secret")
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", "environment:1")
    settings = load_settings(file, secrets)
    assert settings.broker.bootstrap == "environment:1"
    assert settings.broker.partitions == 6
    assert settings.run_dir == Path("from-secret")


def test_every_unknown_key_is_an_error_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("brokr: {}\nspool:\n  limit_bm: 3\nbroker:\n  partitions: 0\n")
    monkeypatch.setenv("HEADRACE_TICKR__HOLD_BACK_MS", "3")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    said = {finding.message.split(":")[0]: finding.hint for finding in caught.value.findings}
    assert "broker" in said["brokr"]
    assert "limit_mb" in said["spool.limit_bm"]
    assert "broker.partitions" in said
    assert "HEADRACE_TICKER__HOLD_BACK_MS" in said["unknown variable HEADRACE_TICKR__HOLD_BACK_MS"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HEADRACE_BROKER__PARTITIONS", "0", "HEADRACE_BROKER__PARTITIONS: error: broker.partitions: "),
        ("Headrace_Broker__Partitions", "0", "Headrace_Broker__Partitions: error: broker.partitions: "),
        ("HEADRACE_BROKER", '{"partitions": 0}', "HEADRACE_BROKER: error: broker.partitions: "),
        ("HEADRACE_BROKER", '{"partition": 1}', "HEADRACE_BROKER: error: broker.partition: "),
        ("HEADRACE_BROKER__KEY_FILE", "x", "environment: error: broker: key_file needs certificate_file"),
        (
            "HEADRACE_BROKER__BOOTSTRAPP",
            "x",
            "environment: error: unknown variable HEADRACE_BROKER__BOOTSTRAPP",
        ),
        ("HEADRACE_BROKER__X__Y", "x", "environment: error: unknown variable HEADRACE_BROKER__X__Y"),
        ("HEADRACE_EDGES__PROXIES", "10.0.0.1", "environment: error: no JSON in HEADRACE_EDGES__PROXIES"),
    ],
)
@pytest.mark.parametrize("has_file", [False, True])
def test_what_a_variable_says_wrong_is_said_of_it_alone(
    variable: str, value: str, said: str, has_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "headrace.yaml"
    if has_file:
        file.write_text("spool: {limit_mb: 5}\n")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    (finding,) = caught.value.findings
    assert str(finding).startswith(said)


def test_what_the_file_says_wrong_is_said_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("http: {token: {file: /run/token}}\nbroker: {key_file: x}\nedges: {proxies: [nowhere]}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    assert {finding.file for finding in caught.value.findings} == {str(file)}
    said = "http.token: write the path of the file, and nothing around it"
    assert said in {finding.message for finding in caught.value.findings}


def test_a_file_that_is_not_there_leaves_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.yaml").broker.partitions >= 1


@pytest.mark.parametrize("address", ["", "broker", "broker:port", "broker:0", "broker:99999", "one:9092,two"])
def test_an_address_without_host_and_port_is_an_error(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"broker\.bootstrap: '.*' is no address, write host:port$"):
        load_settings(broker={"bootstrap": address})
    assert load_settings(broker={"bootstrap": "one:9092, [::1]:9093"}).broker.bootstrap


def test_what_an_option_gives_is_said_of_the_option_and_the_rest_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("broker: {partitions: 0}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, option="--bootstrap", broker={"bootstrap": "foo"})
    said = {finding.message.split(":")[0]: finding.file for finding in caught.value.findings}
    assert said == {"broker.bootstrap": "--bootstrap", "broker.partitions": str(file)}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["alarms", "--bootstrap", "foo"], "--bootstrap"),
        (["activate", "--bootstrap", "foo"], "--bootstrap"),
        (["replay", str(GOLDEN / "pump_trip.mcap"), "--to-kafka", "foo"], "--to-kafka"),
    ],
)
def test_commands_name_their_option(
    words: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(words) == 2
    assert f"{option}: error: broker.bootstrap: 'foo' is no address" in capsys.readouterr().err


def test_where_no_broker_answers_the_option_is_named_that_said_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    address = f"127.0.0.1:{unused_port}"
    assert run_app(["alarms", "--bootstrap", address]) == 3
    assert "say where it is (--bootstrap)" in capsys.readouterr().err
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", address)
    assert run_app(["alarms"]) == 3
    assert "say where it is (HEADRACE_BROKER__BOOTSTRAP)" in capsys.readouterr().err
