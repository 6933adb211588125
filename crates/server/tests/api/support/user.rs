//! What a user does: register, log in, refresh.

use serde_json::{Value, json};

use super::{Answer, Server, claims};

/// The password of every account of these tests.
pub(crate) const PASSWORD: &str = "a quiet lamp by the window";

/// The tokens of one session.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    /// The session that they belong to.
    pub(crate) fn session(&self) -> String {
        claims(&self.access)["sid"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn from(body: &Value, access: &str) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}: {body}")).to_owned();
        Self { access: text(access), refresh: text("refreshToken") }
    }
}

/// The tokens of an answer to a refresh.
#[track_caller]
pub(crate) fn refreshed(answer: Answer) -> Tokens {
    Tokens::from(&answer.expect(200).json(), "accessToken")
}

impl Server {
    pub(crate) fn try_register(&self, name: &str) -> Answer {
        let body = json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD });
        self.post("/api/auth/register").json(&body).send()
    }

    #[track_caller]
    pub(crate) fn register(&self, name: &str) {
        self.try_register(name).expect(200);
    }

    pub(crate) fn try_log_in(&self, name: &str, password: &str) -> Answer {
        self.post("/api/auth/login").json(&json!({ "username": name, "password": password })).send()
    }

    #[track_caller]
    pub(crate) fn log_in(&self, name: &str) -> Tokens {
        Tokens::from(&self.try_log_in(name, PASSWORD).expect(200).json(), "token")
    }

    /// A new account that is signed in.
    #[track_caller]
    pub(crate) fn user(&self, name: &str) -> Tokens {
        self.register(name);
        self.log_in(name)
    }

    pub(crate) fn refresh(&self, refresh_token: &str) -> Answer {
        self.refresh_with(&json!({ "refreshToken": refresh_token }))
    }

    pub(crate) fn refresh_keyed(&self, refresh_token: &str, retry_key: &str) -> Answer {
        self.refresh_with(&json!({ "refreshToken": refresh_token, "retryKey": retry_key }))
    }

    pub(crate) fn refresh_with(&self, body: &Value) -> Answer {
        self.post("/api/auth/refresh-token").json(body).send()
    }
}
