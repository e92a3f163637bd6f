"""A D-Bus of a test's own, with services that answer what the test says."""

from __future__ import annotations

import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jeepney import HeaderFields, MessageType, message_bus, new_error, new_method_return
from jeepney.io.blocking import open_dbus_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
"""
NO_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"


@dataclass
class FakeService:
    """A service on the bus. ``methods`` maps an object, interface and member to the signature and
    values of the answer; ``properties`` an object and interface to names, signatures and values.

    ``calls`` has what was called: the member and its arguments.
    """

    name: str
    methods: dict[tuple[str, str, str], tuple[str, tuple[Any, ...]]] = field(default_factory=dict)
    properties: dict[tuple[str, str], dict[str, tuple[str, Any]]] = field(default_factory=dict)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def answer(self, message: Any) -> Any:
        fields = message.header.fields
        path, member = fields[HeaderFields.path], fields[HeaderFields.member]
        interface = fields.get(HeaderFields.interface, "")
        self.calls.append((member, message.body))
        found = self.methods.get((path, interface, member))
        if found is not None:
            return new_method_return(message, *found)
        if interface == "org.freedesktop.DBus.Properties":
            known = self.properties.get((path, message.body[0]), {})
            if member == "GetAll" and known:
                return new_method_return(message, "a{sv}", (known,))
            if member == "Get" and message.body[1] in known:
                return new_method_return(message, "v", (known[message.body[1]],))
        return new_error(message, NO_OBJECT, "s", (f"no {member} of {path}",))


@contextmanager
def private_bus(folder: Path, *services: FakeService) -> Iterator[str]:
    """The address of a bus with these services on it."""
    socket, configuration = folder / "bus", folder / "bus.conf"
    configuration.write_text(CONFIGURATION.format(socket=socket))
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with ExitStack() as stack:
        stack.callback(daemon.wait)
        stack.callback(daemon.terminate)
        assert daemon.stdout is not None
        address = daemon.stdout.readline().strip()
        stack.callback(daemon.stdout.close)
        for service in services:
            stack.enter_context(_serving(service, address))
        yield address


@contextmanager
def _serving(service: FakeService, address: str) -> Iterator[None]:
    connection = open_dbus_connection(bus=address)
    connection.send_and_get_reply(message_bus.RequestName(service.name))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                message = connection.receive(timeout=0.05)
            except TimeoutError:
                continue
            if message.header.message_type is MessageType.method_call:
                connection.send(service.answer(message))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        connection.close()
