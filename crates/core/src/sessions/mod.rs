//! Sessions: the refresh token, the decision that rotates it, and what makes a session live.

pub mod limit;
pub mod pruning;
pub mod recent;
pub mod refresh_token;
pub mod rotation;
pub mod stall;
pub mod state;
