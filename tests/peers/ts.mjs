// The TypeScript SDK over Streamable HTTP, SSE and stdio; started by `harness.py run`, which tells where the server is.
import { execFileSync } from 'node:child_process';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ElicitRequestSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { check, must, refused, report, same, sleep, tag } from './peer.mjs';

const { HEARTH_URL, HEARTH_BIN, HEARTH_DATA, HEARTH_HOME, TOKEN_MONITOR, TOKEN_MANAGE } = process.env;
const bearer = token => ({ headers: { Authorization: `Bearer ${token}` } });
const env = { PATH: process.env.PATH, HOME: HEARTH_HOME };

const doors = {
  http: token => new StreamableHTTPClientTransport(new URL(`${HEARTH_URL}/mcp`), { requestInit: bearer(token) }),
  sse: token => new SSEClientTransport(new URL(`${HEARTH_URL}/sse`), { requestInit: bearer(token) }),
  stdio: () => new StdioClientTransport({ command: HEARTH_BIN, args: ['mcp', '--data', HEARTH_DATA], env }),
};

function agree(schema) {
  const content = {};
  for (const [name, field] of Object.entries(schema?.properties ?? {})) {
    const options = field.enum ?? (field.oneOf ?? []).map(option => option.const);
    if (field.type === 'boolean') content[name] = true;
    else if (options.length) content[name] = options.find(option => /^(approve|yes|confirm|accept|allow)$/i.test(option)) ?? options[0];
    else if (schema.required?.includes(name)) content[name] = field.default ?? 'yes';
  }
  return content;
}

async function connected(door, token, action, scenario) {
  const client = new Client({ name: 'ts', version: '1' }, { capabilities: action ? { elicitation: {} } : {} });
  const asked = [];
  if (action) {
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
      asked.push(params.message);
      return action === 'accept' ? { action, content: agree(params.requestedSchema) } : { action };
    });
  }
  const updated = [];
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => updated.push(params.uri));
  const transport = doors[door](token);
  await client.connect(transport);
  try {
    // From here on the SDK holds every answer, refusals too, against the schema that the tool promised.
    await client.listTools();
    await scenario(client, { asked, updated });
    if (transport.terminateSession) await transport.terminateSession();
  } finally {
    await client.close();
  }
}

