"""mcp-remote as the bridge that desktop clients start: stdio on one side, /mcp or /sse on the other."""

import asyncio

from mcp import StdioServerParameters

import conversation
from harness import CLIENTS, NODE, Report, World
from py_peer import connect

BRIDGE = CLIENTS / "node_modules" / "mcp-remote" / "dist" / "proxy.js"


def bridge(server, token, path, transport):
    env = server.env() | {"MCP_REMOTE_CONFIG_DIR": str(server.dir / "mcp-remote"), "BEARER": f"Bearer {token}"}
    args = [str(BRIDGE), server.url + path, "--allow-http", "--silent", "--transport", transport, "--header", "Authorization:${BEARER}"]
    return StdioServerParameters(command=str(NODE), args=args, env=env)


async def door(report, world, path, transport, mode):
    server = world.server

    def reply(thread_id):
        server.must(world.manage, "forum_reply", {"thread_id": thread_id, "body": "Seen from elsewhere"})

    async def read():
        async with connect(bridge(server, world.monitor, path, transport), mode) as peer:
            await conversation.reading(peer, reply)

    async def ask(action, scenario):
        asked = []
        async with connect(bridge(server, world.manage, path, transport), mode, action, asked) as peer:
            await scenario(peer, lambda: asked)

    async def cannot():
        async with connect(bridge(server, world.manage, path, transport), mode) as peer:
            await conversation.unable(peer, server.approve)

    label = f"{path} {transport} {mode}"
    await report.run_async(f"{label}: reads, writes on the forum, is refused the rest", read)
    await report.run_async(f"{label}: removal accepted in the client", ask, "accept", conversation.accepting)
    await report.run_async(f"{label}: removal declined in the client", ask, "decline", conversation.declining)
    await report.run_async(f"{label}: removal approved on the server", cannot)


async def main():
    report = Report()
    with World() as world:
        await door(report, world, "/mcp", "http-first", "legacy")
        await door(report, world, "/mcp", "http-only", "auto")
        await door(report, world, "/sse", "sse-only", "legacy")
        # A user who pastes the SSE address without saying so: a POST fails, then SSE is tried.
        await door(report, world, "/sse", "http-first", "legacy")
    report.exit()


if __name__ == "__main__":
    asyncio.run(main())
