//! `countersign account`: the accounts, for the operator.

use clap::{Args, Subcommand};
use countersign_core::accounts::{Account, Email, Username};
use countersign_core::roles::{Role, Roles};
use countersign_operations::accounts::{self, ManageError, NewRegistration, RegisterError};
use countersign_operations::administrators::Administrator;
use countersign_operations::{Operations, passwords, sessions};
use countersign_store::Store;
use serde::Serialize;

use super::output::{Console, Table, count, time};
use super::{Call, Failure, Missing, ask, session};

/// How many accounts are read at a time.
const PAGE: u32 = 500;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account
    ///
    /// The password is asked for on the terminal. Where standard input is no terminal, its first line is the password. It is
    /// never an argument: arguments show in the process list and in the history of the shell.
    Create(Create),
    /// List every account, in the order of their names
    List,
    #[command(flatten)]
    Change(Change),
}

#[derive(Subcommand)]
pub(super) enum Change {
    /// Set a password; every session of the account ends
    ///
    /// The password is asked for on the terminal. Where standard input is no terminal, its first line is the password.
    SetPassword(Named),
    /// Set the roles of an account, in place of those that it has
    ///
    /// Access tokens with the old roles are refused from now on; nobody is signed out, and the next refresh brings the new
    /// roles. The role Admin may administer this server; all others mean what your API takes them to mean.
    SetRoles {
        #[command(flatten)]
        account: Named,
        /// What the account may do: Admin, User, or any name of yours
        #[arg(value_name = "ROLE", required = true, value_parser = Role::parse)]
        roles: Vec<Role>,
    },
    /// Disable an account: it cannot sign in, and every session of it ends
    Disable(Named),
    /// Let a disabled account sign in again
    Enable(Named),
    /// End every session of an account; it can sign in again
    Revoke(Named),
}

#[derive(Args)]
pub(super) struct Create {
    /// The username: 2 to 64 characters, no spaces
    #[arg(value_name = "NAME", value_parser = Username::parse)]
    username: Username,
    /// The e-mail address
    #[arg(long, value_name = "ADDRESS", value_parser = Email::parse)]
    email: Email,
    /// Let it administer this server: the roles Admin and User instead of User alone
    #[arg(long)]
    admin: bool,
}

#[derive(Args)]
pub(super) struct Named {
    /// The username
    #[arg(value_name = "NAME", value_parser = Username::parse)]
    username: Username,
}

pub(super) async fn run(call: &mut Call<'_>, command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create(new) => {
            let opened = call.open(Missing::Make).await?;
            let outcome = create(&mut call.console, opened.operations(), new, json).await;
            outcome.and(opened.close().await.map_err(Failure::from))
        }
        Command::List => {
            let store = call.inspect().await?;
            let outcome = list(&mut call.console, &*store, json, PAGE).await;
            outcome.and(store.close().await.map_err(Failure::from))
        }
        Command::Change(command) => {
            let opened = call.open(Missing::Refuse).await?;
            let outcome = change(&mut call.console, opened.operations(), command, json).await;
            outcome.and(opened.close().await.map_err(Failure::from))
        }
    }
}

async fn change(
    console: &mut Console<'_>,
    operations: &Operations,
    command: Change,
    json: bool,
) -> Result<(), Failure> {
    match command {
        Change::SetPassword(Named { username }) => {
            let account = accounts::named(operations, username.as_str()).await?;
            let password = ask::new_password(account.username.as_str())?;
            passwords::set_by_operator(operations, username.as_str(), password).await?;
            let told = format!("The password of {username} is set. Every session of the account has ended.");
            show(console, operations, &username, json, told).await
        }
        Change::SetRoles { account: Named { username }, roles } => {
            let roles = Roles::parse(roles.iter().map(Role::as_str)).map_err(Failure::misused)?;
            let told = format!("{username} has {} now.", roles_in_words(&roles));
            let misspelt = misspelt(&roles);
            accounts::set_roles(operations, username.as_str(), roles).await?;
            if !json {
                misspelt.into_iter().for_each(|doubt| console.note(doubt));
            }
            show(console, operations, &username, json, told).await
        }
        Change::Disable(Named { username }) => {
            accounts::disable(operations, username.as_str()).await?;
            let told = format!("{username} is disabled. Every session of the account has ended.");
            show(console, operations, &username, json, told).await
        }
        Change::Enable(Named { username }) => {
            accounts::enable(operations, username.as_str()).await?;
            show(console, operations, &username, json, format!("{username} can sign in again.")).await
        }
        Change::Revoke(Named { username }) => {
            let revoked = sessions::revoke_account_by_operator(operations, username.as_str()).await?;
            let ended = count(revoked.sessions_ended, "session");
            session::show(console, &revoked, json, format_args!("Ended {ended} of {username}."))
        }
    }
}

async fn create(console: &mut Console<'_>, operations: &Operations, new: Create, json: bool) -> Result<(), Failure> {
    let Create { username, email, admin } = new;
    // Nobody should think of a password for an account that they cannot have.
    username.suits(&email).map_err(|error| Failure::misused(format!("the username {error}")))?;
    match accounts::named(operations, username.as_str()).await {
        Ok(_) => return Err(RegisterError::UsernameTaken.into()),
        Err(ManageError::NotFound(_)) => {}
        Err(error @ ManageError::Store(_)) => return Err(error.into()),
    }
    let new = NewRegistration {
        username: username.as_str().to_owned(),
        email: email.as_str().to_owned(),
        password: ask::new_password(username.as_str())?,
    };
    let roles = if admin { Roles::admin() } else { Roles::user() };
    let account = accounts::register_with_roles(operations, &Administrator::OPERATOR, new, roles).await?;
    if json {
        return console.json(&Shown::from(&account));
    }
    console.line(format_args!("Made the account {}, with {}.", account.username, roles_in_words(&account.roles)))
}

