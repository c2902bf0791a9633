"""The official Python SDK as a `Peer`; also what drives bridges that speak stdio."""

import asyncio
import contextlib
import logging
import warnings

import anyio
import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from conversation import Peer, fill_form

# Subscribing as the 2025 revisions do is deprecated in the SDK and still what most clients send.
warnings.simplefilter("ignore")
# The SDK logs every answer to DELETE but 200, and messages that come while it closes; what matters is raised.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def streamable(server, token, query=""):
    client = httpx2.AsyncClient(headers=bearer(token), timeout=httpx2.Timeout(30, read=300))
    return streamable_http_client(f"{server.url}/mcp{query}", http_client=client)


def sse(server, token, query=""):
    return sse_client(f"{server.url}/sse{query}", headers=bearer(token))


def stdio(server, _token=None):
    command, args, env = server.stdio()
    return StdioServerParameters(command=command, args=args, env=env)


class PyPeer(Peer):
    def __init__(self, client, messages):
        self.client, self.messages = client, messages

    @property
    def revision(self):
        return self.client.protocol_version

    async def tools(self):
        return [tool.name for tool in (await self.client.list_tools(cache_mode="bypass")).tools]

    async def call(self, tool, /, **arguments):
        result = await self.client.call_tool(tool, arguments)
        return result.is_error, result.structured_content, result.content[0].text if result.content else ""

    async def resources(self):
        return [str(resource.uri) for resource in (await self.client.list_resources()).resources]

    async def templates(self):
        return [template.uri_template for template in (await self.client.list_resource_templates()).resource_templates]

    async def read(self, uri):
        return "".join(part.text for part in (await self.client.read_resource(uri, cache_mode="bypass")).contents)

    async def prompts(self):
        return [prompt.name for prompt in (await self.client.list_prompts()).prompts]

    async def prompt(self, name, arguments):
        return [message.content.text for message in (await self.client.get_prompt(name, arguments)).messages if message.content.type == "text"]

    async def complete_prompt(self, name, argument, value):
        ref = types.PromptReference(type="ref/prompt", name=name)
        return (await self.client.complete(ref, {"name": argument, "value": value})).completion.values

    async def complete_template(self, uri, argument, value):
        ref = types.ResourceTemplateReference(type="ref/resource", uri=uri)
        return (await self.client.complete(ref, {"name": argument, "value": value})).completion.values

    async def updates(self, uri, cause):
        if self.revision >= "2026":
            async with self.client.listen(resource_subscriptions=[uri]) as events:
                await cause()
                return await self._first(events, uri)
        await self.client.subscribe_resource(uri)
        try:
            await cause()
            for _ in range(100):
                if uri in self.messages:
                    return True
                await asyncio.sleep(0.05)
            return False
        finally:
            await self.client.unsubscribe_resource(uri)

    @staticmethod
    async def _first(events, uri):
        try:
            async with asyncio.timeout(5):
                async for event in events:
                    if str(getattr(event, "uri", "")) == uri:
                        return True
        except TimeoutError:
            pass
        return False


@contextlib.asynccontextmanager
async def closed_calmly(client):
    """Enters the client; mcp 2.3's SSE reader may pass a notification that comes while it closes to a session that is gone."""
    is_over = False
    try:
        async with client as entered:
            yield entered
            is_over = True
    except* anyio.BrokenResourceError:
        if not is_over:
            raise


@contextlib.asynccontextmanager
async def connect(target, mode, action=None, asked=None):
    """A connected peer; `action` is what a person does with every question, None for a client that cannot ask."""
    messages = []

    async def on_question(_context, params):
        asked.append(params.message)
        content = fill_form(params.requested_schema) if action == "accept" else None
        return types.ElicitResult(action=action, content=content)

    async def on_message(message):
        message = getattr(message, "root", message)
        if getattr(message, "method", "") == "notifications/resources/updated":
            messages.append(str(message.params.uri))

    more = {"elicitation_callback": on_question} if action else {}
    client = Client(target, mode=mode, message_handler=on_message, read_timeout_seconds=20, **more)
    async with closed_calmly(client) as client:
        yield PyPeer(client, messages)
