//! The one map from what operations refuse to what the wire says. Every match is exhaustive: a new refusal has to be named.

use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_operations::StoreError;
use countersign_operations::accounts::{InvalidRegistration, ManageError, RegisterError};
use countersign_operations::administrators::NotAdministrator;
use countersign_operations::callers::CallerError;
use countersign_operations::hashing::HashingError;
use countersign_operations::passwords::ChangeError;
use countersign_operations::readers::ReaderError;
use countersign_operations::revocations::Outdated;
use countersign_operations::sessions::{RefreshError, RevokeError, SignInError};
use countersign_operations::throttles::{Cause, Throttled};
use countersign_token::{SignError, VerifyError};

use crate::problem::{Code, FieldErrors, Problem};
use crate::rarely::Rarely;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => {
                static TROUBLE: Rarely = Rarely::new();
                unavailable(&TROUBLE, &reason, "the database is unavailable")
            }
            StoreError::Refused(reason) => {
                static TROUBLE: Rarely = Rarely::new();
                unavailable(&TROUBLE, &reason, "the database refuses this server")
            }
            StoreError::Restored(reason) => {
                static TROUBLE: Rarely = Rarely::new();
                let what = "the database has lost something: nothing is answered until every session has ended";
                unavailable(&TROUBLE, &reason.to_string(), what)
            }
            StoreError::Moved(reason) => {
                static TROUBLE: Rarely = Rarely::new();
                unavailable(&TROUBLE, &reason.to_string(), "nothing is answered from this database any more")
            }
            StoreError::Conflict(_) | StoreError::Corrupt(_) | StoreError::Schema(_) | StoreError::Internal(_) => {
                tracing::error!(%error, "the store failed");
                Self::new(Code::Internal)
            }
        }
    }
}

/// While a database is away this is the answer to every request: the log is told of the first of them, and then now and then.
fn unavailable(trouble: &Rarely, reason: &str, what: &str) -> Problem {
    match trouble.is_time() {
        Some(unsaid) => tracing::error!(reason, unsaid, "{what}"),
        None => tracing::debug!(reason, "{what}"),
    }
    Problem::new(Code::StoreUnavailable)
}

impl From<HashingError> for Problem {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy { retry_after } => Self::new(Code::ServerBusy).retry_after(retry_after),
            HashingError::Failed(reason) => {
                tracing::error!(reason, "a password could not be hashed");
                Self::new(Code::Internal)
            }
        }
    }
}

impl From<SignError> for Problem {
    fn from(error: SignError) -> Self {
        tracing::error!(%error, "an access token could not be signed");
        Self::new(Code::Internal)
    }
}

impl From<Throttled> for Problem {
    fn from(throttled: Throttled) -> Self {
        let code = match throttled.cause {
            Cause::Attempts | Cause::Strangers => Code::TooManyAttempts,
            Cause::UnderWay => Code::ServerBusy,
        };
        Self::new(code).retry_after(throttled.retry_after)
    }
}

impl From<NotAdministrator> for Problem {
    fn from(_: NotAdministrator) -> Self {
        Self::new(Code::Forbidden)
    }
}

impl From<CallerError> for Problem {
    fn from(error: CallerError) -> Self {
        match error {
            CallerError::Token(error) => Self::new(token_code(error)),
            CallerError::SessionDead(None) => Self::new(Code::SessionEnded),
            CallerError::SessionDead(Some(dead)) => Self::new(dead_code(dead)),
            CallerError::Outdated => Self::new(Code::AccountRevoked),
            CallerError::Store(error) => error.into(),
        }
    }
}

fn token_code(error: VerifyError) -> Code {
    match error {
        VerifyError::Malformed
        | VerifyError::TooLong
        | VerifyError::UnsupportedHeader
        | VerifyError::ClaimsMalformed => Code::TokenMalformed,
        VerifyError::UnsupportedAlgorithm => Code::AlgorithmNotAllowed,
        VerifyError::WrongType => Code::TokenTypeWrong,
        VerifyError::UnknownKey => Code::KeyUnknown,
        VerifyError::SignatureInvalid => Code::SignatureInvalid,
        VerifyError::IssuerMismatch => Code::IssuerMismatch,
        VerifyError::AudienceMismatch => Code::AudienceMismatch,
        VerifyError::Expired => Code::TokenExpired,
        VerifyError::NotYetValid => Code::TokenNotYetValid,
    }
}

