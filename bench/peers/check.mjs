// Checks that a peer does what its description says:  node/node check.mjs PEER [SESSIONS SECONDS]
//
// It signs in, refreshes many times, presents a used token again (which must be refused), kills the peer and goes on with
// the token that was answered last (which must still be good), and at the end refreshes for a while with many sessions at
// once. With BENCH_DATABASE_URL the peer keeps its data there.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request as send } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const [peer, sessions = '64', seconds = '5'] = process.argv.slice(2);
const folder = join(dirname(fileURLToPath(import.meta.url)), peer);
const protocol = JSON.parse(readFileSync(join(folder, 'protocol.json'), 'utf8'));
const steps = [protocol.sign_in].flat();

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// ---- the peer ----

async function start(port, data) {
  const began = performance.now();
  const environment = { ...process.env, BENCH_USERS: sessions };
  const child = spawn(join(folder, 'start'), [String(port), data], {
    detached: true,
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const first = once(createInterface({ input: child.stdout }), 'line');
  const [line] = await Promise.race([first, once(child, 'exit').then(() => ['(it ended)'])]);
  if (line !== `${protocol.name} listening on http://127.0.0.1:${port}`) throw new Error(`it says: ${line}`);
  console.log(`ready after ${Math.round(performance.now() - began)} ms`);
  return child;
}

async function end(child, signal) {
  const ended = once(child, 'exit');
  if (signal === 'SIGKILL') process.kill(-child.pid, signal);
  else child.kill(signal);
  await ended;
}

// ---- one session ----

const escapes = {
  form: encodeURIComponent,
  json: (text) => JSON.stringify(text).slice(1, -1),
  undefined: (text) => text,
};

const fill = (template, known) =>
  template.replace(/\{([a-z][a-z0-9_]*)(?:\|([a-z]+))?\}/g, (_, name, filter) => {
    if (known.values[name] === undefined) throw new Error(`${name} was never taken`);
    return escapes[filter](known.values[name]);
  });

async function exchange(port, known, step) {
  const headers = Object.fromEntries(Object.entries(step.headers ?? {}).map(([name, text]) => [name, fill(text, known)]));
  const cookies = [...known.jar].map(([name, value]) => `${name}=${value}`);
  if (cookies.length > 0) headers.cookie = cookies.join('; ');
  const body = step.body === undefined ? undefined : fill(step.body, known);
  if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
  const path = fill(step.path, known).replace(/^https?:\/\/[^/]+/, '');
  const { agent } = known;
  const asked = send({ host: '127.0.0.1', port, method: step.method, path, headers, agent });
  asked.end(body);
  const [answer] = await once(asked, 'response');
  let text = '';
  for await (const part of answer.setEncoding('utf8')) text += part;
  return { answer, text };
}

const parameter = (answer, name) => new URL(answer.headers.location, 'http://x').searchParams.get(name);

function found(place, { answer, text }) {
  const [kind, name] = [place.slice(0, place.indexOf(':')), place.slice(place.indexOf(':') + 1)];
  if (kind === 'json') return name.slice(1).split('/').reduce((value, key) => value?.[key], JSON.parse(text));
  if (kind === 'header') return answer.headers[name];
  if (kind === 'query') return parameter(answer, name);
  const cookie = (answer.headers['set-cookie'] ?? []).find((line) => line.startsWith(`${name}=`));
  return cookie?.slice(name.length + 1).split(';')[0];
}

async function take(port, known, step) {
  const given = await exchange(port, known, step);
  const { answer, text } = given;
  if (answer.statusCode !== (step.expect_status ?? 200)) {
    throw new Error(`${step.method} ${step.path}: ${answer.statusCode} ${text} ${answer.headers.location ?? ''}`);
  }
  for (const line of protocol.jar ? (answer.headers['set-cookie'] ?? []) : []) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value === '' || /;\s*max-age=0\b/i.test(line)) known.jar.delete(name);
    else known.jar.set(name, value);
  }
  for (const [name, place] of Object.entries(step.take ?? {})) {
    const value = found(place, given);
    if (value === undefined || value === null || value === '') throw new Error(`${name} is not in ${text}`);
    if (step.changes?.includes(name) && known.values[name] === String(value)) throw new Error(`${name} is the same again`);
    known.values[name] = String(value);
  }
}

async function signIn(port, number) {
  const fresh = () => ({ values: { n: String(number) }, jar: new Map(), agent: new Agent({ keepAlive: true, maxSockets: 1 }) });
  let known = fresh();
  for (const step of protocol.setup ?? []) await take(port, known, step);
  known = fresh();
  for (const step of steps) await take(port, known, step);
  return known;
}

// ---- the checks ----

async function refreshed(port, known, times) {
  for (let time = 0; time < times; time += 1) await take(port, known, protocol.refresh);
}

async function refusedWhenUsed(port, number) {
  const known = await signIn(port, number);
  await refreshed(port, known, 20);
  const used = { ...known, values: { ...known.values }, jar: new Map(known.jar) };
  await refreshed(port, known, 1);
  const { answer, text } = await exchange(port, used, protocol.refresh);
  if (answer.statusCode < 400) throw new Error(`a used token was taken: ${answer.statusCode} ${text}`);
  const after = await exchange(port, known, protocol.refresh);
  const family = after.answer.statusCode < 400 ? 'the successor is still good' : 'the whole session is ended';
  console.log(`a used token is refused (${answer.statusCode} ${text.slice(0, 120)}), and ${family}`);
}

async function load(port) {
  const all = [];
  for (let number = 0; number < Number(sessions); number += 1) all.push(await signIn(port, number));
  await Promise.all(all.map((known) => refreshed(port, known, 3)));
  const times = [];
  const began = performance.now();
  const until = began + Number(seconds) * 1000;
  await Promise.all(
    all.map(async (known) => {
      while (performance.now() < until) {
        const at = performance.now();
        await refreshed(port, known, 1);
        times.push(performance.now() - at);
      }
    }),
  );
  const rate = (times.length * 1000) / (performance.now() - began);
  times.sort((a, b) => a - b);
  const [p50, p99] = [0.5, 0.99].map((part) => times[Math.floor(times.length * part)].toFixed(1));
  console.log(`${sessions} sessions: ${rate.toFixed(0)} refreshes/s, p50 ${p50} ms, p99 ${p99} ms (roughly)`);
}

const installed = spawnSync(join(folder, 'install'), { stdio: ['ignore', 2, 'inherit'] });
if (installed.status !== 0) process.exit(1);
const data = mkdtempSync(join(tmpdir(), 'bench-peer.'));
const port = await freePort();
let child = await start(port, data);
try {
  await refusedWhenUsed(port, 0);
  const known = await signIn(port, 1);
  await refreshed(port, known, 50);
  if (protocol.guarded) await take(port, known, protocol.guarded);
  await end(child, 'SIGKILL');
  child = await start(port, data);
  known.agent = new Agent({ keepAlive: true });
  await refreshed(port, known, 1);
  console.log('the token answered before a kill is good after it');
  await load(port);
} finally {
  await end(child, 'SIGTERM');
  rmSync(data, { recursive: true });
}
console.log('1 passed, 0 failed');
process.exit(0);
