// What the TypeScript conversations share: checks, a report, and calls that must succeed or be refused.

class Failed extends Error {}

export const sleep = ms => new Promise(done => setTimeout(done, ms));

export function check(holds, message) {
  if (!holds) throw new Failed(message);
}

export function same(got, want, what) {
  check(got === want, `${what}: expected ${JSON.stringify(want)}, got ${JSON.stringify(got)}`);
}

// A word that no other conversation uses, so that searches find this one's text only.
export function tag() {
  return Array.from({ length: 9 }, () => 'bcdfghklmnprstvz'[Math.floor(Math.random() * 16)]).join('');
}

export async function must(client, name, args = {}) {
  const result = await client.callTool({ name, arguments: args });
  check(!result.isError, `${name} failed: ${JSON.stringify(result.structuredContent ?? result.content)}`);
  check(result.structuredContent, `${name} gave no structured content`);
  return result.structuredContent;
}

export async function refused(client, code, name, args = {}) {
  const result = await client.callTool({ name, arguments: args });
  check(result.isError, `${name} was not refused: ${JSON.stringify(result)}`);
  same(result.structuredContent?.code, code, `code of the refused ${name}`);
  return result.structuredContent;
}

const outcome = { passed: 0, failed: 0 };

// Runs one scenario and prints its line; a failed one does not hide the next.
export async function report(label, scenario, withinMs = 60_000) {
  const begun = Date.now();
  const seconds = () => `${((Date.now() - begun) / 1000).toFixed(1)} s`;
  let timer;
  try {
    const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Failed(`not done within ${withinMs} ms`)), withinMs); });
    await Promise.race([scenario(), late]);
    outcome.passed++;
    console.log(`  ok    ${label} (${seconds()})`);
  } catch (error) {
    outcome.failed++;
    const place = error instanceof Failed ? '' : ` ${String(error.stack).split('\n').find(line => line.includes('tests/peers') || line.includes('.mjs:'))?.trim() ?? ''}`;
    console.log(`  FAIL  ${label} (${seconds()}): ${error.message}${place}`);
  } finally {
    clearTimeout(timer);
  }
}

report.exit = () => {
  console.log(`  ${outcome.passed} scenarios passed, ${outcome.failed} failed`);
  process.exit(outcome.failed ? 1 : 0);
};
