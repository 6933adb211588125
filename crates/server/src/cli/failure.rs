//! Why a command did not do what it was asked: a message and an exit code.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use countersign_operations::accounts::{InvalidRegistration, ManageError, RegisterError};
use countersign_operations::keys::KeyError;
use countersign_operations::passwords::ChangeError;
use countersign_operations::readers::ReaderError;
use countersign_operations::sessions::RevokeError;
use countersign_store::StoreError;

use crate::config::WrongSettings;
use crate::installation::OpenError;

/// A command that ends early. Only where the message is still to be told does it have one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    exit: Exit,
    message: Option<String>,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    /// It did not work; the same call may work later.
    Failed,
    /// The command line or a setting is wrong, so the same call fails again.
    Misused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            Exit::Misused => Self::from(2),
        }
    }
}

impl Failure {
    pub(super) fn failed(message: impl Display) -> Self {
        Self { exit: Exit::Failed, message: Some(message.to_string()) }
    }

    pub(super) fn misused(message: impl Display) -> Self {
        Self { exit: Exit::Misused, message: Some(message.to_string()) }
    }

    /// The command has told already, in its own form, what is wrong.
    pub(super) const fn told(exit: Exit) -> Self {
        Self { exit, message: None }
    }

    /// Standard output cannot be written to. A reader that went away, such as `head`, has what it wanted.
    pub(super) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::told(Exit::Done);
        }
        Self::failed(format!("standard output cannot be written to: {error}"))
    }

    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl From<WrongSettings> for Failure {
    fn from(error: WrongSettings) -> Self {
        Self::misused(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Settings(_) | OpenError::Audience(_) => Self::misused(error),
            OpenError::Database(..)
            | OpenError::Store(_)
            | OpenError::Start(_)
            | OpenError::KeyFile(_)
            | OpenError::Hashing(_) => Self::failed(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error)
    }
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::NotFound(_) => Self::failed(format!("{error}; `countersign account list` shows all")),
            ManageError::Store(_) => Self::failed(error),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Invalid(fields) => Self::from(fields),
            RegisterError::UsernameTaken => Self::failed("the username is taken; choose another"),
            RegisterError::EmailTaken => Self::failed("another account has this e-mail address"),
            RegisterError::Closed
            | RegisterError::NotAdministrator(_)
            | RegisterError::Throttled(_)
            | RegisterError::Hashing(_)
            | RegisterError::Store(_) => Self::failed(error),
        }
    }
}

/// The names are arguments and the password is not: a password that is unfit alone is no misuse of the command line.
impl From<InvalidRegistration> for Failure {
    fn from(fields: InvalidRegistration) -> Self {
        let InvalidRegistration { username, email, password } = fields;
        let exit = if username.is_some() || email.is_some() { Exit::Misused } else { Exit::Failed };
        let told = [
            username.map(|error| format!("the username {error}")),
            email.map(|error| format!("the e-mail address {error}")),
            password.map(|error| format!("the password {error}")),
        ];
        Self { exit, message: Some(told.into_iter().flatten().collect::<Vec<_>>().join("; ")) }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unfit(unfit) => Self::failed(format!("the password {unfit}")),
            ChangeError::Manage(error) => Self::from(error),
            ChangeError::CurrentWrong
            | ChangeError::SessionDead
            | ChangeError::Throttled(_)
            | ChangeError::Hashing(_)
            | ChangeError::Store(_) => Self::failed(error),
        }
    }
}

impl From<RevokeError> for Failure {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::NotFound => Self::failed(format!("{error}; `countersign account list` shows all")),
            RevokeError::Forbidden | RevokeError::Store(_) => Self::failed(error),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::failed(error)
    }
}

impl From<ReaderError> for Failure {
    fn from(error: ReaderError) -> Self {
        match error {
            ReaderError::Name => Self::misused(format!("the name of a reader {error}")),
            ReaderError::NotFound => Self::failed(format!("{error}; `countersign reader list` shows all")),
            ReaderError::Store(_) => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::accounts::InvalidEmail;
    use countersign_core::passwords::WeakPassword;
    use countersign_operations::accounts::UnfitPassword;

    use super::*;

    #[test]
    fn every_fault_of_a_registration_is_told_at_once() {
        let password = Some(UnfitPassword::Weak(WeakPassword::TooShort(8)));
        let alone = Failure::from(InvalidRegistration { password, ..InvalidRegistration::default() });
        assert_eq!(alone, Failure::failed("the password must have at least 8 characters"));
        let both = InvalidRegistration { email: Some(InvalidEmail::Form), password, username: None };
        assert_eq!(
            Failure::from(both),
            Failure::misused(
                "the e-mail address must be an address such as name@example.com; the password must have at least 8 characters"
            )
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        assert_eq!(Failure::output(&io::ErrorKind::BrokenPipe.into()), Failure::told(Exit::Done));
        assert_eq!(Failure::output(&io::ErrorKind::StorageFull.into()).exit(), Exit::Failed);
    }
}
