// Serves oidc-provider:  server.mjs PORT DATADIR
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { run } from '../node/workers.mjs';
import { accountsOn, makeAccounts } from './accounts.mjs';
import { makeTables, open } from './adapter.mjs';
import { makeProvider } from './provider.mjs';

const [port, folder] = process.argv.slice(2);

function secretsIn(file) {
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: '1' };
    writeFileSync(file, JSON.stringify({ key, cookies: randomBytes(32).toString('hex') }), { mode: 0o600 });
  }
  return JSON.parse(readFileSync(file, 'utf8'));
}

async function prepare() {
  const database = open(folder);
  makeTables(database);
  await makeAccounts(database, Number(process.env.BENCH_USERS ?? 64));
  database.close();
  secretsIn(join(folder, 'secrets.json'));
}

async function handler() {
  const database = open(folder);
  const provider = makeProvider({
    issuer: `http://127.0.0.1:${port}`,
    database,
    accounts: accountsOn(database),
    secrets: secretsIn(join(folder, 'secrets.json')),
  });
  return provider.callback();
}

await run({ name: 'oidc-provider', port, workers: Number(process.env.BENCH_WORKERS ?? 1), prepare, handler });
