"""`headrace bench …`: the options. The work is in the modules that they import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateways.cli.arguments import DEMO_SITE, FULL_SITE, SMALL_SITE, BootstrapOption, JsonOption, SiteArgument

KafkaJarsOption = Annotated[Path, typer.Option(help="Folder of Apache Kafka's jars (docs/chaos.md).")]

bench_app = typer.Typer(help="Measure: each command says on which machine.", no_args_is_help=True)


@bench_app.command("latency")
def bench_latency(
    site: SiteArgument = DEMO_SITE,
    commands: Annotated[int, typer.Option(help="At least this many commands.", min=1)] = 1000,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """From the sample that completes a condition to the receipt of its command, whole system, real processes."""
    from gateways.bench.latency import bench_latency as bench

    raise typer.Exit(bench(site, commands, bootstrap, as_json))


@bench_app.command("pipeline")
def bench_pipeline(
    site: SiteArgument = DEMO_SITE,
    gpus: Annotated[list[int] | None, typer.Option(help="Number of GPUs; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(help="How long to saturate the worker, each.")] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Readings a second through broker, worker and kernel at saturation."""
    from gateways.bench.pipeline import bench_pipeline as bench

    raise typer.Exit(bench(site, gpus or [576, 15_000], seconds, as_json))


@bench_app.command("kernels")
def bench_kernels(
    site: SiteArgument = DEMO_SITE,
    gpus: Annotated[
        list[int] | None, typer.Option(help="Number of GPUs (whole racks nearest to it); repeatable.", min=1)
    ] = None,
    passes: Annotated[int, typer.Option(help="Passes, of which the median counts.", min=1)] = 9,
    as_json: JsonOption = False,
) -> None:
    """The engine alone, on one core, beside a memory copy and the same conditions in NumPy and polars."""
    from gateways.bench.kernels import bench_kernels as bench

    raise typer.Exit(bench(site, gpus or [15_000, 100_000], passes, as_json))


