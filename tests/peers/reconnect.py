"""Client libraries that never say hello twice go on after a nap, a restart and a crash of the server."""

import asyncio
import signal

from fastmcp import Client as FastClient
from mcp import Client

from harness import MODERN, Report, World, check
from py_peer import sse, streamable
from remote import bridge

IDLE = "\n[mcp]\nsession_idle = \"2s\"\n"


def official(open_door):
    return lambda world, mode: Client(open_door(world.server, world.monitor), mode=mode, read_timeout_seconds=15)


def fast(path):
    return lambda world, mode: FastClient(world.server.url + path, auth=world.monitor, mode=mode, timeout=15)


def remote(path, transport):
    return lambda world, mode: Client(bridge(world.server, world.monitor, path, transport), mode=mode, read_timeout_seconds=15)


async def works(client, what):
    result = await asyncio.wait_for(client.call_tool("system_whoami", {}), 15)
    check(not result.is_error, f"{what}: {result}")


async def goes_on(make, mode, disturbance):
    with World(IDLE if disturbance == "nap" else "") as world:
        async with make(world, mode) as client:
            await works(client, "before")
            if disturbance == "nap":
                await asyncio.sleep(3.5)
            else:
                how = signal.SIGTERM if disturbance == "restart" else signal.SIGKILL
                await asyncio.to_thread(world.server.restart, how)
                # A bridge may notice the closed stream only now and open the next one.
                await asyncio.sleep(1.5)
            await works(client, f"first call after a {disturbance}")
            await works(client, f"second call after a {disturbance}")


async def main():
    report = Report()
    for disturbance in ("nap", "restart", "crash"):
        for label, make, modes in (
            ("python /mcp", official(streamable), ("legacy", MODERN)),
            ("fastmcp /mcp", fast("/mcp"), ("legacy",)),
            ("mcp-remote /mcp", remote("/mcp", "http-only"), ("legacy",)),
            ("mcp-remote /sse", remote("/sse", "sse-only"), ("legacy",)),
        ):
            for mode in modes:
                await report.run_async(f"{label} {mode} after a {disturbance}", goes_on, make, mode, disturbance)
    # The event-stream clients of Python do not open a second stream by themselves; a nap they must survive.
    await report.run_async("python /sse legacy after a nap", goes_on, official(sse), "legacy", "nap")
    await report.run_async("fastmcp /sse legacy after a nap", goes_on, fast("/sse"), "legacy", "nap")
    report.exit()


asyncio.run(main())
