//! Administrators: who may administer this installation.

use countersign_core::events::Origin;
use countersign_core::ids::SessionId;

/// Somebody who may administer this installation: the proof that operations for administrators ask for.
#[derive(Clone, Copy, Debug)]
pub struct Administrator {
    pub(crate) origin: Origin,
    /// The session that has the role; `None` for the operator. What takes its time asks about it again when it writes.
    pub(crate) session: Option<SessionId>,
}

impl Administrator {
    /// The operator, on the command line: whoever can open the database needs no role in it.
    pub const OPERATOR: Self = Self { origin: Origin::COMMAND_LINE, session: None };
}

/// The caller may not do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only an administrator may do this")]
pub struct NotAdministrator;
