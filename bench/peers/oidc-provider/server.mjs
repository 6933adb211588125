// Serves oidc-provider:  server.mjs PORT DATADIR
import cluster from 'node:cluster';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { accountsOn, makeAccounts } from './accounts.mjs';
import { makeTables, open } from './adapter.mjs';
import { makeProvider } from './provider.mjs';

const [port, folder] = process.argv.slice(2);
const workers = Number(process.env.BENCH_WORKERS ?? 1);

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

async function serve() {
  const database = open(folder);
  const provider = makeProvider({
    issuer: `http://127.0.0.1:${port}`,
    database,
    accounts: accountsOn(database),
    secrets: secretsIn(join(folder, 'secrets.json')),
  });
  const server = createServer({ keepAliveTimeout: 60_000 }, provider.callback());
  server.listen(Number(port), '127.0.0.1');
  await once(server, 'listening');
}

const ready = () => console.log(`oidc-provider listening on http://127.0.0.1:${port}`);

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
  ready();
}
