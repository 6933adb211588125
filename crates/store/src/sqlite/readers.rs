//! The readers: a few threads with a connection each, so that no read holds up the async runtime or the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::disk::Disk;
use crate::sqlite::state;

/// How many reads may wait. More than that is a pile-up: the callers are told at once.
const QUEUE: usize = 4096;

/// Hands reads to the threads.
pub(super) struct Readers {
    queue: SyncSender<Message>,
    threads: usize,
    disk: Disk,
    serves: bool,
}

enum Message {
    Read(Box<dyn FnOnce(&Connection) + Send>),
    /// Ends one thread.
    Close,
}

impl Readers {
    /// Starts one thread for each connection. Where it `serves`, nothing is read from a database that has moved.
    pub(super) fn start(
        connections: Vec<Connection>,
        disk: Disk,
        serves: bool,
    ) -> StoreResult<(Self, Vec<JoinHandle<()>>)> {
        let (queue, messages) = sync_channel(QUEUE);
        let messages = Arc::new(Mutex::new(messages));
        let threads = connections.len();
        let handles = connections.into_iter().map(|connection| {
            let messages = Arc::clone(&messages);
            let thread = Builder::new().name("store-reader".to_owned()).spawn(move || serve(&connection, &messages));
            thread.map_err(|error| StoreError::Unavailable(format!("cannot start a reader: {error}")))
        });
        let handles = handles.collect::<StoreResult<Vec<_>>>()?;
        Ok((Self { queue, threads, disk, serves }, handles))
    }

    /// Reads what is committed now. Each statement sees the database as it is at one moment.
    pub(super) async fn run<T, F>(&self, read: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (disk, serves) = (self.disk.clone(), self.serves);
        let read = move |connection: &Connection| {
            disk.holds()?;
            if serves {
                state::stays(connection)?;
            }
            read(connection)
        };
        let work = move |connection: &Connection| {
            let result = catch_unwind(AssertUnwindSafe(|| read(connection)))
                .unwrap_or_else(|_| Err(StoreError::Internal("a read panicked".to_owned())));
            // It fails where nobody waits any more.
            let _ = reply.send(result);
        };
        self.queue.try_send(Message::Read(Box::new(work))).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Unavailable("too many reads are waiting".to_owned()),
            TrySendError::Disconnected(_) => StoreError::closed(),
        })?;
        answer.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    /// The messages that end the threads after what was sent before. It may block while the queue is full.
    pub(super) fn closing(&self) -> impl FnOnce() + Send + 'static {
        let (queue, threads) = (self.queue.clone(), self.threads);
        move || {
            for _ in 0..threads {
                // It fails where the threads have ended: that is what was wanted.
                let _ = queue.send(Message::Close);
            }
        }
    }
}

fn serve(connection: &Connection, messages: &Mutex<Receiver<Message>>) {
    loop {
        // One thread waits for the next message, the others for their turn to wait.
        let message = messages.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match message {
            Ok(Message::Read(work)) => work(connection),
            Ok(Message::Close) | Err(_) => return,
        }
    }
}
