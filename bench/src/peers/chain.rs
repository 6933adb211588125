//! Sessions of a peer: signed in, and renewed one refresh after the other.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::protocol::{Known, Protocol, Request};
use crate::chains::Asking;
use crate::drive::Chain;
use crate::http::{Answer, Client};

/// Signs in sessions, one a user.
pub(crate) fn sign_in(protocol: &Protocol, address: SocketAddr, sessions: usize) -> anyhow::Result<Vec<Renewing>> {
    protocol.refresh.insist_on_changes()?;
    let refresh = Arc::new(protocol.refresh.clone());
    let mut chains = Vec::new();
    for number in 0..sessions {
        let mut known = protocol.known(number);
        let mut client = Client::new(address);
        for request in &protocol.setup {
            send(request, &mut client, &mut known).with_context(|| format!("setup of user {number}"))?;
        }
        let mut known = protocol.known(number);
        for request in protocol.sign_in() {
            send(request, &mut client, &mut known).with_context(|| format!("sign-in of user {number}"))?;
        }
        // Whether it can be written shows before it is measured.
        refresh.write(&known, &mut Vec::new())?;
        chains.push(Renewing { refresh: Arc::clone(&refresh), known });
    }
    Ok(chains)
}

fn send(request: &Request, client: &mut Client, known: &mut Known) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    request.write(known, &mut bytes)?;
    client.exchange(&bytes, |answer| {
        request.judge(known, answer).with_context(|| format!("a wrong answer: {}", answer.shown()))
    })
}

/// A session that is refreshed again and again.
pub(crate) struct Renewing {
    refresh: Arc<Request>,
    known: Known,
}

impl Renewing {
    /// The request that its access token authorizes, if the peer has one.
    pub(crate) fn guarded(&self, protocol: &Protocol) -> anyhow::Result<Option<Asking>> {
        let Some(request) = &protocol.guarded else { return Ok(None) };
        let mut bytes = Vec::new();
        request.write(&self.known, &mut bytes)?;
        Ok(Some(Asking::bytes(bytes)))
    }
}

impl Chain for Renewing {
    const KINDS: &'static [&'static str] = &["refreshes"];

    fn ask(&mut self, to: &mut Vec<u8>) {
        // It could be written when the session was signed in, and nothing that is known is forgotten.
        let _ = self.refresh.write(&self.known, to);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize> {
        self.refresh.judge(&mut self.known, answer)?;
        Ok(0)
    }
}
