"""Starts a real `hearth serve` on the loopback interface with data of its own, fills it, and ends it by process id.

    harness.py run [--config TOML] [--conformance] [--empty] -- COMMAND...

runs COMMAND (a script of this folder for Node, or any program) beside such a server and tells it through
the environment where the server is:
HEARTH_URL, HEARTH_DATA, HEARTH_BIN, TOKEN_MONITOR, TOKEN_MANAGE and HEARTH_CONTROL, an address that
takes `POST /restart` and `POST /crash`.
"""

import contextlib
import http.client
import http.server
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "target" / "peers"
NODE = PEERS / "node" / "node_modules" / "node" / "bin" / "node"
CLIENTS = PEERS / "node-clients"
BIN = Path(os.environ.get("HEARTH_BIN", ROOT / "target" / "debug" / "hearth")).resolve()

MODERN = "2026-07-28"
LEGACY = "2025-06-18"

# Peers say in seconds what an agent says in an hour; the limits have tests of their own.
LIMITS = """
[limits]
reads_per_second = 10000
writes_per_second = 10000
destructive_per_hour = 10000
burst_seconds = 10
"""


class Failed(AssertionError):
    """A peer did not see what it has to see."""


def _explain(kind, error, trace):
    """A failed check outside of a scenario is a sentence, not a traceback."""
    if issubclass(kind, Failed):
        print(f"  FAIL  {error}", flush=True)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _explain
# A run that is told to stop still ends its servers.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def check(holds, message):
    if not holds:
        raise Failed(message)


def same(got, want, what):
    check(got == want, f"{what}: expected {want!r}, got {got!r}")


def tag():
    """A word that no other conversation uses, so that searches find this one's text only."""
    return "".join(random.choice("bcdfghklmnprstvz") for _ in range(9))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One appliance: configuration, data, root key and log in a temporary folder; every restart keeps the port."""

    def __init__(self, config="", conformance=False):
        self.dir = Path(tempfile.mkdtemp(prefix="hearth-peer-"))
        self.data = self.dir / "data"
        self.log = self.dir / "hearth.log"
        (self.dir / "home").mkdir()
        (self.dir / "hearth.toml").write_text(LIMITS + config)
        self.conformance = conformance
        self.port = free_port()
        self.process = None
        self.stopped_in = None

    # --- life ---

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def __exit__(self, kind, error, trace):
        with contextlib.suppress(Failed):
            self.end()
        if kind is not None:
            self.show_log()
        shutil.rmtree(self.dir, ignore_errors=True)

    def env(self):
        """What hearth and the clients see: nothing of the caller's own configuration."""
        env = {key: os.environ[key] for key in ("PATH", "LANG", "RUST_LOG", "RUST_BACKTRACE") if key in os.environ}
        env["HOME"] = str(self.dir / "home")
        return env

    def start(self):
        check(BIN.exists(), f"there is no {BIN}; build it first or set HEARTH_BIN")
        env = self.env()
        if self.conformance:
            env["HEARTH_CONFORMANCE"] = "1"
        args = [BIN, "serve", "--config", self.dir / "hearth.toml", "--data", self.data,
                "--listen", f"127.0.0.1:{self.port}", "--root-key", self.dir / "key" / "root.key"]
        (self.dir / "key").mkdir(mode=0o700, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        ready = threading.Event()
        threading.Thread(target=self._read_stdout, args=(self.process.stdout, ready), daemon=True).start()
        deadline = time.monotonic() + 30
        while not ready.wait(0.05):
            code = self.process.poll()
            check(code is None, f"hearth serve ended with {code}: {self.log_text()[-2000:]}")
            check(time.monotonic() < deadline, f"hearth serve did not become ready: {self.log_text()[-2000:]}")
        return self

    def _read_stdout(self, stdout, ready):
        for line in stdout:
            if line.startswith(f"listening on http://127.0.0.1:{self.port}"):
                ready.set()

    def end(self, how=signal.SIGTERM, within=20):
        """Ends the server and says how many seconds it took."""
        if self.process is None:
            return 0.0
        begun = time.monotonic()
        self.process.send_signal(how)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"hearth serve did not end within {within} s of {how.name}") from None
        self.process = None
        self.stopped_in = time.monotonic() - begun
        return self.stopped_in

    def restart(self, how=signal.SIGTERM):
        self.end(how)
        self.start()

    # --- talking to it ---

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def show_log(self):
        tail = self.log_text().splitlines()[-25:]
        if tail:
            print("    the server's log ends with:\n      " + "\n      ".join(tail), flush=True)

    def cli(self, *args):
        """Runs a subcommand against the data folder and returns what it printed."""
        done = subprocess.run([BIN, *args, "--data", self.data], env=self.env(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30)
        check(done.returncode == 0, f"hearth {' '.join(map(str, args))} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def token(self, name, level, *more):
        return self.cli("token", "create", "--name", name, "--level", str(level), *more)

    def approve(self, approval_id):
        self.cli("approve", approval_id)

    def stdio(self):
        """The command and the environment of the stdio door."""
        return str(BIN), ["mcp", "--data", str(self.data)], self.env()

    def call(self, token, name, arguments=None):
        """One modern tools/call without any client library: (is_error, structured content)."""
        result = Raw(self, token).modern("tools/call", {"name": name, "arguments": arguments or {}})
        check("result" in result, f"{name}: {result}")
        return result["result"].get("isError", False), result["result"].get("structuredContent")

    def must(self, token, name, arguments=None):
        failed, body = self.call(token, name, arguments)
        check(not failed, f"{name} {arguments}: {body}")
        return body


class World:
    """A server with two callers and an inventory that every conversation looks things up in."""

    def __init__(self, config="", conformance=False):
        self.server = Server(config, conformance)

    def __enter__(self):
        self.server.__enter__()
        try:
            self.monitor = self.server.token("watcher", 1)
            self.manage = self.server.token("keeper", 4)
            self.fill()
        except BaseException:
            self.server.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *error):
        return self.server.__exit__(*error)

    def fill(self):
        def put(tool, /, **arguments):
            return self.server.must(self.manage, tool, arguments)

        put("inventory_put_network", name="lab", cidr="10.77.0.0/24", gateway="10.77.0.1", dns=["10.77.0.1"],
            dhcp_from="10.77.0.100", dhcp_to="10.77.0.199")
        put("inventory_put_host", name="nas", kind="nas", addresses=["10.77.0.10"], os="Debian 12",
            notes="the quiet box under the stairs", tags=["storage"])
        put("inventory_put_vm", name="plex", host="nas", kind="vm", status="running", addresses=["10.77.0.11"])
        put("inventory_put_service", name="gallery", kind="web", runs_on="host:nas", url="http://127.0.0.1:9/")
        put("inventory_allocate_ip", network="lab", address="10.77.0.10", assigned_to="host:nas", kind="static")


class Raw:
    """JSON-RPC over /mcp by hand, where a client library would hide what is on the wire."""

    def __init__(self, server, token=None):
        self.server, self.token, self.next_id = server, token, 0

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)

    def headers(self, more=()):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers | dict(more)

    def id(self):
        self.next_id += 1
        return self.next_id

    def modern_request(self, method, params, capabilities=None, progress=None):
        meta = {"io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": capabilities or {}}
        if progress:
            meta["progressToken"] = progress
        body = {"jsonrpc": "2.0", "id": self.id(), "method": method, "params": {**params, "_meta": meta}}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
        return body, self.headers(headers)

    def modern(self, method, params):
        body, headers = self.modern_request(method, params)
        connection = self.connection()
        with contextlib.closing(connection):
            connection.request("POST", "/mcp", json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        check(response.status == 200, f"{method}: HTTP {response.status} {text[:300]}")
        return answer(response, text, body["id"])


def answer(response, text, request_id):
    """The JSON-RPC answer in a JSON or an event-stream body."""
    if response.headers.get_content_type() == "application/json":
        return json.loads(text)
    for line in text.splitlines():
        if line.startswith("data:") and line[5:].strip():
            message = json.loads(line[5:])
            if message.get("id") == request_id and "method" not in message:
                return message
    raise Failed(f"no answer to request {request_id} in {text[:300]!r}")


class Report:
    """Runs scenarios one after the other; a failed one does not hide the next."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def _done(self, label, begun, error):
        seconds = f"{time.monotonic() - begun:.1f} s"
        if error is None:
            self.passed += 1
            print(f"  ok    {label} ({seconds})", flush=True)
        else:
            self.failed.append(label)
            print(f"  FAIL  {label} ({seconds}): {describe(error)}", flush=True)

    def run(self, label, scenario, *args):
        begun = time.monotonic()
        try:
            scenario(*args)
        except Exception as error:
            self._done(label, begun, error)
        else:
            self._done(label, begun, None)

    async def run_async(self, label, scenario, *args, within=90):
        import asyncio

        begun = time.monotonic()
        try:
            await asyncio.wait_for(scenario(*args), within)
        except Exception as error:
            self._done(label, begun, error)
        else:
            self._done(label, begun, None)

    def exit(self):
        print(f"  {self.passed} scenarios passed, {len(self.failed)} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def describe(error):
    """The sentence of a failed check, or where an unexpected error came from; task groups wrap both."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(part) for part in error.exceptions)
    if isinstance(error, Failed):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in where if str(ROOT / "tests") in frame.filename] or where
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{place}: {error}"


