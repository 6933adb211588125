// What oidc-provider stores, in SQLite: every call is a transaction of its own, and durable when it returns.
import { join } from 'node:path';

import { openSqlite } from '../node/durable.mjs';

export const open = (folder) => openSqlite(join(folder, 'oidc.db'));

export function makeTables(database) {
  database.exec(`
    CREATE TABLE IF NOT EXISTS stored (
      model      TEXT NOT NULL,
      id         TEXT NOT NULL,
      payload    TEXT NOT NULL,
      grant_id   TEXT,
      uid        TEXT,
      user_code  TEXT,
      consumed   INTEGER,
      expires_at INTEGER,
      PRIMARY KEY (model, id)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS stored_grant ON stored (grant_id) WHERE grant_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS stored_uid ON stored (uid) WHERE uid IS NOT NULL;
    CREATE INDEX IF NOT EXISTS stored_user_code ON stored (user_code) WHERE user_code IS NOT NULL;
  `);
}

const now = () => Math.floor(Date.now() / 1000);

// The class that oidc-provider makes one of for each model, as its adapter template describes it.
export function adapterOn(database) {
  const columns = 'payload, consumed, expires_at';
  const upsert = database.prepare(`
    INSERT INTO stored (model, id, payload, grant_id, uid, user_code, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id, uid = excluded.uid,
      user_code = excluded.user_code, expires_at = excluded.expires_at`);
  const find = database.prepare(`SELECT ${columns} FROM stored WHERE model = ? AND id = ?`);
  const findByUid = database.prepare(`SELECT ${columns} FROM stored WHERE uid = ? AND model = ?`);
  const findByUserCode = database.prepare(`SELECT ${columns} FROM stored WHERE user_code = ? AND model = ?`);
  const consume = database.prepare('UPDATE stored SET consumed = ? WHERE model = ? AND id = ?');
  const destroy = database.prepare('DELETE FROM stored WHERE model = ? AND id = ?');
  const revoke = database.prepare('DELETE FROM stored WHERE grant_id = ? AND model = ?');

  const read = (row) => {
    if (!row || (row.expires_at !== null && row.expires_at <= now())) return undefined;
    const payload = JSON.parse(row.payload);
    return row.consumed === null ? payload : { ...payload, consumed: row.consumed };
  };

  return class SqliteAdapter {
    constructor(model) {
      this.model = model;
    }

    async upsert(id, payload, expiresIn) {
      const expiresAt = expiresIn ? now() + expiresIn : null;
      const { grantId = null, uid = null, userCode = null } = payload;
      upsert.run(this.model, id, JSON.stringify(payload), grantId, uid, userCode, expiresAt);
    }

    async find(id) {
      return read(find.get(this.model, id));
    }

    async findByUid(uid) {
      return read(findByUid.get(uid, this.model));
    }

    async findByUserCode(userCode) {
      return read(findByUserCode.get(userCode, this.model));
    }

    async consume(id) {
      consume.run(now(), this.model, id);
    }

    async destroy(id) {
      destroy.run(this.model, id);
    }

    async revokeByGrantId(grantId) {
      revoke.run(grantId, this.model);
    }
  };
}
