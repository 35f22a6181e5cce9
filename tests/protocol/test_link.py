"""A connection in an event loop keeps the limits that it keeps in a thread: every wait has an end (trials 37, 39)."""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable

import pytest

from protocol.errors import ConnectionLost, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_BEFORE_SESSION
from protocol.link import Link
from protocol.transport import READ_BYTES, Connection
from tests.protocol.sockets import HELLO, LONG, SHORT, pair

LARGE = Frame(FrameType.RECORD, bytes(16 * 1024 * 1024))
"""More than the buffers of a connection hold."""

Talk = Callable[[Link, socket.socket], Awaitable[object]]


def linked(talk: Talk) -> None:
    """Has the one end served by a loop, while the talk goes on at both."""
    with pair() as (connection, theirs):
        asyncio.run(_linked(connection, theirs, talk))


async def _linked(connection: Connection, theirs: socket.socket, talk: Talk) -> None:
    link = Link(connection, asyncio.get_running_loop())
    try:
        async with asyncio.timeout(2 * LONG):
            await talk(link, theirs)
    finally:
        link.close()


async def receive(link: Link, idle_seconds: float = LONG, frame_seconds: float = LONG) -> Frame | None:
    return await link.receive(idle_seconds=idle_seconds, frame_seconds=frame_seconds)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop go on until something is so."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.002)


def test_frames_go_there_and_back() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        assert link.peer == "them"
        theirs.sendall(HELLO.encode() * 2)
        assert await receive(link) == HELLO
        assert link.has_input()
        assert await receive(link) == HELLO
        assert not link.has_input()
        await link.send(HELLO, HELLO, timeout_seconds=LONG)
        assert await asyncio.to_thread(theirs.recv, 100) == HELLO.encode() * 2

    linked(talk)


# --- deadlines ------------------------------------------------------------------------------------------------------


def test_silence_ends_at_the_idle_deadline() -> None:
    async def talk(link: Link, _: socket.socket) -> None:
        with pytest.raises(ConnectionLost, match="said nothing"):
            await receive(link, idle_seconds=SHORT)

    linked(talk)


@pytest.mark.parametrize("begun", [1, 6, 10])
def test_a_frame_that_stops_ends_at_the_frame_deadline(begun: int) -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        theirs.sendall(HELLO.encode()[:begun])
        with pytest.raises(ConnectionLost, match="did not finish"):
            await receive(link, frame_seconds=SHORT)

    linked(talk)


def test_trial_37_a_byte_now_and_then_does_not_move_the_deadline() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        async def trickle() -> None:
            for byte in Frame(FrameType.RECORD, bytes(10_000)).encode():
                theirs.sendall(bytes((byte,)))
                await asyncio.sleep(SHORT / 10)

        trickling = asyncio.create_task(trickle())
        with pytest.raises(ConnectionLost, match="did not finish"):
            async with asyncio.timeout(LONG / 2):
                await receive(link, frame_seconds=4 * SHORT)
        trickling.cancel()

    linked(talk)


def test_the_rest_of_a_frame_begun_behind_another_has_the_frame_deadline() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        theirs.sendall(HELLO.encode() + HELLO.encode()[:3])
        assert await receive(link) == HELLO
        with pytest.raises(ConnectionLost, match="did not finish"):
            await receive(link, frame_seconds=SHORT)

    linked(talk)


# --- readers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [0, 300_000])
def test_trial_39_a_peer_that_does_not_read_or_stops_reading_is_given_up(taken: int) -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        sending = asyncio.create_task(link.send(LARGE, timeout_seconds=SHORT if not taken else 1.0))
        if taken:
            await asyncio.to_thread(theirs.recv, taken, socket.MSG_WAITALL)
        with pytest.raises(ConnectionLost, match="does not read"):
            async with asyncio.timeout(LONG / 2):
                await sending

    linked(talk)


def test_what_a_peer_reads_slowly_arrives_whole() -> None:
    """Written in many parts, while the other direction is read."""

    async def talk(link: Link, theirs: socket.socket) -> None:
        content = bytes(range(256)) * 32 * 1024
        sending = asyncio.create_task(link.send(Frame(FrameType.RECORD, content), timeout_seconds=LONG))
        receiving = asyncio.create_task(receive(link))
        theirs.sendall(HELLO.encode())
        assert await receiving == HELLO
        assert not sending.done()
        whole = bytearray()
        while len(whole) < len(content) + 6:
            whole += await asyncio.to_thread(theirs.recv, 1_000_000)
        await sending
        assert whole == Frame(FrameType.RECORD, content).encode()

    linked(talk)


