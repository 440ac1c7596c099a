"""The one table of all metrics: of every role's status, what Prometheus is shown.

Rules: each key of a status is here, as a metric or as `WORDS` that are for people; a test runs every role and finds
none that is not. What is lost anywhere has a `stage`, and what is in the log and was not evaluated a `reason`
(docs/observability.md says what each means).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from gateways.observability.metric import Metric, Path, begins, counter, fits, gauge, state

_PUBLISHER = "publishers.{source}."
COMMON: Final = (
    counter("status_unsent", "status_unsent", "Words on itself that the role could not bring to the log."),
    counter("status_unsayable", "status_unsayable", "Words on itself in whose place a short one went to the log."),
    counter("http_refused.{reason}", "http_refused_requests", "Requests that an HTTP edge refused, by reason."),
    gauge(
        "certificates.{of}", "certificate_expiry_timestamp", "When a certificate ends, of several the first: the "
        "role's own of OPC UA, those it trusts, its own at the broker, the authorities of the broker's.",
        unit="seconds",
    ),
    gauge("holding", "holding", "1 while the role holds back what it would send, as in a roll of the log."),
    counter(
        _PUBLISHER + "accepted", "publisher_accepted_records", "Records that the role gave to the publisher."
    ),
    counter(_PUBLISHER + "acknowledged", "publisher_acknowledged_records", "Records that the broker took."),
    counter(_PUBLISHER + "retried", "publisher_retried_records", "Records that were sent again, in order."),
    counter(_PUBLISHER + "spooled", "publisher_spooled_records", "Records that went to the spool on disk."),
    counter(_PUBLISHER + "drained", "publisher_drained_records", "Records that went from the spool to the log."),
    counter(
        _PUBLISHER + "dropped", "publisher_dropped_records", "Records dropped by a full spool, or unreadable in it.",
        stage="spool",
    ),
    counter(_PUBLISHER + "dropped_readings", "publisher_dropped_readings", "Readings in the records dropped."),
    counter(
        _PUBLISHER + "oversized", "publisher_oversized_records", "Records too large for the log.",
        stage="oversized",
    ),
    counter(
        _PUBLISHER + "disk_failures", "publisher_disk_failures", "Failures of the disk under the spool.",
    ),
    gauge(_PUBLISHER + "unsent", "publisher_unsent_records", "Records in memory that the broker has not taken."),
    gauge(_PUBLISHER + "spool_records", "publisher_spool_records", "Records in the spool."),
    gauge(
        _PUBLISHER + "spool_mb", "publisher_spool", "What the spool takes on disk.", unit="bytes", scale=1e6
    ),
    state(
        _PUBLISHER + "state", "publisher_state", "1 for what the publisher does: live, held, spooling or ended."
    ),
)  # fmt: skip

_ENGINE: Final = {
    "inputs": "Inputs of all kinds.",
    "frames": "Frames of GPU samples.",
    "readings": "Readings, evaluated or not (a GPU's sample is 24).",
    "ticks": "Ticks.",
    "facts": "Facts of other units.",
    "facts_told": "Facts told to other units.",
    "receipts": "Receipts of commands.",
    "activations": "Rule sets activated or refused.",
    "activations_refused": "Rule sets that were refused.",
    "repeats": "Inputs that came again and were dropped.",
    "gaps": "Gaps of sources: said by the source, or seen in its sequence.",
    "clock_corrected": "Readings whose source time was off and was replaced.",
    "not_good": "Readings whose quality was not good.",
    "alarms_raised": "Alarms raised.",
    "alarms_cleared": "Alarms cleared.",
    "alarms_unknown": "Alarms whose condition became unknown.",
    "commands": "Commands said.",
    "actions": "Actions of operators.",
    "actions_refused": "Actions of operators that were refused.",
    "access_lists": "Access lists taken up or refused.",
    "access_lists_refused": "Access lists that were refused.",
    "unknown_sources": "Inputs of sources that the site file does not have.",
}
_ENGINE_LOST: Final = {
    "inputs_missing": ("missing", "Inputs that a source's sequence shows and the log does not have."),
    "readings_lost": ("gap", "Readings that sources say they could not deliver."),
}
_ENGINE_NOT_EVALUATED: Final = {
    "backfill": ("backfill", "Readings that came late out of a spool: for history, never evaluated."),
    "late": ("late", "Readings older than the lateness allowance: counted, not evaluated."),
    "out_of_order": ("out_of_order", "Readings not newer than the newest of their signal: not evaluated."),
    "before_first_tick": ("before_first_tick", "Readings before the first tick: not evaluated."),
    "unknown_points": ("unknown_name", "Readings of points that the site file does not have."),
    "unknown_gpus": ("unknown_name", "Readings of GPUs that the site file does not have."),
    "unknown_facts": ("unknown_name", "Facts that no rule of the unit knows."),
}
_WORKER: Final = (
    counter("records", "worker_records", "Records of events that were read."),
    counter("readings", "worker_readings", "Readings that went to an engine."),
    counter("inputs.{kind}", "worker_inputs", "Inputs by kind."),
    counter("outputs.{kind}", "worker_outputs", "Outputs by kind."),
    counter(
        "dead_letter_reasons.{reason}", "worker_dead_letters", "Records that nobody can read, by reason.",
        stage="dead_letters",
    ),
    counter("redelivered", "worker_redelivered_records", "Records that the transport brought again."),
    counter(
        "skipped_offsets", "worker_skipped_records", "Records that retention took before they were read.",
        stage="retention",
    ),
    counter("facts_left_to_replay", "worker_facts_left_to_replay", "Facts that a recording already holds."),
    counter("heads", "worker_journal_heads", "Signed heads of the journal."),
    counter("steps", "worker_steps", "Steps of engines."),
    counter("snapshots.written", "worker_snapshots", "Snapshots written."),
    gauge("snapshots.bytes", "worker_snapshot_size", "Size of the last snapshot.", unit="bytes"),
    gauge("snapshots.age_s", "worker_snapshot_age", "Since the last snapshot.", unit="seconds"),
    gauge(
        "snapshots.pause_ms_max", "worker_snapshot_pause_max", "Longest pause for a snapshot.",
        unit="seconds", scale=1e-3,
    ),
    counter(
        "snapshots.rejected.{reason}", "worker_snapshots_rejected", "Snapshots that can't be used, by reason.",
        stage="state",
    ),
    counter("restores", "worker_restores", "Units that began with a snapshot."),
    counter("restores_of_other_rules", "worker_restores_of_other_rules", "Units whose rules were not to be had."),
    counter("restores_on_other_log", "worker_restores_on_other_log", "Units restored on a fresh log."),
    counter(
        "restores_refused", "worker_restores_refused", "Units whose state this version can't take.", stage="state"
    ),
    counter("site_files_replaced", "worker_site_files_replaced", "Units that went on under another site file."),
    gauge(
        "activation_pause_ms_max", "worker_activation_pause_max", "Longest step that activated a rule set.",
        unit="seconds", scale=1e-3,
    ),
    gauge(
        "latency_ms.{path}.{percentile}", "worker_latency", "From the event, or its record, to the output's "
        "acknowledgement, in the last minute.", unit="seconds", scale=1e-3,
    ),
    gauge("unacknowledged", "worker_unacknowledged_outputs", "Outputs that the broker has not taken yet."),
    gauge("lag", "worker_lag_records", "Records of events that wait to be read."),
    gauge("positions.{partition}", "worker_position", "Offset of the next record of events."),
    gauge("acknowledged.{partition}", "worker_acknowledged_position", "Offset up to which snapshots cover."),
    gauge(
        "now_ns.{unit}", "worker_tick_timestamp", "Time of the unit's last tick.", unit="seconds", scale=1e-9
    ),
    counter("assignments", "worker_assignments", "Times that the group gave it partitions."),
    counter(
        "alarms_said_again", "worker_alarms_said_again", "Words on alarms that a stale one had buried, said again."
    ),
    gauge("owner_epochs.{partition}", "worker_owner_epoch", "Under which it speaks of the units of a partition."),
    gauge("rule_sets.ready", "worker_rule_sets_ready", "Rule sets that are ready to be activated."),
    counter("rule_sets.waits", "worker_rule_set_waits", "Activations that waited for their rule set."),
    gauge(
        "rule_sets.take_over_ms_max", "worker_rule_set_take_over_max", "Longest pause for a prepared rule set.",
        unit="seconds", scale=1e-3,
    ),
    *(counter(f"engine.{{unit}}.{name}", f"engine_{name}", text) for name, text in _ENGINE.items()),
    *(
        counter(f"engine.{{unit}}.{name}", f"engine_{name}", text, stage=stage)
        for name, (stage, text) in _ENGINE_LOST.items()
    ),
    *(
        counter(f"engine.{{unit}}.{name}", f"engine_{name}", text, reason=reason)
        for name, (reason, text) in _ENGINE_NOT_EVALUATED.items()
    ),
)  # fmt: skip

_TICKER: Final = (
    counter("ticks", "ticker_ticks", "Ticks, each for all units."),
    counter("skipped", "ticker_skipped_ticks", "Ticks that were not said: a pause, or a broker that was away."),
    counter("failed", "ticker_failures", "Ticks that the broker did not take."),
    counter("clock_back", "ticker_clock_set_back", "Looks at a clock that was behind the last tick."),
    gauge(
        "last_tick_ns", "ticker_tick_timestamp", "Time of the last tick.", unit="seconds", scale=1e-9
    ),
)  # fmt: skip

_RECEIPTS: Final = ("done", "refused", "expired", "failed", "unknown")
_ACTUATORS: Final = (
    counter("seen", "actuators_commands", "Commands read, repeats included."),
    *(
        counter(status, "actuators_receipts", "Receipts by what became of the command.", status=status)
        for status in _RECEIPTS
    ),
    counter("repeats", "actuators_repeats", "Commands that were acted on before."),
    counter("again", "actuators_taken_again", "Commands that an earlier process took and did not answer."),
    counter("too_old", "actuators_too_old_commands", "Commands so old that nobody remembers them."),
    counter("replayed", "actuators_replayed_commands", "Commands of a replay: not acted on."),
    gauge("signed", "actuators_signatures_wanted", "1 where a command has to be signed by a trusted key."),
    counter("forged", "actuators_forged_commands", "Commands that no trusted key has signed: not acted on."),
    counter("fenced", "actuators_fenced_commands", "Commands of a worker that has lost the unit: not acted on."),
    counter(
        "undecodable", "actuators_undecodable_records", "Records of commands that can't be read.",
        stage="undecodable",
    ),
    counter(
        "dead_letters_unsent", "actuators_dead_letters_unsent", "Dead letters that the broker did not take.",
        stage="dead_letters",
    ),
    gauge(
        "latency_ms.{percentile}", "actuators_latency", "From the command's record to its receipt.",
        unit="seconds", scale=1e-3,
    ),
    gauge("positions.{partition}", "actuators_position", "Offset of the next record of commands."),
    gauge("fallback.actuators", "actuators_in_fallback", "Actuators that are in their fallback."),
    gauge("fallback.owed", "actuators_fallbacks_owed", "Fallbacks that are due and not written yet."),
    counter(
        "fallback.disk_failures", "actuators_fallback_disk_failures", "Failures of the disk that keeps fallbacks.",
    ),
)  # fmt: skip

_OPCUA_SOURCE = "sources.{source}."
_OPCUA: Final = (
    counter(_OPCUA_SOURCE + "readings", "opcua_readings", "Readings published."),
    counter(_OPCUA_SOURCE + "batches", "opcua_batches", "Records published."),
    counter(_OPCUA_SOURCE + "gaps", "opcua_gaps", "Gaps said: disconnections, overflows, missed notifications."),
    counter(_OPCUA_SOURCE + "overflows", "opcua_overflows", "Values whose queue in the server overflowed."),
    counter(_OPCUA_SOURCE + "repeated", "opcua_repeated_values", "Values that a read had said before."),
    counter(
        _OPCUA_SOURCE + "inside_deadband", "opcua_values_inside_deadband", "Values inside a dead-band."
    ),
    counter(_OPCUA_SOURCE + "confirmed", "opcua_confirmed_values", "Silent points that a read confirmed."),
    counter(_OPCUA_SOURCE + "without_time", "opcua_values_without_time", "Values without a source time."),
    counter(_OPCUA_SOURCE + "standing", "opcua_standing_values", "Values at the start of a subscription."),
    gauge(_OPCUA_SOURCE + "points", "opcua_points", "Points of the source."),
    gauge(_OPCUA_SOURCE + "points_bad", "opcua_points_bad", "Points whose quality is bad."),
    gauge(_OPCUA_SOURCE + "points_stale", "opcua_points_stale", "Points that have said nothing for too long."),
    gauge(_OPCUA_SOURCE + "readings_per_s", "opcua_readings_per_second", "Readings, per second."),
    gauge(_OPCUA_SOURCE + "missing_nodes", "opcua_missing_nodes", "Points that the server does not have."),
    counter(_OPCUA_SOURCE + "reconnects", "opcua_reconnects", "Connections after the first."),
    gauge(_OPCUA_SOURCE + "subscriptions", "opcua_subscriptions", "Subscriptions at the server."),
    gauge(
        _OPCUA_SOURCE + "oldest_data_age_s", "opcua_oldest_data_age", "Age of the oldest value.", unit="seconds"
    ),
    gauge(
        _OPCUA_SOURCE + "clock_skew_ms", "opcua_clock_skew", "The server's clock less ours.",
        unit="seconds", scale=1e-3,
    ),
    state(_OPCUA_SOURCE + "state", "opcua_state", "1 for what the session is: connected or not."),
)  # fmt: skip

_NVML: Final = (
    gauge("gpus", "nvml_gpus", "GPUs of the source."),
    counter("frames", "nvml_frames", "Frames published, bad ones included."),
    counter("bad_frames", "nvml_bad_frames", "Frames that say that NVML does not answer."),
    counter("gaps", "nvml_gaps", "Pauses in sampling that were said as gaps."),
    counter("samples", "nvml_samples", "Samples of all GPUs."),
    counter(
        "samples_skipped", "nvml_skipped_samples", "Samples that were due and not taken, too few for a gap.",
        stage="sampling",
    ),
    counter("xids", "nvml_xids", "XID errors of the driver."),
    counter("energy_resets", "nvml_energy_resets", "Energy counters that went back."),
    counter("gpus_lost", "nvml_gpus_lost", "GPUs that were lost."),
    counter("gpus_returned", "nvml_gpus_returned", "GPUs that came back."),
)  # fmt: skip

_RECORDER: Final = (
    counter("records", "recorder_records", "Records in the recording."),
    counter("topics.{topic}", "recorder_topic_records", "Records in the recording by topic."),
    counter(
        "undrained", "recorder_undrained_records", "Records in the log that a stop left out.", stage="recorder"
    ),
    counter(
        "missed", "recorder_missed_logs", "Logs that ended before, as far as is known, all was recorded.",
        stage="recorder",
    ),
    gauge("disk_full", "recorder_disk_full", "1 while recording stands still for want of room."),
    gauge("room_gb", "recorder_room", "Room that recordings have left.", unit="bytes", scale=1e9),
)  # fmt: skip

_ALERTS: Final = (
    counter("words", "alerts_words", "Words on alarms."),
    counter("repeats", "alerts_repeats", "Words that were here before."),
    counter("too_old", "alerts_too_old_words", "Words older than the outbox remembers."),
    counter("stale_words", "alerts_stale_words", "Words of a worker that has lost the unit: passed over."),
    counter("replayed", "alerts_replayed_words", "Words of a replay: nobody is told."),
    counter(
        "unreadable", "alerts_undecodable_records", "Records of alarms that can't be read.", stage="undecodable"
    ),
    counter("notifications", "alerts_notifications", "Notifications made."),
    counter("folded", "alerts_folded_transitions", "Transitions that a digest counts and does not list."),
    counter("escalated", "alerts_escalations", "Alarms that nobody acknowledged in time."),
    counter(
        "orphaned", "alerts_orphaned_notifications", "Notifications of channels or subscriptions that are gone.",
        stage="notifications",
    ),
    counter("deliveries", "alerts_deliveries", "Notifications that a channel took."),
    counter("failures", "alerts_failed_attempts", "Attempts that failed and are repeated."),
    counter(
        "refused", "alerts_refused_notifications", "Notifications that a channel refused for good.",
        stage="notifications",
    ),
    counter("diverted", "alerts_diverted_notifications", "Notifications that went to a fallback."),
    counter("always_sent", "alerts_always_sent", "Signs of life that were delivered."),
    counter("always_failed", "alerts_always_failed", "Signs of life that were not."),
    counter("always_withheld", "alerts_always_withheld", "Signs of life withheld, as no worker works."),
    gauge("backlog", "alerts_backlog_notifications", "Notifications on their way."),
    gauge("oldest_s", "alerts_oldest_notification_age", "Age of the oldest of them.", unit="seconds"),
    gauge("held", "alerts_held_transitions", "Transitions that wait for their group, digest or hour."),
    gauge("dead_channels", "alerts_dead_channels", "Channels that take nothing."),
    gauge("stream_clients", "alerts_stream_clients", "Clients of the streams."),
    gauge("channels.{channel}.backlog", "alerts_channel_backlog_notifications", "Notifications by channel."),
    state("channels.{channel}.state", "alerts_channel_state", "1 for what the channel is: alive or dead."),
    gauge("positions.{partition}", "alerts_position", "Offset of the next record of alarms."),
)  # fmt: skip

_SCADA: Final = (
    gauge("alarms", "scada_alarms", "Alarms that clients see."),
    counter("transitions", "scada_transitions", "Words on alarms."),
    counter("stale_words", "scada_stale_words", "Words of a worker that has lost the unit: passed over."),
    counter("readings", "scada_readings", "Readings shown."),
    counter("frames", "scada_frames", "Frames shown."),
    counter(
        "unreadable", "scada_undecodable_records", "Records that can't be read.", stage="undecodable"
    ),
    gauge("history_values", "scada_history_values", "Values in the history."),
    gauge("sessions", "scada_sessions", "Sessions of clients."),
    gauge("subscriptions", "scada_subscriptions", "Subscriptions of clients."),
    counter("channels_refused", "scada_channels_refused", "Clients refused for their certificate."),
    counter("notifications", "scada_notifications", "Notifications to clients."),
    counter(
        "notifications_lost", "scada_lost_notifications", "Notifications that a full queue of a client dropped.",
        stage="scada",
    ),
    counter("actions", "scada_actions", "Actions of operators that were carried out."),
    counter("actions_refused", "scada_actions_refused", "Actions that were refused."),
    counter("actions_unanswered", "scada_actions_unanswered", "Actions that nobody answered in time."),
    counter("refreshes", "scada_refreshes", "Refreshes of conditions."),
)  # fmt: skip

_PLANT: Final = (
    counter("steps", "plant_steps", "Steps of the simulated plant."),
    counter("late_steps", "plant_late_steps", "Steps that came late."),
    counter("unshown_steps", "plant_unshown_steps", "Steps that were made up for and not shown."),
    counter("resets", "plant_resets", "Times that the plant gave up catching up with the clock."),
    counter("points_shown", "plant_points_shown", "Values written to the OPC UA servers."),
    counter("writes", "plant_writes", "Writes of clients."),
    gauge("gpu_max_c", "plant_gpu_temperature_max", "The hottest GPU.", unit="celsius"),
    gauge("trays_tripped", "plant_trays_tripped", "Trays that the plant's own protection has tripped."),
    counter("standby_starts", "plant_standby_starts", "Standby pumps that the plant's own logic started."),
)  # fmt: skip

TABLE: Final[Mapping[str, tuple[Metric, ...]]] = MappingProxyType(
    {
        "plant": COMMON + _PLANT,
        "opcua": COMMON + _OPCUA,
        "nvml": COMMON + _NVML,
        "ticker": COMMON + _TICKER,
        "worker": COMMON + _WORKER,
        "actuators": COMMON + _ACTUATORS,
        "scada": COMMON + _SCADA,
        "recorder": COMMON + _RECORDER,
        "alerts": COMMON + _ALERTS,
    }
)
"""By role."""

_COMMON_WORDS: Final = ("http", "broker_lacks", "publishers.{source}.units", "status_unsayable_why")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    # sums of its sources, and words on each
    "opcua": (
        "readings", "gaps", "points", "points_bad", "points_stale", "missing_nodes", "reconnects", "subscriptions",
        "sources.{source}.reason", "sources.{source}.endpoint", "sources.{source}.missing_node_names",
        "sources.{source}.differences", "sources.{source}.server_state",
    ),
    "plant": ("watchdog",),
    "nvml": ("face", "outage", "lost", "not_available"),
    # the sum of its reasons; digests
    "worker": ("dead_letters", "replay", "rules", "access"),
    "actuators": (
        "face", "replay", "fallback.names", "fallback.part", "fallback.since_ns", "fallback.silent",
        "fallback.watchdogs", "refuses",
    ),
    "recorder": ("file",),
    "alerts": ("outbox", "serves", "channels.{channel}.last_error"),
    "scada": ("silent", "endpoint", "pki"),
}  # fmt: skip

WORDS: Final[Mapping[str, tuple[Path, ...]]] = MappingProxyType(
    {
        role: tuple(tuple(path.split(".")) for path in (*_COMMON_WORDS, *_WORDS.get(role, ())))
        for role in TABLE
    }
)
"""By role what its status says to people, or twice: no metric, with all that is below."""


def unknown_paths(role: str, metrics: Mapping[str, Any]) -> Iterator[Path]:
    """What a status has and this table does not know."""
    for path in _leaves(metrics, ()):
        is_metric = any(fits(path, one.path) for one in TABLE[role])
        if not is_metric and not any(begins(path, word) for word in WORDS[role]):
            yield path


def _leaves(found: Any, path: Path) -> Iterator[Path]:
    if not isinstance(found, Mapping):
        yield path
        return
    for key, below in found.items():
        yield from _leaves(below, (*path, str(key)))