async fn list(console: &mut Console<'_>, store: &dyn Store, json: bool, page_size: u32) -> Result<(), Failure> {
    let mut table = Table::new(["NAME", "E-MAIL", "ROLES", "STATE", "CREATED"]);
    let mut after: Option<Username> = None;
    loop {
        let page = store.accounts(after.as_ref(), page_size).await?;
        if json {
            page.iter().try_for_each(|account| console.json(&Shown::from(account)))?;
        } else {
            table.print(console, page.iter().map(row).collect())?;
        }
        let is_last = page.len() < page_size as usize;
        match page.into_iter().next_back() {
            Some(account) => after = Some(account.username),
            None if after.is_none() && !json => {
                console.note("There is no account yet. Make one: countersign account create NAME --email ADDRESS");
            }
            None => {}
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The account as it is after a change.
async fn show(
    console: &mut Console<'_>,
    operations: &Operations,
    username: &Username,
    json: bool,
    told: String,
) -> Result<(), Failure> {
    if !json {
        return console.line(told);
    }
    let account = accounts::named(operations, username.as_str()).await?;
    console.json(&Shown::from(&account))
}

fn row(account: &Account) -> [String; 5] {
    [
        account.username.to_string(),
        account.email.as_str().to_owned(),
        account.roles.iter().collect::<Vec<_>>().join(", "),
        if account.disabled_at.is_some() { "disabled" } else { "active" }.to_owned(),
        time(account.created_at),
    ]
}

/// What to say of roles that are one of the server's but for upper and lower case. They may be meant: any name is a role.
fn misspelt(roles: &Roles) -> Vec<String> {
    let own =
        |role: &str| [Role::ADMIN, Role::USER].into_iter().find(|own| *own != role && own.eq_ignore_ascii_case(role));
    let near = roles.iter().filter_map(|role| Some((role, own(role)?)));
    near.map(|(role, own)| format!("{role} is a name of yours; the server's own is {own}.")).collect()
}

fn roles_in_words(roles: &Roles) -> String {
    let names: Vec<_> = roles.iter().collect();
    match names.as_slice() {
        [] => "no role".to_owned(),
        [only] => format!("the role {only}"),
        [first @ .., last] => format!("the roles {} and {last}", first.join(", ")),
    }
}

/// An account as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: String,
    username: &'a str,
    email: &'a str,
    roles: &'a Roles,
    created_at: String,
    disabled_at: Option<String>,
}

impl<'a> From<&'a Account> for Shown<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            id: account.id.to_string(),
            username: account.username.as_str(),
            email: account.email.as_str(),
            roles: &account.roles,
            created_at: time(account.created_at),
            disabled_at: account.disabled_at.map(time),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use countersign_core::accounts::PasswordHash;
    use countersign_core::events::Origin;
    use countersign_core::ids::AccountId;
    use countersign_store::Clock;
    use countersign_store::database::OpenMode;
    use countersign_store::sqlite::SqliteStore;
    use countersign_store::verbs::NewAccount;

    use super::*;

    #[tokio::test]
    async fn every_page_of_accounts_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("x.db"), OpenMode::Maintain, Clock::System).unwrap();
        let names = ["ada", "bea", "cia", "dea"];
        for (known, name) in names.iter().enumerate() {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            list(&mut Console::new(&mut out, &mut err), &store, false, 2).await.unwrap();
            let listed = String::from_utf8(out).unwrap();
            let listed: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(listed, names[..known]);
            assert_eq!(err.is_empty(), known > 0);

            let new = NewAccount {
                id: AccountId::from_bytes([u8::try_from(known).unwrap(); 16]),
                username: Username::parse(name).unwrap(),
                email: Email::parse(&format!("{name}@example.com")).unwrap(),
                password: PasswordHash::new("none".to_owned()),
                roles: Roles::user(),
                authority: None,
            };
            store.register(new, Origin::COMMAND_LINE).await.unwrap();
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        list(&mut Console::new(&mut out, &mut err), &store, true, 2).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), names.len());
        store.close().await.unwrap();
    }

    #[test]
    fn a_role_that_is_nearly_one_of_the_servers_is_doubted() {
        let doubts = |roles: &[&str]| misspelt(&Roles::parse(roles.iter().copied()).unwrap());
        assert_eq!(doubts(&["Admin", "User", "billing:read", "IsAdmin"]), Vec::<String>::new());
        let told = [
            "USER is a name of yours; the server's own is User.",
            "admin is a name of yours; the server's own is Admin.",
        ];
        assert_eq!(doubts(&["admin", "USER"]), told);
    }

    #[test]
    fn roles_are_read_out_as_a_person_would() {
        let words = |roles: &[&str]| roles_in_words(&Roles::parse(roles.iter().copied()).unwrap());
        assert_eq!(words(&[]), "no role");
        assert_eq!(words(&["User"]), "the role User");
        assert_eq!(words(&["User", "Admin"]), "the roles Admin and User");
        assert_eq!(words(&["a", "b", "c"]), "the roles a, b and c");
    }
}