def test_what_nobody_waits_for_stays_in_the_kernel_and_is_not_lost() -> None:
    """Trial 39: one that sends on without waiting for answers fills no memory of ours, nor keeps the loop busy."""
    frame = Frame(FrameType.RECORD, bytes(1000))

    async def talk(link: Link, theirs: socket.socket) -> None:
        theirs.setblocking(False)
        flood = frame.encode() * 1000
        theirs.sendall(frame.encode())
        assert await receive(link) == frame
        sent, refused = 0, 0
        while refused < 20:  # nothing more is taken, however long one tries
            try:
                sent += theirs.send(flood[sent % len(frame.encode()) :])
                refused = 0
            except BlockingIOError:
                refused += 1
            await asyncio.sleep(0.002)
        assert link._reader.pending_bytes <= READ_BYTES
        assert not link._watched
        theirs.setblocking(True)
        rest = -sent % len(frame.encode())
        finishing = threading.Thread(target=theirs.sendall, args=(frame.encode()[len(frame.encode()) - rest :],))
        finishing.start()
        for _ in range((sent + rest) // len(frame.encode())):
            assert await receive(link) == frame
        finishing.join()
        assert not link.has_input()

    linked(talk)


def test_frames_above_the_limit_are_refused_until_it_is_raised() -> None:
    large = Frame(FrameType.RECORD, bytes(FRAME_BYTES_BEFORE_SESSION + 1))

    async def refused(link: Link, theirs: socket.socket) -> None:
        theirs.sendall(large.encode()[:6])
        with pytest.raises(RemoteProtocolError, match="limit"):
            await receive(link)

    async def taken(link: Link, theirs: socket.socket) -> None:
        link._connection.raise_frame_limit(FRAME_BYTES_BEFORE_SESSION + 1)
        sending = asyncio.create_task(asyncio.to_thread(theirs.sendall, large.encode()))
        assert await receive(link) == large
        await sending

    linked(refused)
    linked(taken)


# --- ends -----------------------------------------------------------------------------------------------------------


def test_who_closes_one_direction_gets_its_answers_in_the_other() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        theirs.sendall(HELLO.encode())
        theirs.shutdown(socket.SHUT_WR)
        assert await receive(link) == HELLO
        await link.send(HELLO, timeout_seconds=LONG)
        assert await receive(link) is None
        assert await receive(link) is None
        assert theirs.recv(100) == HELLO.encode()

    linked(talk)


def test_an_end_within_a_frame_is_a_loss() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        theirs.sendall(HELLO.encode()[:-1])
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionLost, match="in the middle"):
            await receive(link)

    linked(talk)


def test_a_reset_is_a_loss_also_while_nobody_waits() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        await until(lambda: not link._watched)
        with pytest.raises(ConnectionLost, match="broke"):
            await receive(link)
        with pytest.raises(ConnectionLost, match="broke"):
            await link.send(HELLO, timeout_seconds=LONG)

    linked(talk)


def test_another_thread_may_wake_one_that_waits_for_input() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        waiting = asyncio.create_task(receive(link))
        await until(lambda: link._waiting is not None)
        await asyncio.to_thread(link._connection.interrupt)
        assert await waiting is None
        await link.send(HELLO, timeout_seconds=LONG)
        assert theirs.recv(100) == HELLO.encode()

    linked(talk)


def test_another_thread_may_break_off_one_that_sends() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        sending = asyncio.create_task(link.send(LARGE, timeout_seconds=LONG))
        await asyncio.to_thread(theirs.recv, 1)
        await asyncio.to_thread(link._connection.break_off)
        with pytest.raises(ConnectionLost, match="broke"):
            async with asyncio.timeout(LONG / 2):
                await sending

    linked(talk)


def test_a_wait_that_is_cut_short_loses_no_frame() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        for _ in range(3):
            waiting = asyncio.create_task(receive(link))
            await until(lambda: link._waiting is not None)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        theirs.sendall(HELLO.encode())
        assert await receive(link) == HELLO

    linked(talk)


def test_a_descriptor_that_is_given_out_again_belongs_to_the_new_connection_only() -> None:
    async def talk(link: Link, theirs: socket.socket) -> None:
        descriptor = link._socket.fileno()
        with pair() as (connection, others):
            link.close()
            os.dup2(connection._socket.fileno(), descriptor)
            with socket.socket(fileno=descriptor) as same:
                again = Link(Connection(same, peer="another"), asyncio.get_running_loop())
                assert again._socket.fileno() == descriptor
                others.sendall(HELLO.encode())
                assert await receive(again) == HELLO
                link.close()
                others.sendall(HELLO.encode())
                assert await receive(again) == HELLO
                again.close()

    linked(talk)