class Control:
    """A loopback address through which a command in another language restarts the server."""

    def __init__(self, server):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                try:
                    server.restart(signal.SIGKILL if self.path == "/crash" else signal.SIGTERM)
                    status, body = 200, "restarted"
                except Exception as error:
                    status, body = 500, describe(error)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.listener.server_address[1]}"


def run_beside(args):
    config, conformance, empty = "", False, False
    while args and args[0] != "--":
        option = args.pop(0)
        if option == "--config":
            config = args.pop(0)
        elif option == "--conformance":
            conformance = True
        elif option == "--empty":
            empty = True
        else:
            sys.exit(f"harness.py: unknown option {option}")
    command = args[1:]
    if command[0].endswith(".mjs"):
        # Node looks for a module's dependencies beside the module.
        for script in Path(__file__).parent.glob("*.mjs"):
            shutil.copy(script, CLIENTS)
        command = [NODE, CLIENTS / command[0], *command[1:]]
    with (Server if empty else World)(config, conformance) as world:
        server = world if empty else world.server
        env = os.environ | {"HEARTH_URL": server.url, "HEARTH_DATA": str(server.data), "HEARTH_BIN": str(BIN),
                            "HEARTH_HOME": str(server.dir / "home"), "HEARTH_CONTROL": Control(server).url}
        if not empty:
            env |= {"TOKEN_MONITOR": world.monitor, "TOKEN_MANAGE": world.manage}
        code = subprocess.run(command, env=env).returncode
        if code:
            server.show_log()
    sys.exit(code)


if __name__ == "__main__":
    check(sys.argv[1:2] == ["run"], __doc__)
    run_beside(sys.argv[2:])
