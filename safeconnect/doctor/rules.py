"""All rules, and what they say of a snapshot. Pure: no clock, no socket, nothing is read."""

from __future__ import annotations

from . import host_rules, server_rules, source_port_rules, target_rules
from .findings import SEVERITIES, Finding, Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .facts import Snapshot

# What is asked about first, then what connects depend on, then what servers do. Each severity keeps this order.
RULES: tuple[Rule, ...] = (
    target_rules.unknown,
    target_rules.lookup_failed,
    target_rules.held,
    target_rules.in_time_wait,
    target_rules.refused,
    target_rules.silent,
    target_rules.unreachable,
    target_rules.failed,
    target_rules.slow,
    target_rules.exposed,
    target_rules.answers,
    source_port_rules.exhausted,
    source_port_rules.filling,
    source_port_rules.tiny,
    source_port_rules.small,
    source_port_rules.covers_servers,
    source_port_rules.listener_in_range,
    host_rules.tracking,
    host_rules.descriptors_exhausted,
    host_rules.descriptors,
    host_rules.localhost,
    host_rules.ipv6_loopback,
    host_rules.lookup_slow,
    host_rules.aaaa_slow,
    server_rules.queue_full,
    server_rules.overflows,
    server_rules.abort_on_overflow,
    server_rules.somaxconn,
    server_rules.syn_backlog,
    server_rules.syncookies_off,
    server_rules.close_wait,
    server_rules.time_wait,
    host_rules.keepalive_default,
    host_rules.data_timeout,
    host_rules.connect_timeout,
    source_port_rules.parity,
    source_port_rules.tw_reuse_off,
    source_port_rules.no_option,
    host_rules.user_namespaces_off,
)


def diagnose(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What all rules find in a snapshot, the worst first.

    :param snapshot: of this machine (`gather`), or made by hand.
    """
    found = [finding for rule in RULES for finding in rule(snapshot)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
