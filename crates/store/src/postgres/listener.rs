//! A connection beside the verbs that is told of revocations by other nodes.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::AsyncMessage;
use tokio_postgres::tls::MakeTlsConnect;

use crate::postgres::failures::told;
use crate::postgres::node::Node;
use crate::postgres::tls;
use crate::postgres::url::PostgresUrl;

/// How long after a connection was lost the next one is tried: meanwhile the feed is polled.
const PAUSE: Duration = Duration::from_secs(1);

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
