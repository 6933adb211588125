//! `countersign events`: what happened.

use std::collections::HashMap;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use countersign_core::accounts::{Account, Username};
use countersign_core::events::{Actor, Event, EventKind};
use countersign_core::ids::AccountId;
use countersign_operations::accounts::ManageError;
use countersign_store::verbs::EventQuery;
use countersign_store::{Store, StoreError};
use serde::Serialize;

use super::output::{Console, Format, Table, time};
use super::{Call, Failure};

/// How many events are read at a time.
const PAGE: u32 = 500;

#[derive(Args)]
pub(super) struct Events {
    /// Only what concerns this account
    #[arg(long, value_name = "NAME", value_parser = Username::parse)]
    account: Option<Username>,
    /// Only what is of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(EventKind::ALL.map(EventKind::as_str))
        .try_map(|name| EventKind::parse(&name).ok_or("no such kind")))]
    kind: Option<EventKind>,
    /// How many at the most
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only those older than the event with this id
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(call: &mut Call<'_>, command: Events) -> Result<(), Failure> {
    let store = call.inspect().await?;
    let outcome = list(&mut call.console, &*store, command, PAGE).await;
    outcome.and(store.close().await.map_err(Failure::from))
}

async fn list(console: &mut Console<'_>, store: &dyn Store, command: Events, page_size: u32) -> Result<(), Failure> {
    let Events { account, kind, limit, mut before, format } = command;
    let account = match account {
        Some(name) => Some(found(store.account_named(&name).await?, &name)?.id),
        None => None,
    };
    let mut names = Names { store, known: HashMap::new() };
    let mut table = Table::new(["ID", "TIME", "EVENT", "ACCOUNT", "BY", "FROM", "DETAIL"]);
    let mut left = limit;
    loop {
        let wanted = left.min(page_size);
        let page = store.events(EventQuery { account, kind, before, limit: wanted }).await?;
        let mut shown = Vec::with_capacity(page.len());
        for event in &page {
            shown.push(names.shown(event).await?);
        }
        if format.json {
            shown.iter().try_for_each(|event| console.json(event))?;
        } else {
            table.print(console, shown.iter().map(row).collect())?;
        }
        let Some(oldest) = page.last() else {
            if before.is_none() && !format.json {
                console.note("There is no such event.");
            }
            return Ok(());
        };
        before = Some(oldest.id);
        left = left.saturating_sub(page_size);
        if page.len() < wanted as usize {
            return Ok(());
        }
        if left == 0 {
            if !format.json {
                console.note(format_args!("There may be older ones: --before {}", oldest.id));
            }
            return Ok(());
        }
    }
}

fn found(account: Option<Account>, name: &Username) -> Result<Account, Failure> {
    account.ok_or_else(|| ManageError::NotFound(name.as_str().to_owned()).into())
}

/// The names of accounts, each asked for once.
struct Names<'a> {
    store: &'a dyn Store,
    known: HashMap<AccountId, Option<String>>,
}

impl Names<'_> {
    async fn of(&mut self, id: AccountId) -> Result<Who, StoreError> {
        let username = match self.known.get(&id) {
            Some(username) => username.clone(),
            None => {
                let username = self.store.account(id).await?.map(|account| account.username.as_str().to_owned());
                self.known.insert(id, username.clone());
                username
            }
        };
        Ok(Who { id: id.to_string(), username })
    }

    async fn shown(&mut self, event: &Event) -> Result<Shown, StoreError> {
        let account = match event.account {
            Some(id) => Some(self.of(id).await?),
            None => None,
        };
        let by = match event.origin.actor {
            Actor::Account(id) => By::Account(self.of(id).await?),
            Actor::Anonymous => By::Anonymous,
            Actor::CommandLine => By::CommandLine,
            Actor::Server => By::Server,
        };
        Ok(Shown {
            id: event.id,
            at: time(event.at),
            kind: event.kind,
            account,
            by,
            address: event.origin.address.map(|address| address.to_string()),
            session: event.session.map(|session| session.to_string()),
            detail: event.detail.clone(),
        })
    }
}

fn row(event: &Shown) -> [String; 7] {
    let or_none = |text: Option<&String>| text.map_or_else(|| "-".to_owned(), Clone::clone);
    [
        event.id.to_string(),
        event.at.clone(),
        event.kind.as_str().to_owned(),
        event.account.as_ref().map_or_else(|| "-".to_owned(), Who::name),
        match &event.by {
            By::Account(who) => who.name(),
            By::Anonymous => "anonymous".to_owned(),
            By::CommandLine => "command line".to_owned(),
            By::Server => "server".to_owned(),
        },
        or_none(event.address.as_ref()),
        event.detail.clone().unwrap_or_default(),
    ]
}

/// An event as scripts see it.
#[derive(Serialize)]
struct Shown {
    id: i64,
    at: String,
    kind: EventKind,
    account: Option<Who>,
    by: By,
    address: Option<String>,
    session: Option<String>,
    detail: Option<String>,
}

/// An account that an event names; it may be gone.
#[derive(Serialize)]
struct Who {
    id: String,
    username: Option<String>,
}

impl Who {
    fn name(&self) -> String {
        self.username.as_ref().unwrap_or(&self.id).clone()
    }
}

/// Who caused an event.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum By {
    Account(Who),
    Anonymous,
    CommandLine,
    Server,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use countersign_core::events::Origin;
    use countersign_store::Clock;
    use countersign_store::database::OpenMode;
    use countersign_store::sqlite::SqliteStore;

    use super::*;

    #[tokio::test]
    async fn as_many_as_were_asked_for_are_listed_over_pages() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("x.db"), OpenMode::Maintain, Clock::System).unwrap();
        for _ in 0..5 {
            store.refuse_sign_in(None, "test", Origin::SERVER).await.unwrap();
        }
        for (limit, listed, more) in [(1, 1, true), (2, 2, true), (4, 4, true), (5, 5, true), (9, 5, false)] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let command = Events { account: None, kind: None, limit, before: None, format: Format { json: false } };
            list(&mut Console::new(&mut out, &mut err), &store, command, 2).await.unwrap();
            assert_eq!(String::from_utf8(out).unwrap().lines().skip(1).count(), listed, "limit {limit}");
            assert_eq!(!err.is_empty(), more, "limit {limit}");
        }
        store.close().await.unwrap();
    }
}
