//! Sessions: signing in, refreshing, and the three sizes of revocation.

mod end;
mod refresh;
mod sign_in;

pub use end::{
    RevokeError, Revoked, end_one, list, revoke_account, revoke_account_by_operator, revoke_everyone, sign_out,
};
pub use refresh::{Refresh, RefreshError, refresh};
pub use sign_in::{SignIn, SignInError, sign_in};

/// The most characters of a device's name that are kept.
pub const DEVICE_CHARS: usize = 128;

/// The most sessions that a list shows.
pub const LISTED: u32 = 200;
