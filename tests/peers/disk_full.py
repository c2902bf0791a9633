"""Fills the disk under the data folder: a clear error, nothing acknowledged is lost, and it goes on by itself.

Needs root for the small tmpfs that it mounts.
"""

import http.client
import subprocess
import time

from harness import Raw, Report, Server, check, same


def mount(*args):
    done = subprocess.run(["mount", *args], capture_output=True, text=True)
    check(done.returncode == 0, f"mount {' '.join(map(str, args))}: {done.stderr.strip()}")


def fill_and_free(server, token):
    thread_id = server.must(token, "forum_create_thread", {"title": "full", "body": "begin"})["thread"]["thread_id"]
    acknowledged, refusal = {}, None
    for n in range(2000):
        body = f"{n} " + "x" * 20_000
        failed, answer = reply(server, token, thread_id, body)
        if failed:
            refusal = answer
            break
        acknowledged[answer["post_id"]] = body
    check(refusal is not None, "the disk never filled up")
    check("disk is full" in refusal, f"the refusal does not say that the disk is full: {refusal}")
    check(len(acknowledged) > 5, f"only {len(acknowledged)} posts fitted")

    # Reads go on, /ready says so, and a write is still refused with the reason.
    server.must(token, "forum_list_threads")
    same(ready(server), 503, "GET /ready on a full disk")
    failed, answer = reply(server, token, thread_id, "y" * 20_000)
    check(failed, "a write was acknowledged on a full disk")

    mount("-o", "remount,size=64m", str(server.data))
    deadline = time.monotonic() + 20
    while True:
        failed, answer = reply(server, token, thread_id, "after")
        if not failed:
            break
        check(time.monotonic() < deadline, f"it did not recover: {answer}")
        time.sleep(0.3)
    same(ready(server), 200, "GET /ready after there is room again")

    server.restart()
    seen, cursor = {}, None
    while True:
        page = server.must(token, "forum_read_thread", {"thread_id": thread_id, "limit": 100} | ({"cursor": cursor} if cursor else {}))
        seen |= {post["post_id"]: post["body"] for post in page["items"]}
        cursor = page.get("next_cursor")
        if not cursor:
            break
    lost = [post for post, body in acknowledged.items() if seen.get(post) != body]
    check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged posts are lost")
    check(server.must(token, "audit_verify")["valid"], "the audit chain broke")
    print(f"        {len(acknowledged)} posts fitted, then: {refusal}")


def reply(server, token, thread_id, body):
    """(failed, the post or the message): an unavailable store is a protocol error over MCP."""
    result = Raw(server, token).modern("tools/call", {"name": "forum_reply", "arguments": {"thread_id": thread_id, "body": body}})
    if "error" in result:
        return True, result["error"]["message"]
    content = result["result"]["structuredContent"]
    return result["result"].get("isError", False), content


def ready(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/ready")
    return connection.getresponse().status


def main():
    report = Report()
    server = Server()
    server.data.mkdir()
    mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(server.data))
    try:
        with server:
            token = server.token("writer", 4)
            report.run("a full disk is told, loses nothing, and heals", fill_and_free, server, token)
    finally:
        subprocess.run(["umount", "-l", str(server.data)], check=False)
    report.exit()


main()
