//! Random commands, on the store and on the model: every answer and every state must be the same.

use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::ids::SessionId;
use countersign_core::roles::Roles;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{RefreshToken, RetryKey};
use countersign_core::sessions::state::EndReason;
use countersign_store::verbs::{Begun, Ended, PasswordChange, Registered, Rotate, RotatedIn};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::cases::model::{Model, Told};
use crate::harness::Harness;
use crate::world::{STRANGER, World, hash, rotated};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const KEYS: [&str; 2] = ["the first key of 16 bytes", "the other key of 16 bytes"];

/// How many sessions of an account may live: few, so that some have to make room.
const SESSION_LIMIT: u32 = 2;

#[derive(Clone, Debug)]
enum Command {
    Register(Index),
    SignIn { account: Index, right: bool, stronger: bool },
    Refresh { session: Index, token: Presented, key: Option<Index> },
    End { account: Index, session: Index },
    RevokeAccount(Index),
    RevokeEveryone,
    SetRoles(Index, bool),
    Disable(Index),
    Enable(Index),
    WritePassword { account: Index, right: Option<bool>, keep: Option<Index> },
    Pass(Duration),
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Presented {
    /// That many generations before the newest that was handed out.
    Back(usize),
    /// One that was never handed out.
    Ahead,
    /// The current generation with another secret, where the chain has just begun.
    Forged,
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let index = any::<Index>;
    let presented = prop_oneof![
        20 => Just(Presented::Back(0)),
        8 => Just(Presented::Back(1)),
        3 => (2usize..5).prop_map(Presented::Back),
        1 => Just(Presented::Ahead),
        1 => Just(Presented::Forged),
    ];
    let seconds = prop_oneof![8 => 0u64..30, 4 => 30u64..120, 2 => 200u64..400, 1 => 500_000u64..700_000];
    let command = prop_oneof![
        2 => index().prop_map(Command::Register),
        8 => (index(), prop::bool::weighted(0.9), prop::bool::weighted(0.1))
            .prop_map(|(account, right, stronger)| Command::SignIn { account, right, stronger }),
        30 => (index(), presented, proptest::option::weighted(0.4, index()))
            .prop_map(|(session, token, key)| Command::Refresh { session, token, key }),
        2 => (index(), index()).prop_map(|(account, session)| Command::End { account, session }),
        1 => index().prop_map(Command::RevokeAccount),
        1 => Just(Command::RevokeEveryone),
        2 => (index(), any::<bool>()).prop_map(|(account, admin)| Command::SetRoles(account, admin)),
        1 => index().prop_map(Command::Disable),
        2 => index().prop_map(Command::Enable),
        2 => (index(), proptest::option::of(prop::bool::weighted(0.8)), proptest::option::of(index()))
            .prop_map(|(account, right, keep)| Command::WritePassword { account, right, keep }),
        8 => seconds.prop_map(|seconds| Command::Pass(Duration::from_secs(seconds))),
        1 => Just(Command::Restart),
    ];
    vec(command, 10..60)
}

pub(crate) fn agrees_with_the_core<H: Harness>() {
    run(48, async |commands| {
        let mut run = Run::<H>::begin().await;
        for command in commands {
            run.step(command).await;
            run.compare().await;
        }
        run.compare_history().await;
    });
}

/// Both are held against the core after each command, so they give the same answers as each other.
pub(crate) fn agree_with_each_other<A: Harness, B: Harness>() {
    run(24, async |commands| {
        let (mut one, mut other) = (Run::<A>::begin().await, Run::<B>::begin().await);
        for command in commands {
            one.step(command).await;
            other.step(command).await;
            one.compare().await;
            other.compare().await;
            assert_eq!(one.chains, other.chains, "the same tokens were handed out");
        }
        one.compare_history().await;
        other.compare_history().await;
        assert_eq!(one.world.feed().await, other.world.feed().await);
    });
}

fn run(cases: u32, drive: impl AsyncFn(&[Command])) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&commands(), |commands| {
        runtime.block_on(drive(&commands));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

struct Run<H> {
    world: World<H>,
    model: Model,
    /// Every token that was handed out, by session, oldest first.
    chains: Vec<(SessionId, Vec<RefreshToken>)>,
    passwords: usize,
}

impl<H: Harness> Run<H> {
    async fn begin() -> Self {
        let world = World::<H>::new().await;
        let position = world.store().feed_position().await.unwrap();
        let model = Model::new(world.now(), position);
        let mut run = Self { world, model, chains: vec![], passwords: 0 };
        let first = run.world.new_account("zoe");
        run.model.register(first.clone());
        run.world.store().register(first, STRANGER).await.unwrap();
        run
    }

    async fn step(&mut self, command: &Command) {
        let store = self.world.store();
        match command {
            Command::Register(name) => {
                let new = self.world.new_account(NAMES[name.index(NAMES.len())]);
                let answer: Registered = store.register(new.clone(), STRANGER).await.unwrap();
                assert_eq!(answer, self.model.register(new));
            }
            Command::SignIn { account, right, stronger } => self.sign_in(account, *right, *stronger).await,
            Command::Refresh { session, token, key } => self.refresh(session, *token, key.as_ref()).await,
            Command::End { account, session } => {
                let Some(session) = self.pick_session(session) else { return };
                let ended = Ended { account: self.pick(account), session, reason: EndReason::SignedOut };
                assert_eq!(store.end_session(ended, STRANGER).await.unwrap(), self.model.end(&ended));
            }
            Command::RevokeAccount(account) => {
                let id = self.pick(account);
                let answer = store.revoke_account(id, STRANGER).await.unwrap();
                assert_eq!(answer, Some(self.model.revoke_account(id)));
            }
            Command::RevokeEveryone => {
                assert_eq!(store.revoke_everyone(STRANGER).await.unwrap(), self.model.revoke_everyone());
            }
            Command::SetRoles(account, admin) => {
                let (id, roles) = (self.pick(account), if *admin { Roles::admin() } else { Roles::user() });
                let answer = store.set_roles(id, roles.clone(), STRANGER).await.unwrap();
                assert_eq!(answer, Some(self.model.set_roles(id, roles)));
            }
            Command::Disable(account) => {
                let id = self.pick(account);
                assert_eq!(store.disable_account(id, STRANGER).await.unwrap(), Some(self.model.disable(id)));
            }
            Command::Enable(account) => {
                let id = self.pick(account);
                assert_eq!(store.enable_account(id, STRANGER).await.unwrap(), Some(()));
                self.model.enable(id);
            }
            Command::WritePassword { account, right, keep } => {
                self.write_password(account, *right, keep.as_ref()).await;
            }
            Command::Pass(duration) => {
                self.world.advance(*duration);
                self.model.now = self.world.now();
            }
            Command::Restart => self.world.harness.restart().await,
        }
    }

    async fn sign_in(&mut self, account: &Index, right: bool, stronger: bool) {
        let held = account.get(&self.model.accounts);
        let mut begin = self.world.begin(held.account.id);
        begin.session_limit = NonZeroU32::new(SESSION_LIMIT);
        begin.verified = if right { held.password.clone() } else { hash("wrong") };
        if stronger {
            self.passwords += 1;
            begin.rehashed = Some(hash(&format!("stronger {}", self.passwords)));
        }
        let answer = self.world.store().begin_session(begin.clone(), STRANGER).await.unwrap();
        assert_eq!(answer, self.model.begin(&begin));
        if let Begun::Live(granted, _) = answer {
            self.chains.push((granted.session, vec![begin.token]));
        }
    }

    async fn refresh(&mut self, session: &Index, token: Presented, key: Option<&Index>) {
        if self.chains.is_empty() {
            return;
        }
        let (_, chain) = &self.chains[session.index(self.chains.len())];
        let newest = chain.last().unwrap();
        let token = match token {
            Presented::Back(generations) => chain[chain.len().saturating_sub(1 + generations)].clone(),
            Presented::Ahead => newest.successor(&[0xAA; 16]).unwrap(),
            Presented::Forged => RefreshToken::first(newest.family, Secret::new([0xEE; 32])),
        };
        let mut rotate: Rotate = self.world.presentation(&token);
        rotate.presented.retry_key = key.map(|key| RetryKey::parse(KEYS[key.index(KEYS.len())]).unwrap());
        let answer = rotated(&*self.world.store(), rotate.clone()).await.unwrap();
        assert_eq!(answer, self.model.rotate(&rotate));
        if let RotatedIn::Rotated(_, successor) = answer {
            assert_eq!(self.model.family(successor.family).generation, successor.generation);
            let at = session.index(self.chains.len());
            self.chains[at].1.push(successor);
        }
    }

    async fn write_password(&mut self, account: &Index, right: Option<bool>, keep: Option<&Index>) {
        let held = account.get(&self.model.accounts);
        self.passwords += 1;
        let change = PasswordChange {
            account: held.account.id,
            expected: right.map(|right| if right { held.password.clone() } else { hash("wrong") }),
            new: hash(&format!("changed {}", self.passwords)),
            keep: keep.and_then(|keep| self.pick_session(keep)),
        };
        let answer = self.world.store().write_password(change.clone(), STRANGER).await.unwrap();
        assert_eq!(answer, self.model.write_password(&change));
    }

    fn pick(&self, account: &Index) -> countersign_core::ids::AccountId {
        account.get(&self.model.accounts).account.id
    }

    fn pick_session(&self, session: &Index) -> Option<SessionId> {
        if self.chains.is_empty() { None } else { Some(session.get(&self.chains).0) }
    }

    /// Accounts and sessions are as the model has them.
    async fn compare(&self) {
        let store = self.world.store();
        assert_eq!(store.feed_position().await.unwrap(), self.model.position);
        for held in &self.model.accounts {
            let found = store.credentials_of(held.account.id).await.unwrap().unwrap();
            assert_eq!((found.account, found.password), (held.account.clone(), held.password.clone()));
            for listed in store.sessions(held.account.id, 1000).await.unwrap() {
                let (session, family) =
                    self.model.sessions.iter().find(|(session, _)| session.id == listed.id).unwrap();
                assert_eq!(listed.dead, self.model.dead(session, family.idle_expires_at));
            }
        }
        for (session, _) in &self.model.sessions {
            let answer = store.session_account(session.id).await.unwrap();
            assert_eq!(answer, self.model.session_account(session));
        }
    }

    /// Events and the feed are as the model has them.
    async fn compare_history(&self) {
        assert_eq!(self.world.feed().await, self.model.feed);
        let told: Vec<Told> =
            self.world.events().await.iter().map(|event| (event.kind, event.account, event.session)).collect();
        assert_eq!(told, self.model.events);
    }
}
