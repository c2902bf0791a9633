"""Sessions, resumption and cancellation on the wire: what survives a nap, a restart and a kill, and what must not."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time

from harness import LEGACY, Failed, Raw, Report, Server, World, answer, check, same

ACCESS = "\n[access]\nloopback_level = 4\n"


class Session(Raw):
    """A 2025-era session by hand."""

    def __init__(self, server, token=None):
        super().__init__(server, token)
        body = {"jsonrpc": "2.0", "id": self.id(), "method": "initialize", "params": {
            "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}}
        status, headers, text = self.send(body)
        same(status, 200, f"initialize ({text[:200]})")
        self.session = headers["Mcp-Session-Id"]
        check(self.session, "initialize gave no session id")
        status, _, text = self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        same(status, 202, "notifications/initialized")

    session = None

    def own_headers(self, more=()):
        headers = self.headers({"MCP-Protocol-Version": LEGACY})
        if self.session:
            headers["Mcp-Session-Id"] = self.session
        return headers | dict(more)

    def send(self, body, more=()):
        with contextlib.closing(self.connection()) as connection:
            connection.request("POST", "/mcp", json.dumps(body), self.own_headers(more))
            response = connection.getresponse()
            self.last = response
            return response.status, response.headers, response.read().decode()

    def request(self, method, params=None, more=()):
        """(HTTP status, JSON-RPC answer or text)"""
        body = {"jsonrpc": "2.0", "id": self.id(), "method": method, "params": params or {}}
        status, _, text = self.send(body, more)
        return (status, answer(self.last, text, body["id"])) if status == 200 else (status, text)

    def works(self, what):
        status, result = self.request("tools/call", {"name": "system_whoami", "arguments": {}})
        check(status == 200 and not result.get("error") and not result["result"].get("isError"), f"{what}: {status} {result}")
        return result["result"]["structuredContent"]

    def stream(self, body=None, last=None):
        """An open POST (with `body`) or GET stream."""
        connection = self.connection()
        more = {"Last-Event-ID": last} if last else {}
        if body:
            connection.request("POST", "/mcp", json.dumps(body), self.own_headers(more))
        else:
            connection.request("GET", "/mcp", headers=self.own_headers({"Accept": "text/event-stream", **more}))
        return Stream(connection)


class Stream:
    """Server-sent events as they come."""

    def __init__(self, connection):
        self.connection = connection
        self.response = connection.getresponse()
        self.status = self.response.status

    def events(self, count=None, until=None, within=10):
        """Events until there are `count`, or one of which `until` holds, or the stream ends, or time is up."""
        found, event, deadline = [], {}, time.monotonic() + within
        sock = self.connection.sock or self.response.fp.raw._sock
        try:
            while time.monotonic() < deadline and (count is None or len(found) < count):
                sock.settimeout(max(0.05, deadline - time.monotonic()))
                line = self.response.readline()
                if not line:
                    break
                line = line.decode().rstrip("\r\n")
                if not line:
                    if event:
                        found.append(event)
                        if until and until(event):
                            break
                    event = {}
                elif not line.startswith(":"):
                    key, _, value = line.partition(":")
                    event[key] = value.strip()
        except (TimeoutError, OSError):
            pass
        return found

    def drop(self):
        """Closes as a laptop does that loses its network: no goodbye on the session."""
        with contextlib.suppress(OSError):
            (self.connection.sock or self.response.fp.raw._sock).shutdown(socket.SHUT_RDWR)
        self.response.close()
        self.connection.close()


def message(event):
    return json.loads(event["data"]) if event.get("data") else {}


def is_result(event):
    return "result" in message(event) or "error" in message(event)


def slow(request_id, steps, step_ms):
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {
        "name": "test_slow_steps", "arguments": {"steps": steps, "step_ms": step_ms}, "_meta": {"progressToken": f"t{request_id}"}}}


def kinds(events):
    return ["result" if is_result(event) else message(event).get("method", "priming") for event in events]


def cancelled(server):
    return "cancelled by client" in server.log_text()


def waits_until(holds, seconds, what):
    deadline = time.monotonic() + seconds
    while not holds():
        check(time.monotonic() < deadline, what)
        time.sleep(0.1)


# --- sessions ---


def idle():
    with World("\n[mcp]\nsession_idle = \"2s\"\n") as world:
        session = Session(world.server, world.monitor)
        session.works("before")
        time.sleep(3.5)
        same(session.works("after the session was idle for longer than session_idle")["principal"],
             session.works("again")["principal"], "principal")


def restarts():
    with World() as world:
        session = Session(world.server, world.monitor)
        for how in (signal.SIGTERM, signal.SIGKILL):
            before = session.works("before")
            world.server.restart(how)
            same(session.works(f"after {how.name} and a new start")["principal"], before["principal"], "principal")
        same(world.server.must(world.manage, "audit_verify", {})["valid"], True, "audit chain after a kill")


def unknown_session():
    with World() as world:
        session = Session(world.server, world.monitor)
        real, session.session = session.session, "00000000-0000-4000-8000-000000000000"
        same(session.request("tools/list")[0], 404, "unknown session")
        session.session = real
        with contextlib.closing(session.connection()) as connection:
            connection.request("DELETE", "/mcp", headers=session.own_headers())
            check(connection.getresponse().status in (200, 202, 204), "DELETE of the own session")
        same(session.request("tools/list")[0], 404, "a deleted session")
        world.server.restart()
        same(session.request("tools/list")[0], 404, "a deleted session after a new start")


def foreign_token():
    with World() as world:
        mine = Session(world.server, world.monitor)
        other = world.server.token("stranger", 4)
        mine.works("the owner")
        for token, allowed in ((other, (403, 404)), ("not-a-token", (401,)), (None, (401, 403, 404))):
            thief = Raw(world.server, token)
            thief_session = object.__new__(Session)
            thief_session.__dict__ = {**thief.__dict__, "session": mine.session}
            status, text = thief_session.request("tools/list")
            if token is None and status == 200:
                raise Failed("a session worked without its token")
            check(status in allowed, f"session of one token with another: HTTP {status} {text}")
            stream = thief_session.stream()
            check(stream.status in (*allowed, 401), f"stream of one token with another: HTTP {stream.status}")
            stream.drop()
            with contextlib.closing(thief.connection()) as connection:
                connection.request("DELETE", "/mcp", headers=thief_session.own_headers())
                connection.getresponse()
        mine.works("the owner, after a stranger tried to end the session")


# --- resumption ---


def resume(moment):
    with Server(ACCESS, conformance=True) as server:
        session = Session(server)
        stream = session.stream(slow(7, steps=6, step_ms=300))
        before = stream.events(until=lambda event: message(event).get("method") == "notifications/progress")
        ids = [event["id"] for event in before if "id" in event]
        check(ids, f"events carry ids: {before}")
        stream.drop()
        if moment == "mid-call":
            time.sleep(0.1)
        else:
            time.sleep(3)
        if moment == "after a restart":
            server.restart()
        again = session.stream(last=ids[-1])
        same(again.status, 200, "GET with Last-Event-ID")
        rest = again.events(until=is_result, within=8)
        again.drop()
        check(rest and kinds(rest)[-1] == "result", f"{moment}: the rest of the stream has the result: {kinds(rest)}")
        seen = [message(event)["params"]["progress"] for event in before + rest if message(event).get("method") == "notifications/progress"]
        same(seen, sorted(set(seen)), "progress comes once and in order")
        check(len(seen) >= 6, f"no progress is lost: {seen}")
        same(message(rest[-1])["id"], 7, "id of the answer")


# --- cancellation ---


def modern_disconnect():
    with Server(ACCESS, conformance=True) as server:
        raw = Raw(server)
        body, headers = raw.modern_request("tools/call", {"name": "test_slow_steps", "arguments": {"steps": 40, "step_ms": 200}}, progress="x")
        connection = raw.connection()
        connection.request("POST", "/mcp", json.dumps(body), headers)
        time.sleep(0.7)
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        waits_until(lambda: cancelled(server), 4, "a modern call goes on although its client is gone")


def legacy_disconnect():
    with Server(ACCESS, conformance=True) as server:
        session = Session(server)
        stream = session.stream(slow(7, steps=40, step_ms=200))
        stream.events(until=lambda event: message(event).get("method") == "notifications/progress")
        stream.drop()
        time.sleep(2)
        check(not cancelled(server), "a dropped stream of a 2025-era session ended its call")
        status, _, _ = session.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7, "reason": "enough"}})
        same(status, 202, "notifications/cancelled")
        waits_until(lambda: cancelled(server), 4, "notifications/cancelled did not end the call")


# --- the event-stream door ---


class Sse:
    """The 2024-era door by hand: one event stream, and posts to the address that it names."""

    def __init__(self, server, token=None, last=None):
        self.raw = Raw(server, token)
        connection = self.raw.connection()
        headers = self.raw.headers({"Accept": "text/event-stream"})
        if last:
            headers["Last-Event-ID"] = last
        connection.request("GET", "/sse", headers=headers)
        self.stream = Stream(connection)
        same(self.stream.status, 200, "GET /sse")
        first = self.stream.events(count=1)[0]
        same(first.get("event"), "endpoint", "first event")
        self.address, self.last = first["data"], first.get("id")

    def post(self, body):
        with contextlib.closing(self.raw.connection()) as connection:
            connection.request("POST", self.address, json.dumps(body), self.raw.headers())
            return connection.getresponse().status

    def handshake(self):
        self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}})
        check(self.stream.events(until=is_result), "answer to initialize")
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    def works(self, request_id, what):
        same(self.post({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": "system_whoami", "arguments": {}}}), 202, what)
        events = self.stream.events(until=is_result)
        check(events and message(events[-1]).get("id") == request_id and "result" in message(events[-1]), f"{what}: {events}")


def sse_restart():
    with World() as world:
        first = Sse(world.server, world.monitor).handshake()
        first.works(1, "before")
        check(first.last, "the endpoint event carries an id, so that a client can come back")
        for how in (signal.SIGTERM, signal.SIGKILL):
            world.server.restart(how)
            # An EventSource repeats the GET with the last id and never says initialize again.
            again = Sse(world.server, world.monitor, last=first.last)
            again.works(2, f"after {how.name}, without a second handshake")
            again.stream.drop()


def sse_foreign():
    with World() as world:
        mine = Sse(world.server, world.monitor).handshake()
        other = world.server.token("stranger", 4)
        thief = Raw(world.server, other)
        with contextlib.closing(thief.connection()) as connection:
            connection.request("POST", mine.address, json.dumps({"jsonrpc": "2.0", "id": 5, "method": "ping"}), thief.headers())
            check(connection.getresponse().status in (403, 404), "a post to the stream of another token")
        mine.works(6, "the owner afterwards")
        with contextlib.closing(mine.raw.connection()) as connection:
            connection.request("POST", "/sse", "{}", mine.raw.headers())
            same(connection.getresponse().status, 405, "POST /sse, by which clients find out that it is the older door")


# --- ends and slowness ---


def fast_exit():
    with World() as world:
        session = Session(world.server, world.monitor)
        streams = [session.stream(), Sse(world.server, world.monitor).stream]
        took = world.server.end()
        check(took < 3, f"SIGTERM with open streams took {took:.1f} s")
        for stream in streams:
            stream.drop()


def slow_reader():
    """A laptop that stopped reading holds up nobody and fills no memory without bound."""
    with World() as world:
        server, sleeper = world.server, Sse(world.server, world.monitor).handshake()
        body = "x" * 60_000
        thread = server.must(world.manage, "forum_create_thread", {"title": "Long", "body": body})["thread"]["thread_id"]
        for _ in range(9):
            server.must(world.manage, "forum_reply", {"thread_id": thread, "body": body})
        before = resident_mib(server)
        stop, refused = threading.Event(), []

        def pour():
            for request_id in range(10, 210):
                if stop.is_set():
                    return
                status = sleeper.post({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {
                    "name": "forum_read_thread", "arguments": {"thread_id": thread}}})
                if status != 202:
                    refused.append(status)
                    return

        pouring = threading.Thread(target=pour, daemon=True)
        pouring.start()
        quick = Session(server, world.manage)
        longest = 0
        for _ in range(40):
            begun = time.monotonic()
            quick.works("a session beside a slow reader")
            longest = max(longest, time.monotonic() - begun)
            time.sleep(0.1)
        stop.set()
        pouring.join(20)
        check(longest < 2, f"a call beside a slow reader took {longest:.1f} s")
        grown = resident_mib(server) - before
        check(grown < 200, f"a slow reader cost {grown:.0f} MiB")
        check(all(status in (404, 429, 503) for status in refused), f"posts to a full stream: {refused}")
        sleeper.stream.drop()


def resident_mib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def main():
    report = Report()
    report.run("session idle for longer than session_idle", idle)
    report.run("session after SIGTERM and SIGKILL", restarts)
    report.run("unknown and deleted sessions", unknown_session)
    report.run("session of one token with another token", foreign_token)
    for moment in ("mid-call", "after completion", "after a restart"):
        report.run(f"resume with Last-Event-ID {moment}", resume, moment)
    report.run("modern call ends with its connection", modern_disconnect)
    report.run("2025-era call outlives its connection and ends by notification", legacy_disconnect)
    report.run("event stream comes back after a restart", sse_restart)
    report.run("event stream of one token with another token", sse_foreign)
    report.run("SIGTERM with open streams", fast_exit)
    report.run("slow reader", slow_reader)
    report.exit()


main()