fn dead_code(dead: Dead) -> Code {
    match dead {
        Dead::Ended(
            EndReason::SignedOut
            | EndReason::Revoked
            | EndReason::Replayed
            | EndReason::PasswordChanged
            | EndReason::SessionLimit,
        ) => Code::SessionRevoked,
        Dead::AccountRevoked => Code::AccountRevoked,
        Dead::EveryoneRevoked => Code::EveryoneRevoked,
        Dead::AccountDisabled => Code::AccountDisabled,
        Dead::IdleExpired | Dead::Expired => Code::SessionEnded,
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Invalid(InvalidRegistration { username, email, password }) => {
                let mut errors = FieldErrors::default();
                let fields = [
                    ("username", username.map(|error| error.to_string())),
                    ("email", email.map(|error| error.to_string())),
                    ("password", password.map(|error| error.to_string())),
                ];
                for (field, message) in fields {
                    if let Some(message) = message {
                        errors.add(field, message);
                    }
                }
                Self::validation(errors)
            }
            RegisterError::UsernameTaken => Self::new(Code::UsernameTaken),
            RegisterError::EmailTaken => Self::new(Code::EmailTaken),
            RegisterError::NotAdministrator(refused) => refused.into(),
            RegisterError::Closed => Self::new(Code::RegistrationClosed),
            RegisterError::Throttled(throttled) => throttled.into(),
            RegisterError::Hashing(error) => error.into(),
            RegisterError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::SessionDead => Self::new(Code::SessionRevoked),
            ChangeError::CurrentWrong => Self::new(Code::CurrentPasswordWrong),
            ChangeError::Unfit(error) => Self::validation(FieldErrors::one("newPassword", error.to_string())),
            ChangeError::Throttled(throttled) => throttled.into(),
            ChangeError::Hashing(error) => error.into(),
            ChangeError::Manage(ManageError::NotFound(_)) => Self::new(Code::AccountNotFound),
            ChangeError::Manage(ManageError::Store(error)) | ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::InvalidCredentials => Self::new(Code::InvalidCredentials),
            SignInError::AccountDisabled => Self::new(Code::AccountDisabled),
            SignInError::Throttled(throttled) => throttled.into(),
            SignInError::Hashing(error) => error.into(),
            SignInError::Signing(error) => error.into(),
            SignInError::Store(error) => error.into(),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Malformed(_) => Self::new(Code::RefreshTokenMalformed),
            RefreshError::RetryKey(error) => Self::validation(FieldErrors::one("retryKey", error.to_string())),
            RefreshError::AccessToken(_) => Self::new(Code::AccessTokenMismatch),
            RefreshError::Refused(refusal) => refusal.into(),
            RefreshError::Replayed(_) => Self::new(Code::RefreshTokenReplayed),
            RefreshError::Signing(error) => error.into(),
            RefreshError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownFamily | Refusal::Exhausted | Refusal::Dead(Dead::IdleExpired | Dead::Expired) => {
                Self::new(Code::RefreshTokenExpired)
            }
            Refusal::OtherClient => Self::new(Code::RefreshTokenMalformed),
            Refusal::AccessTokenMismatch => Self::new(Code::AccessTokenMismatch),
            Refusal::LateDuplicate => Self::new(Code::RefreshTokenLateDuplicate),
            // The second and every later use of a replayed token gets the same answer.
            Refusal::Dead(Dead::Ended(EndReason::Replayed)) => Self::new(Code::RefreshTokenReplayed),
            Refusal::Dead(Dead::Ended(EndReason::SignedOut)) => {
                Self::new(Code::RefreshTokenRevoked).detail("The session was signed out; sign in again.")
            }
            Refusal::Dead(Dead::Ended(EndReason::Revoked)) => Self::new(Code::RefreshTokenRevoked),
            Refusal::Dead(Dead::Ended(EndReason::PasswordChanged)) => Self::new(Code::RefreshTokenRevoked)
                .detail("The password was changed in another session; sign in again."),
            Refusal::Dead(Dead::Ended(EndReason::SessionLimit)) => Self::new(Code::RefreshTokenRevoked)
                .detail("The account has signed in too often since this session was last used; sign in again."),
            Refusal::Dead(Dead::AccountRevoked) => {
                Self::new(Code::RefreshTokenRevoked).detail("All sessions of the account were ended; sign in again.")
            }
            Refusal::Dead(Dead::EveryoneRevoked) => {
                Self::new(Code::RefreshTokenRevoked).detail("All sessions of everyone were ended; sign in again.")
            }
            Refusal::Dead(Dead::AccountDisabled) => {
                Self::new(Code::RefreshTokenRevoked).detail("The account is disabled.")
            }
        }
    }
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Forbidden => Self::new(Code::Forbidden),
            RevokeError::NotFound => Self::new(Code::AccountNotFound),
            RevokeError::Store(error) => error.into(),
        }
    }
}

impl From<Outdated> for Problem {
    fn from(outdated: Outdated) -> Self {
        static TROUBLE: Rarely = Rarely::new();
        unavailable(&TROUBLE, &outdated.to_string(), "readers are told that nothing is known")
    }
}

impl From<ReaderError> for Problem {
    fn from(error: ReaderError) -> Self {
        match error {
            ReaderError::Name => Self::validation(FieldErrors::one("name", error.to_string())),
            ReaderError::NotFound => Self::new(Code::ReaderNotFound),
            ReaderError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_away_does_not_fill_the_log() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let away = || Problem::from(StoreError::Unavailable("it does not answer".to_owned()));
        // Whatever another test has said is long ago.
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        for _ in 0..1000 {
            assert_eq!(away().code(), Code::StoreUnavailable);
        }
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        away();
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.lines().last().is_some_and(|line| line.contains("unsaid=999")), "{said}");
    }
}
