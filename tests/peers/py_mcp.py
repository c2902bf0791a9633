"""The official Python SDK over Streamable HTTP, SSE and stdio, in every protocol mode that it has."""

import asyncio

import conversation
from harness import MODERN, Report, World, check, same
from py_peer import connect, sse, stdio, streamable


async def door(report, world, label, open_door, mode):
    server = world.server

    def reply(thread_id):
        server.must(world.manage, "forum_reply", {"thread_id": thread_id, "body": "Seen from elsewhere"})

    async def read():
        async with connect(open_door(server, world.monitor), mode) as peer:
            if mode == "legacy":
                check(peer.revision < "2026", f"legacy mode negotiated {peer.revision}")
            else:
                same(peer.revision, MODERN, f"revision in mode {mode}")
            # stdio belongs to the person who started it, whatever token others have.
            level = 1 if open_door is not stdio else (await peer.must("system_whoami"))["level"]
            await conversation.reading(peer, reply, level)

    async def ask(action, scenario):
        asked = []
        async with connect(open_door(server, world.manage), mode, action, asked) as peer:
            await scenario(peer, lambda: asked)

    async def cannot():
        async with connect(open_door(server, world.manage), mode) as peer:
            await conversation.unable(peer, server.approve)

    await report.run_async(f"{label} {mode}: reads, writes on the forum, is refused the rest", read)
    await report.run_async(f"{label} {mode}: removal accepted in the client", ask, "accept", conversation.accepting)
    await report.run_async(f"{label} {mode}: removal declined in the client", ask, "decline", conversation.declining)
    await report.run_async(f"{label} {mode}: removal approved on the server", cannot)


async def toolsets(world):
    """A client that was pointed at one toolset sees nothing else."""
    for open_door, mode in ((streamable, "auto"), (streamable, "legacy"), (sse, "legacy")):
        async with connect(open_door(world.server, world.manage, "?toolsets=forum"), mode) as peer:
            names = await peer.tools()
            check(names and all(name.startswith(("forum_", "system_")) for name in names), f"?toolsets=forum lists {names}")
            failed, body, text = await peer.call("inventory_list_hosts")
            check(failed, f"a tool outside the toolset ran: {body or text}")


async def main():
    report = Report()
    with World() as world:
        for mode in ("auto", "legacy", MODERN):
            await door(report, world, "streamable http", streamable, mode)
        for mode in ("auto", "legacy"):
            await door(report, world, "sse", sse, mode)
        for mode in ("auto", "legacy"):
            await door(report, world, "stdio", stdio, mode)
        await report.run_async("toolsets in the address", toolsets, world)
    report.exit()


asyncio.run(main())