async function reading(door, client, { updated }) {
  const who = await must(client, 'system_whoami');
  const level = door === 'stdio' ? who.level : 1;
  same(who.level, level, 'level');
  const { tools } = await client.listTools();
  const names = tools.map(tool => tool.name);
  for (const name of ['forum_create_thread', 'forum_search', 'inventory_get_host', 'inventory_lookup_ip']) check(names.includes(name), `${name} is missing from ${names}`);
  for (const name of ['system_approve', 'token_create']) check(!names.includes(name), `${name} is listed`);
  if (level < 3) for (const name of ['inventory_put_host', 'inventory_remove_host', 'inventory_allocate_ip']) check(!names.includes(name), `${name} is listed`);
  for (const tool of tools) check(/^[a-z][a-z0-9_]{0,63}$/.test(tool.name) && tool.description, `name and description of ${tool.name}`);

  const word = tag();
  const made = await must(client, 'forum_create_thread', { title: `Fans of ${word}`, body: 'They are loud — «naïve» 日本語', author: 'scribe' });
  const id = made.thread.thread_id;
  const reply = await must(client, 'forum_reply', { thread_id: id, body: 'Dust', quote_post_id: made.post.post_id });
  check(reply.quote.text.includes('日本語'), 'quoted text');
  same((await must(client, 'forum_read_thread', { thread_id: id })).items.length, 2, 'posts');
  const hits = (await must(client, 'forum_search', { query: word.slice(0, 6) })).items;
  check(hits.some(hit => hit.thread_id === id), 'part of a word finds the thread');
  const reader = `reader-${word}`;
  const news = async () => (await must(client, 'forum_whats_new', { reader, limit: 100 })).items.find(item => item.thread_id === id);
  same((await news())?.new_posts, 2, 'new posts');
  await must(client, 'forum_mark_read', { thread_id: id, reader });
  same(await news(), undefined, 'nothing new after marking');

  const host = await must(client, 'inventory_get_host', { name: 'nas' });
  same(host.services.join(), 'gallery', 'services of the host');
  const there = await must(client, 'inventory_lookup_ip', { address: '10.77.0.10' });
  same(`${there.network} ${there.hosts} ${there.free}`, 'lab nas false', 'whose address it is');
  check((await must(client, 'inventory_search', { query: 'stair' })).items.some(hit => hit.name === 'nas'), 'search');
  await refused(client, 'not_found', 'inventory_get_host', { name: 'nowhere' });
  if (level < 3) await refused(client, 'forbidden', 'inventory_put_host', { name: 'intruder' });

  const uris = (await client.listResources()).resources.map(resource => resource.uri);
  check(uris.includes('hearth://forum'), `resources ${uris}`);
  const templates = (await client.listResourceTemplates()).resourceTemplates.map(template => template.uriTemplate);
  const template = templates.find(uri => uri.startsWith('hearth://host/'));
  check(template && templates.some(uri => uri.startsWith('hearth://thread/')), `templates ${templates}`);
  const uri = `hearth://thread/${id}`;
  check((await client.readResource({ uri })).contents[0].text.includes('Dust'), 'thread as a resource');
  await client.subscribeResource({ uri });
  await must(client, 'forum_reply', { thread_id: id, body: 'Cleaned' });
  for (let i = 0; i < 100 && !updated.includes(uri); i++) await sleep(50);
  check(updated.includes(uri), `no update of ${uri} after a reply`);
  await client.unsubscribeResource({ uri });

  const prompts = (await client.listPrompts()).prompts.map(prompt => prompt.name);
  for (const name of ['triage_host', 'summarise_forum', 'hand_over']) check(prompts.includes(name), `prompts ${prompts}`);
  const prompt = await client.getPrompt({ name: 'triage_host', arguments: { host: 'nas' } });
  check(JSON.stringify(prompt.messages).includes('nas'), 'the prompt names the host');
  const byPrompt = await client.complete({ ref: { type: 'ref/prompt', name: 'triage_host' }, argument: { name: 'host', value: 'n' } });
  check(byPrompt.completion.values.includes('nas'), 'completion of a prompt');
  const byTemplate = await client.complete({ ref: { type: 'ref/resource', uri: template }, argument: { name: template.slice('hearth://host/'.length).replace(/[{}]/g, ''), value: '' } });
  check(byTemplate.completion.values.includes('nas'), 'completion of a template');
}

async function removal(action, client, { asked }) {
  const name = `victim-${tag()}`;
  await must(client, 'inventory_put_host', { name, kind: 'device' });
  if (action === 'accept') {
    same((await must(client, 'inventory_remove_host', { name })).removed, name, 'removal');
    check(asked.some(message => message.includes(name)), `the question names ${name}: ${asked}`);
  } else if (action === 'decline') {
    const result = await client.callTool({ name: 'inventory_remove_host', arguments: { name } });
    check(result.isError && asked.length === 1, `declined: ${JSON.stringify(result)}`);
    await must(client, 'inventory_get_host', { name });
    return;
  } else {
    const plan = await refused(client, 'unconfirmed', 'inventory_remove_host', { name });
    check(plan.approval_id && typeof plan.plan === 'object', `a plan and an approval: ${JSON.stringify(plan)}`);
    await must(client, 'inventory_get_host', { name });
    execFileSync(HEARTH_BIN, ['approve', plan.approval_id, '--data', HEARTH_DATA], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    same((await must(client, 'inventory_remove_host', { name, approval_id: plan.approval_id })).removed, name, 'approved removal');
  }
  await refused(client, 'not_found', 'inventory_get_host', { name });
}

for (const door of Object.keys(doors)) {
  await report(`${door}: reads, writes on the forum, is refused the rest`, () => connected(door, TOKEN_MONITOR, null, (client, seen) => reading(door, client, seen)));
  for (const action of ['accept', 'decline', null]) {
    await report(`${door}: removal, ${action ?? 'approved on the server'}`, () => connected(door, TOKEN_MANAGE, action, (client, seen) => removal(action, client, seen)));
  }
}
report.exit();
