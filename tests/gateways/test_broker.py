"""The embedded broker: starts, says what is wrong, ends, and each start is a log of its own."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gateways.broker import EmbeddedBroker
from rules.errors import UnreachableError
from streams.bus.kafka import KafkaBus, is_embedded
from streams.record import Message
from streams.settings import BrokerSettings
from streams.topics import EVENTS, STATUS, TOPICS


async def test_it_starts_with_every_topic_on_the_loopback_only(embedded_broker: EmbeddedBroker) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    assert {topic.name: await bus.partitions(topic.name) for topic in TOPICS} == {
        topic.name: topic.partitions or 3 for topic in TOPICS
    }
    assert is_embedded(await bus.cluster_id())
    await bus.close()
    assert embedded_broker.pid is not None
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(embedded_broker.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]
    assert embedded_broker.resident_mb() > 1


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnreachableError, match=f"port {port}.* is taken"):
            await EmbeddedBroker(port, tmp_path).start()


async def test_a_stop_frees_the_port_and_a_start_is_a_fresh_log(embedded_broker: EmbeddedBroker) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("test")
    await (await producer.send(Message(EVENTS.name, 0, None, b"old")))
    await producer.close()
    first, pid = await bus.cluster_id(), embedded_broker.pid
    await embedded_broker.stop()
    assert embedded_broker.pid is None
    assert pid is not None
    assert not psutil.pid_exists(pid)
    await embedded_broker.start()
    second = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    assert await second.cluster_id() != first
    assert set((await second.ends(EVENTS.name)).values()) == {0}
    await bus.close()
    await second.close()


async def test_clients_that_wait_for_it_do_not_spoil_its_topics(embedded_broker: EmbeddedBroker) -> None:
    """A client that names a topic makes the broker create it: with other partitions than the site's."""
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap, request_timeout_s=30))
    producer = await bus.producer("test")
    await (await producer.send(Message(STATUS.name, 0, b"k", b"1")))
    readers = [await bus.reader([EVENTS.name, STATUS.name]) for _ in range(3)]
    for _ in range(3):
        await embedded_broker.stop()
        # A task: without metadata of its topic, which the outage may have taken, even the sending waits.
        sending = asyncio.ensure_future(producer.send(Message(STATUS.name, 0, b"k", b"2")))
        await embedded_broker.start()
        assert await (await sending) == 0
        assert await bus.partitions(EVENTS.name) == 3
        assert await bus.partitions(STATUS.name) == 1
    for reader in readers:
        await reader.close()
    await producer.close()
    await bus.close()


async def test_a_ctrl_c_in_the_terminal_does_not_reach_it(embedded_broker: EmbeddedBroker) -> None:
    """A terminal signals the whole foreground process group; the broker ends last, when `up` says so."""
    assert embedded_broker.pid is not None
    assert os.getpgid(embedded_broker.pid) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word at a parent's death is Linux's own")
def test_it_ends_when_the_process_that_started_it_is_killed(tmp_path: Path, unused_port: int) -> None:
    supervisor = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import asyncio, pathlib, sys, time\n"
            "from gateways.broker import EmbeddedBroker\n"
            "broker = EmbeddedBroker(int(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
            "asyncio.run(broker.start())\n"
            "print(broker.pid, flush=True)\n"
            "time.sleep(60)\n",
            str(unused_port),
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert supervisor.stdout is not None
        broker = psutil.Process(int(supervisor.stdout.readline()))
    finally:
        supervisor.kill()
        supervisor.communicate()
    psutil.wait_procs([broker], timeout=60)
    assert not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE
