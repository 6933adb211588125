// Serves better-auth:  server.mjs PORT DATADIR
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { betterAuth } from 'better-auth';
import { toNodeHandler } from 'better-auth/node';

import { run } from '../node/workers.mjs';
import { optionsFor } from './auth.mjs';
import { open } from './database.mjs';
import { makeClientAndUsers, makeTables } from './setup.mjs';

const [port, folder] = process.argv.slice(2);

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

async function handler() {
  const { options } = await opened();
  const auth = betterAuth(options);
  await auth.$context;
  return toNodeHandler(auth);
}

await run({ name: 'better-auth', port, workers: Number(process.env.BENCH_WORKERS ?? 2), prepare, handler });
