//! The codes: what a client may rely on when something goes wrong.

use std::time::Duration;

use http::StatusCode;

/// What a code means on the wire.
struct Meaning {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
}

/// Declares each code once: its name, its status, its title and the detail that is told where a caller has no better.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $title:literal, $detail:literal;)*) => {
        /// Every way in which a request can be refused or fail. A code, once published, keeps its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $title, ".")] $(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            const fn meaning(self) -> Meaning {
                match self {
                    $(Self::$name => Meaning {
                        code: $code,
                        status: StatusCode::$status,
                        title: $title,
                        detail: $detail,
                    },)*
                }
            }
        }
    };
}

codes! {
    ValidationFailed = "validation_failed", BAD_REQUEST,
        "The request is not valid", "At least one field is missing or not valid; `errors` names them.";
    JsonMalformed = "json_malformed", BAD_REQUEST,
        "The body is not a JSON object", "The body must be one JSON object.";
    BodyUnreadable = "body_unreadable", BAD_REQUEST,
        "The body did not arrive", "The body broke off or its framing is not valid.";
    ContentTypeUnsupported = "content_type_unsupported", UNSUPPORTED_MEDIA_TYPE,
        "The content type is not supported", "Send the body with `Content-Type: application/json`.";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE,
        "The body is too large", "A body may have at most 64 KiB.";
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT,
        "The request took too long to arrive", "The body did not arrive in time.";
    NotFound = "not_found", NOT_FOUND,
        "Nothing is here", "No resource has this address.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "The method is not allowed", "This resource does not answer this method; `Allow` lists those that it does.";

    UsernameTaken = "username_taken", CONFLICT,
        "The user name is taken", "Another account has this user name.";
    EmailTaken = "email_taken", CONFLICT,
        "The e-mail address is taken", "Another account has this e-mail address.";
    RegistrationClosed = "registration_closed", FORBIDDEN,
        "Registration is closed", "Accounts of this server are made by its administrators.";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED,
        "The credentials are not valid", "The user name or the password is wrong.";
    CurrentPasswordWrong = "current_password_wrong", BAD_REQUEST,
        "The current password is wrong", "The current password is not the one given.";
    AccountNotFound = "account_not_found", NOT_FOUND,
        "There is no such account", "No account has this user name.";
    SessionNotFound = "session_not_found", NOT_FOUND,
        "There is no such session", "No session of yours has this id.";
    ReaderNotFound = "reader_not_found", NOT_FOUND,
        "There is no such reader", "No reader of the revocation feed has this id.";

    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS,
        "Too many attempts", "Wait as long as `Retry-After` says, then try again.";
    ServerBusy = "server_busy", SERVICE_UNAVAILABLE,
        "The server is busy", "Wait as long as `Retry-After` says, then try again.";
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE,
        "The database cannot be reached", "Wait as long as `Retry-After` says, then try again.";
    Internal = "internal", INTERNAL_SERVER_ERROR,
        "Something went wrong here", "The fault is the server's; `traceId` finds it in its log.";

    TokenMissing = "token_missing", UNAUTHORIZED,
        "An access token is needed", "Send an access token as `Authorization: Bearer`.";
    TokenMalformed = "token_malformed", UNAUTHORIZED,
        "The access token is not valid", "The token is not a well-formed access token.";
    AlgorithmNotAllowed = "algorithm_not_allowed", UNAUTHORIZED,
        "The access token is not valid", "The token's algorithm is not allowed for its key.";
    TokenTypeWrong = "token_type_wrong", UNAUTHORIZED,
        "The access token is not valid", "The token is not an access token.";
    KeyUnknown = "key_unknown", UNAUTHORIZED,
        "The access token is not valid", "The token's key is not known here.";
    SignatureInvalid = "signature_invalid", UNAUTHORIZED,
        "The access token is not valid", "The token's signature is not valid.";
    IssuerMismatch = "issuer_mismatch", UNAUTHORIZED,
        "The access token is not valid", "The token was issued by another issuer.";
    AudienceMismatch = "audience_mismatch", UNAUTHORIZED,
        "The access token is not valid", "The token is meant for another audience.";
    TokenNotYetValid = "token_not_yet_valid", UNAUTHORIZED,
        "The access token is not valid yet", "The token is not valid yet.";
    TokenExpired = "token_expired", UNAUTHORIZED,
        "The access token has expired", "The token has expired; refresh it.";
    SessionRevoked = "session_revoked", UNAUTHORIZED,
        "The session has ended", "The token's session has ended; sign in again.";
    AccountRevoked = "account_revoked", UNAUTHORIZED,
        "The account's tokens were revoked", "The account was revoked or its roles changed; refresh or sign in again.";
    EveryoneRevoked = "everyone_revoked", UNAUTHORIZED,
        "All tokens were revoked", "All tokens issued before were revoked; sign in again.";
    SessionEnded = "session_ended", UNAUTHORIZED,
        "The session has ended", "The session has reached its end; sign in again.";
    AccountDisabled = "account_disabled", UNAUTHORIZED,
        "The account is disabled", "The account is disabled.";
    ReaderUnauthorized = "reader_unauthorized", UNAUTHORIZED,
        "A reader's secret is needed", "The revocation feed wants the reader secret or a reader key.";
    Forbidden = "forbidden", FORBIDDEN,
        "You may not do this", "The account of this token may not do this.";

    RefreshTokenMalformed = "refresh_token_malformed", BAD_REQUEST,
        "The refresh token is not valid", "The refresh token was not made here.";
    RefreshTokenExpired = "refresh_token_expired", BAD_REQUEST,
        "The refresh token has expired", "The session was not used for too long or reached its end; sign in again.";
    RefreshTokenRevoked = "refresh_token_revoked", BAD_REQUEST,
        "The refresh token was revoked", "The session was ended; sign in again.";
    RefreshTokenReplayed = "refresh_token_replayed", BAD_REQUEST,
        "The refresh token was used before", "Somebody used the token twice, so the session was ended; sign in again.";
    RefreshTokenLateDuplicate = "refresh_token_late_duplicate", BAD_REQUEST,
        "The request came twice", "This request was answered before and the answer was used; use the newest token.";
    AccessTokenMismatch = "access_token_mismatch", BAD_REQUEST,
        "The access token does not fit", "The access token is not genuine or belongs to another session.";
}

