// The application's accounts: oidc-provider has none of its own.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(scrypt);

export function makeAccounts(database, users) {
  database.exec('CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, salt BLOB, hash BLOB) WITHOUT ROWID');
  const { made } = database.prepare('SELECT count(*) AS made FROM account').get();
  if (made >= users) return;
  return fill(database, users);
}

// One hash serves all, since making them is not what is measured; each sign-in still derives it.
async function fill(database, users) {
  const salt = randomBytes(16);
  const hash = await derive('correct horse battery', salt, 32);
  const insert = database.prepare('INSERT OR REPLACE INTO account VALUES (?, ?, ?)');
  database.exec('BEGIN');
  for (let number = 0; number < users; number += 1) insert.run(`user${number}`, salt, hash);
  database.exec('COMMIT');
}

export function accountsOn(database) {
  const select = database.prepare('SELECT id, salt, hash FROM account WHERE id = ?');
  const known = ({ id }) => ({ accountId: id, claims: async () => ({ sub: id }) });
  return {
    find(id) {
      const row = select.get(id);
      return row && known(row);
    },
    async verified(id, password) {
      const row = select.get(id ?? '');
      if (!row) return undefined;
      const hash = await derive(password ?? '', row.salt, 32);
      return timingSafeEqual(hash, row.hash) ? known(row) : undefined;
    },
  };
}
