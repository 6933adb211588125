//! `POST /api/auth/register` and `/register-admin`.

use serde_json::json;

use crate::support::{PASSWORD, Server, Settings, at_once};

#[test]
fn an_account_has_the_role_user() {
    let server = Server::start();
    let answer = server.try_register("alice").expect(200);
    assert_eq!(answer.json(), json!({ "status": "Success", "message": "User created successfully!" }));
    let me = server.me(&server.log_in("alice").access).expect(200).json();
    assert_eq!((&me["username"], &me["email"]), (&json!("alice"), &json!("alice@example.com")));
    assert_eq!(me["roles"], json!(["User"]));
}

#[test]
fn the_tutorials_pascal_case_is_understood() {
    let server = Server::start();
    let account = json!({ "Username": "alice", "Email": "alice@example.com", "Password": PASSWORD });
    server.post("/api/auth/register").json(&account).send().expect(200);
    let login = json!({ "Username": "alice", "Password": PASSWORD, "Device": "desk" });
    let tokens = server.post("/api/auth/login").json(&login).send().expect(200).json();
    let (access, refresh) = (tokens["token"].as_str().unwrap(), &tokens["refreshToken"]);
    let pair = json!({ "AccessToken": access, "RefreshToken": refresh, "RetryKey": "0123456789abcdef" });
    let tokens = server.refresh_with(&pair).expect(200).json();
    let change = json!({ "CurrentPassword": PASSWORD, "NewPassword": "another lamp by the door" });
    let access = tokens["accessToken"].as_str().unwrap();
    server.post("/api/auth/change-password").bearer(access).json(&change).send().expect(204);
    let reader = json!({ "Name": "weather" });
    let admin = server.admin().access;
    server.post("/api/auth/revocation-readers").bearer(&admin).json(&reader).send().expect(200);
}

#[test]
fn a_field_for_roles_grants_nothing() {
    let server = Server::start();
    let wishes = json!({
        "username": "mallory", "email": "mallory@example.com", "password": PASSWORD,
        "roles": ["Admin"], "Roles": ["Admin"], "role": "Admin", "isAdmin": true, "id": 1, "claimsVersion": 9,
    });
    server.post("/api/auth/register").json(&wishes).send().expect(200);
    let mallory = server.log_in("mallory");
    assert_eq!(server.me(&mallory.access).expect(200).json()["roles"], json!(["User"]));
    server.post("/api/auth/revoke-all").bearer(&mallory.access).send().refused(403, "forbidden");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let server = Server::start();
    let wrong = json!({ "username": "a b", "email": "nowhere", "password": "short" });
    let problem = server.post("/api/auth/register").json(&wrong).send().refused(400, "validation_failed");
    let errors = problem["errors"].as_object().unwrap();
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["email", "password", "username"], "{problem}");
    for common in ["password", "12345678", "qwertyuiop"] {
        let account = json!({ "username": "alice", "email": "alice@example.com", "password": common });
        let problem = server.post("/api/auth/register").json(&account).send().refused(400, "validation_failed");
        assert!(problem["errors"]["password"].is_array(), "{common}: {problem}");
    }
}

#[test]
fn a_taken_name_or_address_is_a_conflict() {
    let server = Server::start();
    server.register("alice");
    for name in ["alice", "ALICE", "Alice"] {
        let account = json!({ "username": name, "email": "other@example.com", "password": PASSWORD });
        server.post("/api/auth/register").json(&account).send().refused(409, "username_taken");
    }
    let account = json!({ "username": "bob", "email": "Alice@Example.com", "password": PASSWORD });
    server.post("/api/auth/register").json(&account).send().refused(409, "email_taken");
    // Nobody can sit on the address of somebody else by taking it for a name.
    let account = json!({ "username": "carol@example.com", "email": "dave@example.com", "password": PASSWORD });
    server.post("/api/auth/register").json(&account).send().refused(400, "validation_failed");
}

#[test]
fn of_many_at_once_one_gets_the_name() {
    let server = Server::start();
    let answers = at_once(8, |number| {
        let email = format!("{number}@example.com");
        let account = json!({ "username": "alice", "email": email, "password": PASSWORD });
        server.post("/api/auth/register").json(&account).send()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.refused(409, "username_taken");
    }
}

#[test]
fn where_registration_is_closed_only_an_admin_makes_accounts() {
    let server = Settings::new().with("registration", "closed").start();
    server.try_register("alice").refused(403, "registration_closed");
    let admin = server.admin();
    let account = json!({ "username": "second", "email": "second@example.com", "password": PASSWORD });
    server.post("/api/auth/register-admin").bearer(&admin.access).json(&account).send().expect(200);
    server.log_in("second");
}

#[test]
fn only_an_admin_registers_an_admin() {
    let server = Server::start();
    let account = json!({ "username": "second", "email": "second@example.com", "password": PASSWORD });
    let register = || server.post("/api/auth/register-admin").json(&account);
    register().send().refused(401, "token_missing");
    let user = server.user("alice");
    register().bearer(&user.access).send().refused(403, "forbidden");
    // The refusals made nobody.
    server.try_log_in("second", PASSWORD).refused(401, "invalid_credentials");

    let admin = server.admin();
    assert_eq!(server.me(&admin.access).expect(200).json()["roles"], json!(["Admin", "User"]));
    let answer = register().bearer(&admin.access).send().expect(200);
    assert_eq!(answer.json()["status"], "Success");
    let second = server.log_in("second");
    assert_eq!(server.me(&second.access).expect(200).json()["roles"], json!(["Admin", "User"]));
    register().bearer(&admin.access).send().refused(409, "username_taken");
    let other = json!({ "username": "third", "email": "SECOND@example.com", "password": PASSWORD });
    let register_other = server.post("/api/auth/register-admin").bearer(&admin.access).json(&other);
    register_other.send().refused(409, "email_taken");
    let unfit = json!({ "username": "third", "email": "third@example.com", "password": "short" });
    let register_unfit = server.post("/api/auth/register-admin").bearer(&admin.access).json(&unfit);
    register_unfit.send().refused(400, "validation_failed");
}
