// Where better-auth stores: PostgreSQL, or SQLite in a folder.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { Pool } from 'pg';

// For each process.
const CONNECTIONS = Number(process.env.BENCH_CONNECTIONS ?? 16);

export async function open(folder) {
  const url = process.env.BENCH_DATABASE_URL;
  return url ? openPostgres(url) : openSqlite(folder);
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

function openSqlite(folder) {
  const database = new DatabaseSync(join(folder, 'auth.db'), { timeout: 10_000 });
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  const { journal_mode: journal } = database.prepare('PRAGMA journal_mode').get();
  const { synchronous } = database.prepare('PRAGMA synchronous').get();
  if (journal !== 'wal' || synchronous !== 2) {
    throw new Error(`SQLite is not durable here: journal_mode ${journal}, synchronous ${synchronous}`);
  }
  console.error(`process ${process.pid}: journal_mode ${journal}, synchronous ${synchronous}`);
  return { database, close: () => database.close() };
}
