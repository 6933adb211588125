// SQLite that keeps what it commits.
import { DatabaseSync } from 'node:sqlite';

// Opens the file; each process has one connection.
export function openSqlite(file) {
  const database = new DatabaseSync(file, { timeout: 10_000 });
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  const { journal_mode: journal } = database.prepare('PRAGMA journal_mode').get();
  const { synchronous } = database.prepare('PRAGMA synchronous').get();
  if (journal !== 'wal' || synchronous !== 2) {
    throw new Error(`SQLite is not durable here: journal_mode ${journal}, synchronous ${synchronous}`);
  }
  console.error(`process ${process.pid}: journal_mode ${journal}, synchronous ${synchronous}`);
  return database;
}
