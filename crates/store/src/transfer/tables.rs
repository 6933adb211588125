//! What is copied: every table but the row that there is once and what a back-end keeps for itself.

/// A table, by the name and with the columns that it has in every back-end.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    /// How many of the columns, from the first on, are its key.
    pub(crate) key: usize,
    /// Its key is given out by the database.
    pub(crate) is_numbered: bool,
}

/// A column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 16 bytes, which some back-ends have a type of their own for.
    Id,
    Bytes,
    Integer,
    Text,
}

/// A value on its way. It may be a secret, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Id([u8; 16]),
    Bytes(Vec<u8>),
    Integer(i64),
    Text(String),
}

/// The values of a row, or of its key, in the order of the columns.
pub(crate) type Row = Vec<Value>;

impl Table {
    /// The names of all columns, as a statement lists them.
    pub(crate) fn list(&self) -> String {
        list(self.columns)
    }

    /// The names of the columns of the key, as a statement lists them.
    pub(crate) fn key_list(&self) -> String {
        list(&self.columns[..self.key])
    }
}

fn list(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

const fn id(name: &'static str) -> Column {
    Column { name, kind: Kind::Id }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes }
}

const fn integer(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn table(name: &'static str, columns: &'static [Column]) -> Table {
    Table { name, columns, key: 1, is_numbered: false }
}

const fn numbered(name: &'static str, columns: &'static [Column]) -> Table {
    Table { name, columns, key: 1, is_numbered: true }
}

/// Every table, in an order in which no row refers to one that has still to come.
pub(crate) static TABLES: &[Table] = &[
    table(
        "accounts",
        &[
            id("id"),
            text("username"),
            text("username_canonical"),
            text("email"),
            text("email_canonical"),
            text("roles"),
            text("password_hash"),
            bytes("rehashed_from"),
            integer("session_epoch"),
            integer("claims_version"),
            integer("disabled_at"),
            integer("created_at"),
        ],
    ),
    table("sessions", &[id("id"), id("account"), text("device"), bytes("address"), integer("created_at")]),
    table(
        "families",
        &[
            id("id"),
            id("session"),
            id("account"),
            integer("born_global"),
            integer("born_session"),
            integer("session_expires_at"),
            integer("ended_at"),
            text("end_reason"),
            text("client"),
            integer("generation"),
            bytes("current_hash"),
            bytes("previous_hash"),
            bytes("nonce"),
            bytes("retry_hash"),
            integer("rotated_at"),
            integer("idle_expires_at"),
            integer("access_expires_at"),
            integer("reissues"),
            integer("reissue_streak"),
            integer("older_generation"),
            integer("older_at"),
            integer("newer_generation"),
            integer("newer_at"),
        ],
    ),
    numbered(
        "keys",
        &[
            integer("id"),
            text("key_use"),
            text("kid"),
            text("algorithm"),
            bytes("sealed"),
            integer("created_at"),
            integer("active_from"),
            integer("verifies_until"),
        ],
    ),
    table("readers", &[id("id"), text("name"), bytes("key_hash"), integer("created_at")]),
    numbered(
        "events",
        &[
            integer("id"),
            integer("at"),
            text("kind"),
            text("actor"),
            id("actor_account"),
            bytes("address"),
            id("account"),
            id("session"),
            text("detail"),
            integer("feed_seq"),
            text("feed_scope"),
            integer("feed_version"),
            integer("feed_expires_at"),
        ],
    ),
    table("throttles", &[bytes("bucket"), integer("spent_until")]),
    Table { name: "lanes", columns: &[id("node"), integer("lane"), integer("commit_seq")], key: 2, is_numbered: false },
    table("incarnations", &[id("incarnation"), integer("left_at")]),
];