impl Code {
    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.meaning().code
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.meaning().status
    }

    /// What every problem of this code is called.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.meaning().title
    }

    /// The explanation that is given where there is no closer one.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        self.meaning().detail
    }

    /// The code with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// When to try again where nobody knows better: what passes by itself passes soon.
    pub(super) fn retry_after(self) -> Option<Duration> {
        matches!(self.status().as_u16(), 429 | 503).then_some(Duration::from_secs(1))
    }

    /// What `WWW-Authenticate` says, if anything (RFC 6750 §3).
    pub(super) const fn challenge(self) -> Challenge {
        match self {
            // RFC 6750 §3.1: without a token, nothing is said about an error. RFC 9110 §15.5.2: a 401 has a challenge.
            Self::TokenMissing | Self::InvalidCredentials | Self::ReaderUnauthorized => Challenge::Plain,
            Self::Forbidden => Challenge::Error("insufficient_scope"),
            _ if self.status().as_u16() == 401 => Challenge::Error("invalid_token"),
            _ => Challenge::None,
        }
    }
}

/// A challenge for the scheme Bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// None: the request does not fail for want of a token.
    None,
    /// The scheme alone.
    Plain,
    /// The scheme with this error.
    Error(&'static str),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_found_by_name() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
        assert_eq!(Code::parse("Internal"), None);
    }

    #[test]
    fn a_detail_fits_into_a_challenge() {
        // RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E.
        let fits = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\';
        for code in Code::ALL {
            assert!(code.detail().bytes().all(fits), "{code:?}");
        }
    }

    #[test]
    fn every_401_has_a_challenge() {
        for code in Code::ALL {
            let challenged = code.challenge() != Challenge::None;
            assert_eq!(challenged, matches!(code.status().as_u16(), 401) || *code == Code::Forbidden, "{code:?}");
        }
    }

    #[test]
    fn every_code_of_the_token_crate_is_known() {
        use countersign_token::VerifyError as E;
        use countersign_token::revocation::RevokedReason as R;
        let verify = [
            E::Malformed,
            E::TooLong,
            E::UnsupportedAlgorithm,
            E::UnsupportedHeader,
            E::WrongType,
            E::UnknownKey,
            E::SignatureInvalid,
            E::IssuerMismatch,
            E::AudienceMismatch,
            E::Expired,
            E::NotYetValid,
            E::ClaimsMalformed,
        ];
        let revoked = [R::Session, R::Account, R::Everyone];
        for name in verify.into_iter().map(E::code).chain(revoked.into_iter().map(R::code)) {
            assert_eq!(Code::parse(name).unwrap().status(), StatusCode::UNAUTHORIZED, "{name}");
        }
    }
}
