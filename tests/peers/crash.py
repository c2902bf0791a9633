"""Kills the server with SIGKILL in the middle of writing, many times over, and counts what was acknowledged.

    crash.py [KILLS] [SEED]

Writers post to the forum over REST, each post with an idempotency key. After every kill they repeat what was
not answered. In the end every acknowledged post is there exactly once, nothing is there twice, and the audit
chain and the file are whole.
"""

import collections
import http.client
import json
import random
import signal
import sqlite3
import sys
import threading
import time

from harness import Report, Server, check, same

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 20261125
WRITERS = 4


class Writer(threading.Thread):
    """Posts one text after the other; a text whose answer did not come is sent again with its key."""

    def __init__(self, server, token, thread_id, name):
        super().__init__(daemon=True)
        self.server, self.token, self.thread_id, self.name_ = server, token, thread_id, name
        self.acknowledged = {}
        self.sent = 0
        self.repeated = 0
        self.wrong = []
        self.stop = threading.Event()

    def run(self):
        connection = None
        while not self.stop.is_set():
            body = f"{self.name_} writes {self.sent}"
            tries = 0
            while not self.stop.is_set():
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
                    connection.request(
                        "POST",
                        f"/api/forum/threads/{self.thread_id}/posts",
                        json.dumps({"body": body}),
                        {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}",
                         "Idempotency-Key": f"{self.name_}-{self.sent}"},
                    )
                    response = connection.getresponse()
                    answer = json.loads(response.read())
                except (OSError, http.client.HTTPException, ValueError):
                    connection = None
                    tries += 1
                    time.sleep(0.01)
                    continue
                if response.status == 200:
                    self.acknowledged[answer["post_id"]] = body
                    self.repeated += tries > 0
                    break
                if response.status not in (409, 503):
                    self.wrong.append((response.status, answer))
                    return
                time.sleep(0.01)
            self.sent += 1


def kills(server, token):
    rng = random.Random(SEED)
    thread_id = server.must(token, "forum_create_thread", {"title": "crash", "body": "begin"})["thread"]["thread_id"]
    writers = [Writer(server, token, thread_id, f"w{n}") for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.02, 0.2))
        server.restart(signal.SIGKILL)
    time.sleep(0.3)
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join(15)
    check(not any(writer.wrong for writer in writers), f"unexpected answers: {[writer.wrong for writer in writers]}")
    verdict = server.must(token, "audit_verify")
    check(verdict["valid"], f"the audit chain broke: {verdict}")
    server.end()

    acknowledged = {post: body for writer in writers for post, body in writer.acknowledged.items()}
    repeated = sum(writer.repeated for writer in writers)
    with sqlite3.connect(f"file:{server.data}/hearth.db?mode=ro", uri=True) as file:
        same(file.execute("pragma integrity_check").fetchall(), [("ok",)], "integrity_check")
        stored = dict(file.execute("select post_id, body from posts where thread_id = ?", [thread_id]))
    lost = [post for post, body in acknowledged.items() if stored.get(post) != body]
    check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged posts are lost: {lost[:5]} (seed {SEED})")
    doubled = [body for body, count in collections.Counter(stored.values()).items() if count > 1]
    check(not doubled, f"{len(doubled)} posts are there twice: {doubled[:5]} (seed {SEED})")
    check(len(acknowledged) > KILLS, f"only {len(acknowledged)} posts were acknowledged; the load was too thin")
    print(f"        {KILLS} kills, {len(acknowledged)} acknowledged posts, {repeated} repeated after a kill, 0 lost, 0 doubled")


def main():
    report = Report()
    with Server() as server:
        token = server.token("writer", 4)
        report.run(f"{KILLS} kills under write load lose no acknowledged row and act once", kills, server, token)
    report.exit()


main()
