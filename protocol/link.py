"""An event loop may serve a connection: it then waits under the same limits, and no thread waits for it alone.

Apart from transport.py because the customer's program does without it, and importing asyncio takes time.
"""

import asyncio

from protocol.frames import Frame
from protocol.transport import READ_BYTES, Connection, broken, cut, silent, unread


class Link:
    """A connection that an event loop serves from now on: :meth:`send` and :meth:`receive` wait without a thread.

    They keep the same limits as the connection's own, which must not be used any more. Made and used in the loop.
    """

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._socket = connection._socket
        self._reader = connection._reader
        self._loop = loop
        self._waiting: asyncio.Future[bytes] | None = None
        self.peer = connection.peer
        self._socket.setblocking(False)
        self._watched = True
        loop.add_reader(self._socket, self._readable)

    async def send(self, *frames: Frame, timeout_seconds: float) -> None:
        """Send frames in one piece; ConnectionLost if the other party does not take them in time."""
        data = memoryview(b"".join([frame.encode() for frame in frames]))
        try:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                async with asyncio.timeout(timeout_seconds):
                    await self._loop.sock_sendall(self._socket, data[sent:])
        except TimeoutError:
            raise unread(self.peer) from None
        except OSError as error:
            raise broken(self.peer, error) from None

    async def receive(self, *, idle_seconds: float, frame_seconds: float) -> Frame | None:
        """The next frame; None if the other party closed between frames. As :meth:`Connection.receive`."""
        started = self._reader.pending_bytes > 0
        deadline = self._loop.time() + (frame_seconds if started else idle_seconds)
        while (frame := self._reader.next_frame()) is None:
            data = await self._read(deadline, started)
            if not data:
                if started:
                    raise cut(self.peer)
                return None
            if not started:
                started, deadline = True, self._loop.time() + frame_seconds
            self._reader.receive_data(data)
        return frame

    def has_input(self) -> bool:
        """Whether a further frame, or its beginning, was read together with the last; :meth:`receive` gives it."""
        return self._reader.pending_bytes > 0

    def close(self) -> None:
        """End the connection; harmless when repeated."""
        if self._watched:
            self._watch(on=False)
        self._connection.close()

    async def _read(self, deadline: float, started: bool) -> bytes:
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting = waiting
        if not self._watched:
            self._watch(on=True)
        alarm = self._loop.call_at(deadline, _alarm, waiting)
        try:
            return await waiting
        except TimeoutError:
            raise silent(self.peer, started) from None
        except OSError as error:
            raise broken(self.peer, error) from None
        finally:
            alarm.cancel()
            self._waiting = None

    def _readable(self) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            # Whoever sends on without waiting for answers waits in the kernel's buffers, not in our memory.
            self._watch(on=False)
            return
        try:
            waiting.set_result(self._socket.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError as error:
            waiting.set_exception(error)

    def _watch(self, *, on: bool) -> None:
        self._watched = on
        if on:
            self._loop.add_reader(self._socket, self._readable)
        else:
            self._loop.remove_reader(self._socket)


def _alarm(waiting: "asyncio.Future[bytes]") -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError())
