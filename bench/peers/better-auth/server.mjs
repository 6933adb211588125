// Serves better-auth:  server.mjs PORT DATADIR
import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { betterAuth } from 'better-auth';
import { toNodeHandler } from 'better-auth/node';

import { optionsFor } from './auth.mjs';
import { open } from './database.mjs';
import { makeClientAndUsers, makeTables } from './setup.mjs';

const [port, folder] = process.argv.slice(2);
const workers = Number(process.env.BENCH_WORKERS ?? 2);

function secretIn(file) {
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}

async function opened() {
  const { database, close } = await open(folder);
  return { options: optionsFor({ database, port, secret: secretIn(join(folder, 'secret')) }), close };
}

async function prepare() {
  const { options, close } = await opened();
  await makeTables(options);
  await makeClientAndUsers(betterAuth(options), Number(process.env.BENCH_USERS ?? 64));
  await close();
}

async function serve() {
  const { options } = await opened();
  const auth = betterAuth(options);
  await auth.$context;
  const server = createServer({ keepAliveTimeout: 60_000 }, toNodeHandler(auth));
  server.listen(Number(port), '127.0.0.1');
  await once(server, 'listening');
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    for (const worker of Object.values(cluster.workers ?? {})) worker.process.kill('SIGTERM');
    process.exit(0);
  });
}

if (cluster.isWorker) {
  await serve();
} else {
  await prepare();
  if (workers === 1) {
    await serve();
  } else {
    cluster.on('exit', () => process.exit(1));
    const started = Array.from({ length: workers }, () => once(cluster.fork(), 'listening'));
    await Promise.all(started);
  }
  console.log(`better-auth listening on http://127.0.0.1:${port}`);
}
