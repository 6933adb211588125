//! Serving a router on a socket: bounded in time, in the size of a request's head and in the number of connections; and
//! stopping so that nobody's request breaks off.

mod doorkeeper;
mod files;
mod shutdown;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::{Handle, Server};
use tokio::net::{TcpListener, TcpSocket};

use doorkeeper::Doorkeeper;
pub use shutdown::{Shutdown, asked_to_stop};

use crate::rarely::Rarely;

/// The largest head of a request, in bytes: several times that of a request with the longest token.
const HEAD_BYTES: u32 = 32 * 1024;

/// Connections that wait for their turn to be accepted.
const BACKLOG: u32 = 1024;

/// How long a connection may do nothing useful.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the head of a request, the first as any later one on the same connection.
    head: Duration,
    /// For a client to take the next part of an answer.
    write: Duration,
    /// For the requests in flight when the server is asked to stop.
    grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), write: Duration::from_secs(20), grace: Duration::from_secs(30) }
    }
}

/// A bound socket: clients can connect already, and are answered once it serves.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    patience: Patience,
    places: usize,
}

impl Listener {
    /// Binds a socket; port 0 picks a free one. Call it within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The system's, as where another program has the port.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the last connections of the server before it; on Windows it means something else.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, patience: Patience::default(), places: files::connections() })
    }

    /// The address with the port that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` begins, then refuses new connections and finishes the requests in flight, for at most 30
    /// seconds.
    ///
    /// # Errors
    ///
    /// The system's. A connection that fails is none: the others go on.
    pub async fn serve(self, router: Router, shutdown: &Shutdown) -> io::Result<()> {
        let handle = Handle::new();
        let doorkeeper = Doorkeeper::new(self.places, self.patience.write);
        let (exhausted, crowded) = (Rarely::new(), Rarely::new());
        let mut server = Server::from_listener(self.socket)
            .handle(handle.clone())
            .acceptor(doorkeeper)
            .first_request_timeout(self.patience.head)
            .accept_error_handler(move |peer: Option<&SocketAddr>, error: &io::Error| {
                metrics::counter!("countersign_connections_refused_total").increment(1);
                // The server waits a moment and tries again, so one connection that closes is enough.
                let trouble = if peer.is_none() { &exhausted } else { &crowded };
                match (peer, trouble.is_time()) {
                    (None, Some(unsaid)) => tracing::error!(%error, unsaid, "cannot accept connections"),
                    (Some(_), Some(unsaid)) => tracing::warn!(%error, unsaid, "refusing connections"),
                    (_, None) => {}
                }
            });
        let builder = server.http_builder();
        builder.http1().header_read_timeout(self.patience.head).max_buf_size(HEAD_BYTES as usize);
        // Without TLS nobody negotiates HTTP/2; a connection of it would live for as long as it answers pings, and hold its place.
        *builder = builder.clone().http1_only();

        let serving = server.serve(router.into_make_service_with_connect_info::<SocketAddr>());
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => ended,
            () = shutdown.begun() => {
                handle.graceful_shutdown(Some(self.patience.grace));
                serving.await
            }
        }
    }
}

#[cfg(test)]
mod tests;
