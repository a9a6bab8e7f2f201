"""Where this host listens, as rows: against a naive model, and by examples."""

from hypothesis import given
from hypothesis import strategies as st

from safeconnect import PortRange, PortSet
from safeconnect._host.tcp_rows import Listener, Owner, TcpSocket, listeners

EPHEMERAL = PortRange(40000, 40003)
BACKLOGS = {1: 10, 2: 20, 3: 30}  # by inode
RESERVED = PortSet([40002, 40004])
HOSTS = ("127.0.0.1", "0.0.0.0", "::", "::1", "10.0.0.10", "10.0.0.9")


def listening(host, port, queue=0, inode=1):
    return TcpSocket((host, port), None, "LISTEN", ipv6=":" in host, receive_queue=queue, inode=inode)


def rows(sockets, owners=None, exposure=lambda host, port: "outside-range"):
    return listeners(
        sockets, owners=owners or {}, backlogs=BACKLOGS, ephemeral=EPHEMERAL, reserved=RESERVED, exposure=exposure
    )


SOCKETS = st.lists(
    st.builds(
        TcpSocket,
        local=st.tuples(st.sampled_from(HOSTS), st.integers(39999, 40004)),
        peer=st.none(),
        state=st.sampled_from(["LISTEN", "LISTEN", "ESTABLISHED", "TIME_WAIT"]),
        ipv6=st.booleans(),
        receive_queue=st.none() | st.integers(0, 3),
        inode=st.integers(0, 5),
    )
)


@given(SOCKETS, st.dictionaries(st.integers(0, 5), st.lists(st.integers(1, 4).map(lambda pid: Owner(pid, f"p{pid}")))))
def test_rows_against_a_naive_model(sockets, owners_by_inode):
    owners = {each: tuple(owners_by_inode[each.inode]) for each in sockets if each.inode in owners_by_inode}
    asked = []

    def exposure(host, port):
        asked.append((host, port))
        return f"{host} {port}"

    found = rows(sockets, owners, exposure)
    assert {(row.host, row.port) for row in found} == {each.local for each in sockets if each.state == "LISTEN"}
    assert sorted(asked) == sorted((row.host, row.port) for row in found), "each place is asked about once"
    assert [row.port for row in found] == sorted(row.port for row in found)
    for row in found:
        here = [each for each in sockets if each.state == "LISTEN" and each.local == (row.host, row.port)]
        told = [each.receive_queue for each in here if each.receive_queue is not None]
        pids = {owner.pid for each in here for owner in owners.get(each, ())}
        assert row.sockets == len(here)
        assert row.queue == (sum(told) if told else None)
        limits = [BACKLOGS[each.inode] for each in here if each.inode in BACKLOGS]
        assert row.backlog == (sum(limits) if limits else None)
        assert row.owners == tuple(Owner(pid, f"p{pid}") for pid in sorted(pids))
        assert row.ephemeral == (40000 <= row.port <= 40003)
        assert row.reserved == (row.port in (40002, 40004))
        assert row.exposure == f"{row.host} {row.port}"


def test_addresses_of_one_port_are_in_their_own_order():
    found = rows([listening(host, 80) for host in ("::1", "10.0.0.10", "10.0.0.9", "::", "0.0.0.0")])
    assert [row.host for row in found] == ["0.0.0.0", "10.0.0.9", "10.0.0.10", "::", "::1"]


def test_workers_that_share_a_port_are_one_row():
    workers = [listening("127.0.0.1", 80, queue=2, inode=1), listening("127.0.0.1", 80, queue=3, inode=2)]
    master, first, second = Owner(1, "master"), Owner(2, "worker"), Owner(3, None)
    owners = {workers[0]: (first, master), workers[1]: (master, second)}
    assert rows(workers, owners) == [
        Listener(
            "127.0.0.1",
            80,
            (master, first, second),
            sockets=2,
            queue=5,
            backlog=30,
            ephemeral=False,
            reserved=False,
            exposure="outside-range",
        )
    ]
