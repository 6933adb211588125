//! What runs beside the verbs: a connection that is told of revocations by other nodes, and the keeper of the witness.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::AsyncMessage;
use tokio_postgres::tls::MakeTlsConnect;

use crate::StoreResult;
use crate::postgres::failures::told;
use crate::postgres::node::Node;
use crate::postgres::tls;
use crate::postgres::url::PostgresUrl;
use crate::postgres::witness::{Testimony, Witness};

/// How long after a connection was lost the next one is tried: meanwhile the feed is polled.
const PAUSE: Duration = Duration::from_secs(1);
/// How far the witness may be behind.
const WITNESS_DELAY: Duration = Duration::from_secs(1);

/// Listens for as long as it is polled, on one connection after another.
pub(super) async fn listen(url: PostgresUrl, node: Arc<Node>) {
    loop {
        match listen_once(&url, &node).await {
            Ok(()) => tracing::debug!("the connection that listens has ended"),
            Err(error) => tracing::debug!(error, "cannot listen for revocations of other nodes; they are polled for"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen_once(url: &PostgresUrl, node: &Node) -> Result<(), String> {
    let connector = tls::connector(url).map_err(|error| error.to_string())?;
    type Tls = <tokio_postgres_rustls::MakeRustlsConnect as MakeTlsConnect<tokio_postgres::Socket>>::Stream;
    let connected = url.config.connect(connector).await.map_err(|error| told(&error))?;
    let (client, mut connection): (_, tokio_postgres::Connection<tokio_postgres::Socket, Tls>) = connected;
    let mut listening = std::pin::pin!(client.batch_execute("LISTEN countersign"));
    let mut listens = false;
    loop {
        let message = tokio::select! {
            listened = &mut listening, if !listens => {
                listened.map_err(|error| told(&error))?;
                listens = true;
                continue;
            }
            message = poll_fn(|context| connection.poll_message(context)) => message,
        };
        match message {
            Some(Ok(AsyncMessage::Notification(_))) => node.wake(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(told(&error)),
            None => return Ok(()),
        }
    }
}

/// Keeps the witness not far behind, and never ahead.
pub(super) async fn testify(witness: Witness, node: Arc<Node>) {
    let mut written = None;
    loop {
        tokio::time::sleep(WITNESS_DELAY).await;
        let testimony = Testimony::of(node.id, node.memory());
        if node.check().is_err() || written.as_ref() == Some(&testimony) {
            continue;
        }
        match write(&witness, &testimony).await {
            Ok(()) => written = Some(testimony),
            Err(error) => tracing::warn!(%error, "could not write the witness file; it will be tried again"),
        }
    }
}

/// Writes the witness apart from the threads that serve.
pub(super) async fn write(witness: &Witness, testimony: &Testimony) -> StoreResult<()> {
    let (witness, testimony) = (witness.clone(), testimony.clone());
    let written = tokio::task::spawn_blocking(move || witness.write(&testimony)).await;
    written.unwrap_or_else(|_| Err(crate::StoreError::Internal("a thread of the store had died".to_owned())))
}
