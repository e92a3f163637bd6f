"""A program that behaves like QEMU with a booted Debian, without a machine.

It obeys the options of vmtest's command line: it writes to the console, answers on the control
socket, and runs the true guest shell of vmtest behind the channel. Its memory, which it saves and
reads back, is a line of text. FAKE_QEMU chooses how it behaves. FAKE_SERVE is the script of the
guest shell: importing vmtest for it would cost more than everything else here.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEMCTL = """#!/bin/bash
case $1 in
reboot) echo guest-reset >"$FAKE_EVENTS"; sleep 1 ;;
poweroff) echo guest-shutdown >"$FAKE_EVENTS"; sleep 1 ;;
soft-reboot) echo soft >"$FAKE_EVENTS"; sleep 1 ;;
crash) echo guest-panic >"$FAKE_EVENTS"; sleep 1 ;;
is-system-running) echo "${FAKE_STATE:-running}" ;;
show) case ${!#} in up.service) echo active ;; broken.service) echo failed ;; *) echo inactive ;; esac; echo ;;
esac
"""  # noqa: E501
SERVE = os.environ["FAKE_SERVE"]
DATE = """#!/bin/bash
case $1 in
--set=@*) echo "${1#--set=@}" >"$RUNTIME_DIRECTORY/clock" ;;
*) exec /bin/date "$@" ;;
esac
"""
MEMORY = b"all that the machine knows\n"
PICTURE = b"P6\n2 2\n255\n" + bytes(range(12))


def word(pattern: str) -> str:
    found = re.search(pattern, "\n".join(sys.argv))
    return found[1] if found else ""


class Guest:
    """The machine's inside: vmtest's own shell on one end of a socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = folder / "events"
        if not self.events.exists():
            os.mkfifo(self.events)
            for name, script in (("systemctl", SYSTEMCTL), ("date", DATE)):
                (folder / name).write_text(script)
                (folder / name).chmod(0o755)
        self.socket, inside = socket.socketpair()
        environment = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "FAKE_EVENTS": str(self.events),
            "FAKE_PID": str(os.getpid()),
            "RUNTIME_DIRECTORY": str(folder),
        }
        number = inside.fileno()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "bash", "-c", f"exec 3<&{number}\n{SERVE}\nserve"],
            env=environment,
            pass_fds=(number,),
            process_group=0,
        )
        inside.close()

    def end(self) -> None:
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self.socket.close()


class Control:
    """The control socket's other end."""

    def __init__(self, number: int) -> None:
        self.runs = True
        self.migration: dict[str, object] = {}
        self.socket = socket.socket(fileno=number)
        self.lines = self.socket.makefile("rb")
        self.say({"QMP": {"version": {}, "capabilities": []}})

    def say(self, message: dict[str, object]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\r\n")

    def tell_end(self, reason: str) -> None:
        self.say({"event": "SHUTDOWN", "data": {"guest": True, "reason": reason}})

    def answer(self) -> bool:
        line = self.lines.readline()
        if not line:
            return False
        request = json.loads(line)
        value: dict[str, object] = {}
        match request["execute"]:
            case "stop" | "cont" as verb:
                self.runs = verb == "cont"
            case "migrate-set-parameters":
                pass
            case "migrate":
                self.migration = transfer(request["arguments"]["uri"], MEMORY, b"")
            case "migrate-incoming":
                self.migration = transfer(request["arguments"]["uri"], b"", MEMORY)
            case "query-migrate":
                value = self.migration
            case "screendump":
                Path(request["arguments"]["filename"]).write_bytes(PICTURE)
            case "send-key":
                codes = [key["data"] for key in request["arguments"]["keys"]]
                with Path(word(r"path=(.*console\.log)")).open("a") as console:
                    console.write(f"key {'+'.join(codes)}\r\n")
            case "qmp_capabilities":
                self.say({"event": "RESUME"})
            case command:
                self.say({"error": {"class": "CommandNotFound", "desc": f"no {command}"}})
                return True
        self.say({"return": value})
        return True


def transfer(uri: str, given: bytes, expected: bytes) -> dict[str, object]:
    """Through the program that ``uri`` names; the answer to query-migrate."""
    kind, _, command = uri.partition(":")
    assert kind == "exec"
    done = subprocess.run(["sh", "-c", command], input=given, stdout=subprocess.PIPE, check=False)
    if done.returncode == 0 and done.stdout == expected:
        return {"status": "completed"}
    return {"status": "failed", "error-desc": "load of migration failed"}


def serve(control: Control, channel: socket.socket, folder: Path, *, incoming: bool) -> None:
    guest = Guest(folder)
    if incoming:  # the shell said hello before it was saved
        guest.socket.recv(100)
    events = os.open(guest.events, os.O_RDWR)
    try:
        while True:
            watched = [control.socket.fileno(), channel.fileno(), guest.socket.fileno(), events]
            ready = select.select(watched if control.runs else watched[:1], [], [])[0]
            if control.socket.fileno() in ready and not control.answer():
                return
            for here, there in ((channel, guest.socket), (guest.socket, channel)):
                if here.fileno() in ready:
                    there.sendall(here.recv(1 << 16))
            if events in ready:
                reason = os.read(events, 100).decode().split()[-1]
                guest.end()
                if reason != "soft":
                    control.tell_end(reason)
                    return
                guest = Guest(folder)
    finally:
        if guest.process.poll() is None:
            guest.end()


def main() -> int:
    mood = os.environ.get("FAKE_QEMU", "")
    if mood == "refuses":
        sys.stderr.write("fake-qemu: Could not open the disk\n")
        return 1
    incoming = "-incoming" in sys.argv
    console = Path(word(r"path=(.*console\.log)"))
    if not incoming:
        with console.open("a") as log:
            log.write("\x1b[2J\x1b[1;32mbooting\x1b[0m\r\nFake GNU/Linux\r\n\r\nfake login: ")
    control = Control(int(word(r"id=monitor,fd=(\d+)")))
    channel = socket.socket(fileno=int(word(r"id=channel,fd=(\d+)")))
    if mood == "hangs":
        while control.answer():
            pass
        return 0
    if mood == "nonsense":
        channel.sendall(b"what?\n")
    if mood == "panics":
        control.answer()
        control.tell_end("guest-reset")
        return 0
    folder = Path(tempfile.mkdtemp())
    try:
        control.runs = not incoming
        serve(control, channel, folder, incoming=incoming)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
