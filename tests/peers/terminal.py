"""A person at a terminal, and another user of the same machine: the question before a destructive call, and the socket."""

import os
import pty
import select
import socket
import subprocess
import sys
import time

from harness import BIN, Report, Server, check, same

NOBODY = 65534


def at_terminal(server, says, *args):
    """Runs a subcommand on a terminal of its own and types `says` once it asks: (exit status, what was shown)."""
    ours, theirs = pty.openpty()
    command = [BIN, *args, "--data", server.data]
    process = subprocess.Popen(command, env=server.env() | {"TERM": "dumb"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown, asked, deadline = "", False, time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                chunk = os.read(ours, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk.decode(errors="replace")
            if not asked and "[y/N] " in shown:
                asked = True
                os.write(ours, says)
        return process.wait(10), shown
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()


def hosts(server):
    return server.cli("call", "inventory_list_hosts", "--json-out")


def question(server):
    server.cli("call", "inventory_put_host", "name=nas")
    remove = ("call", "inventory_remove_host", "name=nas")
    for says in (b"n\n", b"\n", b"yes please\n", b"\x04"):
        status, shown = at_terminal(server, says, *remove)
        check("[y/N]" in shown and "nas" in shown, f"no plan and question were shown: {shown!r}")
        same(status, 77, f"exit status after {says!r} ({shown!r})")
        check("nothing was done" in shown, f"{says!r}: {shown!r}")
        check("nas" in hosts(server), f"the host is gone after {says!r}")
    same(server.cli("approve", "--json-out").count('"approval"'), 0, "approvals that are still open after a no")
    status, shown = at_terminal(server, b"y\n", *remove)
    same(status, 0, f"exit status after yes ({shown!r})")
    check("nas" not in hosts(server), "the host is still there after yes")


TALK = """
import os, socket, sys
request = sys.argv[2].replace("~", chr(13) + chr(10)).encode("ascii")
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])
try:
    s.sendall(request)
    print(repr(s.recv(65536)))
except (ConnectionResetError, BrokenPipeError):
    print(repr(b""))
"""


def other_user(server):
    same(os.geteuid(), 0, "the user that runs this test, which becomes another one")
    sockets = sorted(path for path in server.data.iterdir() if path.suffix == ".sock")
    check(sockets, "the data folder holds no socket")
    request = "GET /api/system/whoami HTTP/1.1~Host: localhost~Connection: close~~"
    for path in sockets:
        same(path.stat().st_mode & 0o777, 0o600, f"mode of {path.name}")
        run = [sys.executable, "-c", TALK.format(uid=NOBODY), str(path), request]
        kept_out = subprocess.run(run, capture_output=True, text=True, timeout=20)
        check("PermissionError" in kept_out.stderr, f"another user reached {path.name}: {kept_out}")
    # Modes may be changed by hand; the check of the user remains.
    for folder in (server.dir, server.data):
        folder.chmod(0o755)
    for path in sockets:
        path.chmod(0o666)
        run = [sys.executable, "-c", TALK.format(uid=NOBODY), str(path), request]
        heard = subprocess.run(run, capture_output=True, text=True, timeout=20)
        same(heard.stdout.strip(), repr(b""), f"what another user heard at {path.name} ({heard.stderr[-300:]})")
    check("another user on the unix socket" in server.log_text(), "the log says nothing of the other user")
    owner = socket.socket(socket.AF_UNIX)
    owner.settimeout(5)
    owner.connect(str(server.data / "hearth.sock"))
    owner.sendall(request.replace("~", "\r\n").encode())
    check(owner.recv(100).startswith(b"HTTP/1.1 200"), "the owner is not answered any more")


def main():
    report = Report()
    with Server() as server:
        report.run("the question before a destructive call", question, server)
        report.run("another user at the unix socket", other_user, server)
    report.exit()


main()
