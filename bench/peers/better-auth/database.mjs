// Where better-auth stores: PostgreSQL, or SQLite in a folder.
import { join } from 'node:path';

import { Pool } from 'pg';

import { openSqlite } from '../node/durable.mjs';

// For each process.
const CONNECTIONS = Number(process.env.BENCH_CONNECTIONS ?? 16);

export async function open(folder) {
  const url = process.env.BENCH_DATABASE_URL;
  if (url) return openPostgres(url);
  const database = openSqlite(join(folder, 'auth.db'));
  return { database, close: () => database.close() };
}

async function openPostgres(url) {
  const pool = new Pool({ connectionString: url, max: CONNECTIONS });
  const shown = async (name) => (await pool.query(`SHOW ${name}`)).rows[0][name];
  const [fsync, commit] = [await shown('fsync'), await shown('synchronous_commit')];
  if (fsync !== 'on' || commit !== 'on') {
    throw new Error(`PostgreSQL is not durable here: fsync ${fsync}, synchronous_commit ${commit}`);
  }
  console.error(`process ${process.pid}: fsync ${fsync}, synchronous_commit ${commit}`);
  return { database: pool, close: () => pool.end() };
}
