"""The same two tools by FastMCP over sqlite3, as one would write them in an afternoon.

    fastmcp_server.py DATABASE http|sse|stdio [PORT]
"""

import base64
import json
import sqlite3
import sys
from datetime import UTC, datetime
from typing import Any

from fastmcp import FastMCP

mcp = FastMCP("homelab")
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, check_same_thread=False)
db.row_factory = sqlite3.Row


def when(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{millis % 1000:03}Z"


@mcp.tool
async def inventory_get_host(name: str) -> dict[str, Any]:
    """Show a host with the VMs and services on it."""
    row = db.execute("select * from hosts where name = ?", (name,)).fetchone()
    if row is None:
        raise ValueError(f"no host {name}")
    host = {key: row[key] for key in ("name", "kind", "version", "updated_by")}
    host |= {key: row[key] for key in ("os", "location", "notes") if row[key] is not None}
    host |= {key: json.loads(row[key]) for key in ("addresses", "tags")}
    host |= {key: when(row[key]) for key in ("created_at", "updated_at")}
    host["vms"] = [row["name"] for row in db.execute("select name from vms where host = ? order by name", (name,))]
    services = db.execute("select name from services where runs_on = ? order by name", (f"host:{name}",))
    host["services"] = [row["name"] for row in services]
    return host


@mcp.tool
async def forum_read_thread(thread_id: int, limit: int = 20) -> dict[str, Any]:
    """Read the posts of a thread, oldest first."""
    row = db.execute("select * from threads where thread_id = ?", (thread_id,)).fetchone()
    if row is None:
        raise ValueError(f"no thread {thread_id}")
    thread = {key: row[key] for key in ("thread_id", "title", "author", "verified", "posts", "last_author")}
    thread |= {key: when(row[key]) for key in ("created_at", "last_activity_at")}
    thread["pinned"] = bool(row["pinned"])
    tags = db.execute("select tag from thread_tags where thread_id = ? order by tag", (thread_id,))
    thread["tags"] = [tag["tag"] for tag in tags]
    rows = db.execute("select * from posts where thread_id = ? order by post_id limit ?", (thread_id, limit + 1)).fetchall()
    posts = []
    for row in rows[:limit]:
        post = {key: row[key] for key in ("post_id", "thread_id", "author", "verified", "body")}
        post["created_at"] = when(row["created_at"])
        post["deleted"] = row["deleted_at"] is not None
        posts.append(post)
    answer = {"thread": thread, "items": posts}
    if limit < len(rows):
        cursor = json.dumps(posts[-1]["post_id"]).encode()
        answer["next_cursor"] = base64.urlsafe_b64encode(cursor).rstrip(b"=").decode()
    return answer


if __name__ == "__main__":
    transport = sys.argv[2]
    if transport == "stdio":
        mcp.run(transport="stdio", show_banner=False, log_level="error")
    else:
        mcp.run(transport=transport, host="127.0.0.1", port=int(sys.argv[3]), show_banner=False, log_level="error")
