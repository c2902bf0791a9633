"""The FastMCP client on /mcp and /sse, with the tokens given as its users give them."""

import asyncio
import contextlib

import mcp_types as types
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import SSETransport, StreamableHttpTransport

import conversation
from harness import MODERN, Report, World, check
from py_peer import PyPeer, bearer, closed_calmly


class FastPeer(PyPeer):
    """FastMCP wraps the official client; the calls that it shapes differently are overridden."""

    @property
    def revision(self):
        return self.client.session.protocol_version

    async def tools(self):
        return [tool.name for tool in await self.client.list_tools()]

    async def call(self, tool, /, **arguments):
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        return result.is_error, result.structured_content, result.content[0].text if result.content else ""

    async def resources(self):
        return [str(resource.uri) for resource in await self.client.list_resources()]

    async def templates(self):
        return [template.uri_template for template in await self.client.list_resource_templates()]

    async def read(self, uri):
        return "".join(part.text for part in await self.client.read_resource(uri))

    async def prompts(self):
        return [prompt.name for prompt in await self.client.list_prompts()]

    async def complete_prompt(self, name, argument, value):
        ref = types.PromptReference(type="ref/prompt", name=name)
        return (await self.client.complete(ref, {"name": argument, "value": value})).values

    async def complete_template(self, uri, argument, value):
        ref = types.ResourceTemplateReference(type="ref/resource", uri=uri)
        return (await self.client.complete(ref, {"name": argument, "value": value})).values

    async def updates(self, uri, cause):
        if self.revision >= "2026":
            from mcp.client.subscriptions import listen

            async with listen(self.client.session, resource_subscriptions=[uri]) as events:
                await cause()
                return await self._first(events, uri)
        await self.client.session.subscribe_resource(uri)
        await cause()
        for _ in range(100):
            if uri in self.messages:
                return True
            await asyncio.sleep(0.05)
        return False


@contextlib.asynccontextmanager
async def connect(target, auth, mode, action=None, asked=None):
    messages = []

    async def on_question(message, _response_type, params, _context):
        asked.append(message)
        content = conversation.fill_form(params.requested_schema) if action == "accept" else None
        return ElicitResult(action=action, content=content)

    async def on_message(message):
        message = getattr(message, "root", message)
        if getattr(message, "method", "") == "notifications/resources/updated":
            messages.append(str(message.params.uri))

    more = {"elicitation_handler": on_question} if action else {}
    if auth:
        more["auth"] = auth
    client = Client(target, mode=mode, message_handler=on_message, timeout=20, **more)
    async with closed_calmly(client) as client:
        yield FastPeer(client, messages)


async def door(report, world, label, target, mode):
    server = world.server

    def reply(thread_id):
        server.must(world.manage, "forum_reply", {"thread_id": thread_id, "body": "Seen from elsewhere"})

    async def read():
        async with connect(*target(server, world.monitor), mode) as peer:
            # On /sse, FastMCP may keep to the initialize handshake; on /mcp it does what it was told.
            if "sse" not in label:
                check((peer.revision < "2026") == (mode == "legacy"), f"mode {mode} negotiated {peer.revision}")
            await conversation.reading(peer, reply)

    async def ask(action, scenario):
        asked = []
        async with connect(*target(server, world.manage), mode, action, asked) as peer:
            await scenario(peer, lambda: asked)

    async def cannot():
        async with connect(*target(server, world.manage), mode) as peer:
            await conversation.unable(peer, server.approve)

    await report.run_async(f"{label} {mode}: reads, writes on the forum, is refused the rest", read)
    await report.run_async(f"{label} {mode}: removal accepted in the client", ask, "accept", conversation.accepting)
    await report.run_async(f"{label} {mode}: removal declined in the client", ask, "decline", conversation.declining)
    await report.run_async(f"{label} {mode}: removal approved on the server", cannot)


async def main():
    report = Report()
    with World() as world:
        def address(path):
            return lambda server, token: (server.url + path, token)

        for mode in ("auto", "legacy", MODERN):
            await door(report, world, "http by address", address("/mcp"), mode)
        await door(report, world, "http with headers", lambda server, token: (
            StreamableHttpTransport(f"{server.url}/mcp", headers=bearer(token)), None), "legacy")
        await door(report, world, "sse by address", address("/sse"), "auto")
        await door(report, world, "sse with headers", lambda server, token: (
            SSETransport(f"{server.url}/sse", headers=bearer(token)), None), "legacy")
    report.exit()


asyncio.run(main())