@bench_app.command("replay")
def bench_replay(
    site: SiteArgument = DEMO_SITE,
    gpus: Annotated[
        int, typer.Option(help="The whole site is taken where this one has fewer.", min=1)
    ] = 15_000,
    seconds: Annotated[int, typer.Option(help="Of event time in the recording.", min=2)] = 300,
    ten: Annotated[
        bool, typer.Option("--ten", help="Ten samples a second of each GPU, in a frame a second.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """A recording through the replay, on one core: how many times real time, and where the time goes."""
    from gateways.bench.replay import bench_replay as bench

    raise typer.Exit(bench(site, gpus, seconds, 10 if ten else 1, as_json))


@bench_app.command("recorder")
def bench_recorder(
    site: SiteArgument = DEMO_SITE,
    gpus: Annotated[
        int, typer.Option(help="The whole site is taken where this one has fewer.", min=1)
    ] = 15_000,
    seconds: Annotated[int, typer.Option(help="Of event time.", min=2)] = 20,
    as_json: JsonOption = False,
) -> None:
    """The recorder alone, on one core: readings a second to a file on disk, and bytes that a reading takes there."""
    from gateways.bench.recorder import bench_recorder as bench

    raise typer.Exit(bench(site, gpus, seconds, as_json))


@bench_app.command("scada")
def bench_scada(
    site: SiteArgument = DEMO_SITE,
    alarms: Annotated[int, typer.Option(help="How many stand.", min=1)] = 5_000,
    clients: Annotated[int, typer.Option(help="How many listen.", min=1)] = 20,
    per_s: Annotated[int, typer.Option("--per-s", help="Transitions a second.", min=1)] = 500,
    seconds: Annotated[int, typer.Option(help="For how long.", min=4)] = 60,
    as_json: JsonOption = False,
) -> None:
    """The OPC UA server: a refresh of all alarms, and many transitions to many clients, one of which does not read."""
    from gateways.bench.scada import ScadaBench
    from gateways.bench.scada import bench_scada as bench

    raise typer.Exit(bench(ScadaBench(site, alarms, clients, per_s, seconds), as_json))


@bench_app.command("soak")
def bench_soak(
    site: SiteArgument = DEMO_SITE,
    duration: Annotated[str, typer.Option("--for", help="How long.", metavar="TIME")] = "30min",
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Memory, CPU and latency over a long run of `headrace up`: the slope of each."""
    from gateways.bench.soak import bench_soak as bench

    raise typer.Exit(bench(site, duration, bootstrap, as_json))


@bench_app.command("chaos")
def bench_chaos(
    site: SiteArgument = SMALL_SITE,
    kafka_jars: Annotated[
        Path,
        typer.Option(help="Folder of Apache Kafka's jars (docs/chaos.md).", envvar="HEADRACE_KAFKA_JARS"),
    ] = Path(".cache/kafka"),
    seed: Annotated[int, typer.Option(help="Draws the troubles.", min=0)] = 1,
    events: Annotated[int, typer.Option(help="So many troubles.", min=1)] = 15,
    brokers: Annotated[int, typer.Option(help="1, or 3 that keep everything three times.", min=1)] = 1,
    keep: Annotated[Path | None, typer.Option(help="Keep logs and recording of the run there.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Kill, stop, cut off and fill up, at random, on Apache Kafka: is anything lost, done twice or unexplained?"""
    from gateways.bench.chaos import ChaosRequest
    from gateways.bench.chaos import bench_chaos as bench

    raise typer.Exit(bench(ChaosRequest(site, kafka_jars, seed, events, brokers, keep), as_json))


@bench_app.command("kills")
def bench_kills(
    site: SiteArgument = DEMO_SITE,
    seed: Annotated[int, typer.Option(help="Decides the moments, the faults and the disturbances.")] = 1,
    kills: Annotated[int, typer.Option(help="How often the worker is killed.", min=2)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Kill the worker again and again under a misbehaving log; compare the run with its replay."""
    from gateways.bench.kills import bench_kills as bench

    raise typer.Exit(bench(site, seed, kills, as_json))


@bench_app.command("outage")
def bench_outage(
    site: SiteArgument = DEMO_SITE,
    away: Annotated[str, typer.Option(help="How long the broker is away.", metavar="TIME")] = "10min",
    kafka_jars: KafkaJarsOption = Path(".cache/kafka"),
    as_json: JsonOption = False,
) -> None:
    """Apache Kafka away and back: is anything lost, how long does the backlog take, and what do live data notice?"""
    from gateways.bench.outage import bench_outage as bench

    raise typer.Exit(bench(site, away, kafka_jars, as_json))


@bench_app.command("scale")
def bench_scale(
    site: SiteArgument = FULL_SITE,
    workers: Annotated[str, typer.Option(help="Numbers of workers, each a run.", metavar="N,N")] = "1,2,3",
    partitions: Annotated[int, typer.Option(help="Of `events`.", min=1)] = 12,
    seconds: Annotated[
        float, typer.Option(help="Of the plant in the backlog; and how long at a steady pace.", min=5)
    ] = 15.0,
    brokers: Annotated[int, typer.Option(help="1, or 3 that keep everything three times.", min=1)] = 1,
    kafka_jars: KafkaJarsOption = Path(".cache/kafka"),
    as_json: JsonOption = False,
) -> None:
    """The same log worked off by 1, 2, 3 workers: rate, CPU, latency, what moves; and a plan for a large site."""
    from gateways.bench.scale import bench_scale as bench
    from gateways.bench.scale import numbers_of
    from gateways.bench.scale_run import ScaleRequest

    request = ScaleRequest(site, kafka_jars, numbers_of(workers), partitions, seconds, brokers)
    raise typer.Exit(bench(request, as_json))


@bench_app.command("faults")
def bench_faults(
    site: SiteArgument = DEMO_SITE,
    seeds: Annotated[
        str, typer.Option(help="Seeds of the plant, each a run of all.", metavar="N,N")
    ] = "1,2,3",
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--event-time", help="Only the quick faults, live; or all of them in event time."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Inject every fault of the plant: which alarm comes, and when, beside the fault table."""
    from gateways.bench.faults import bench_faults as bench

    raise typer.Exit(bench(site, seeds, live, as_json))


@bench_app.command("alerts")
def bench_alerts(
    subscriptions: Annotated[int, typer.Option(help="How many.", min=10)] = 1000,
    racks: Annotated[int, typer.Option(help="Whose alarms flood.", min=10, max=2000)] = 500,
    rate: Annotated[int, typer.Option(help="Transitions a second before the flood.", min=1)] = 100,
    seconds: Annotated[float, typer.Option(help="For so long.", min=1)] = 30.0,
    kills: Annotated[int, typer.Option(help="kill -9 of the role during the flood.", min=0)] = 3,
    seed: Annotated[int, typer.Option(help="Decides the alarms and the failures.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """From a transition to who wants to hear of it; and whether all arrives in a flood, with failures and kills."""
    from gateways.bench.alerts import Size
    from gateways.bench.alerts import bench_alerts as bench

    raise typer.Exit(bench(Size(subscriptions, racks, rate, seconds, kills, seed), as_json))
