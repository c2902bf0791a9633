// The TypeScript SDK never initializes twice: its sessions and event streams go on after a nap, a restart and a crash.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { check, report, sleep } from './peer.mjs';

const { HEARTH_URL, HEARTH_CONTROL, TOKEN_MONITOR } = process.env;
const headers = { Authorization: `Bearer ${TOKEN_MONITOR}` };

const doors = {
  http: () => new StreamableHTTPClientTransport(new URL(`${HEARTH_URL}/mcp`), { requestInit: { headers } }),
  sse: () => new SSEClientTransport(new URL(`${HEARTH_URL}/sse`), { requestInit: { headers } }),
};

async function disturb(how) {
  if (how === 'nap') return sleep(3500);
  const answer = await fetch(`${HEARTH_CONTROL}/${how}`, { method: 'POST' });
  check(answer.ok, `${how}: ${await answer.text()}`);
  // An EventSource waits for the `retry` that the server told it before it opens the next stream.
  await sleep(2500);
}

for (const how of ['nap', 'restart', 'crash']) {
  for (const door of Object.keys(doors)) {
    await report(`${door} after a ${how}`, async () => {
      const client = new Client({ name: 'ts', version: '1' });
      client.onerror = () => {};
      await client.connect(doors[door]());
      const works = async what => {
        const result = await client.callTool({ name: 'system_whoami', arguments: {} }, undefined, { timeout: 8000 });
        check(!result.isError && result.structuredContent.principal, `${what}: ${JSON.stringify(result)}`);
      };
      await works('before');
      await disturb(how);
      await works('first call');
      await works('second call');
      await client.close();
    });
  }
}
report.exit();
