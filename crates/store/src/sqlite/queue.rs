//! What waits for the writer. Its thread sleeps until a bell is rung, so that what is about to come as well need not wake it again.
//!
//! Each thread that sends has a bell of its own: where one comes to a standstill, nobody else waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How many messages may wait. More than that is a pile-up: the callers are told at once.
const ROOM: usize = 4096;

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    /// The thread has ended.
    Closed,
}

/// What the thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<M> {
    /// What has come, in its order; never nothing.
    Messages(VecDeque<M>),
    /// The time is over.
    Nothing,
    /// There will be none.
    End,
}

/// A queue whose thread takes so many messages at once, and is woken for as many whether somebody rings or not.
pub(super) fn queue<M>(at_once: usize) -> (Sender<M>, Receiver<M>) {
    let state = State { messages: VecDeque::new(), bells: Vec::new(), rung: false, senders: 1, has_receiver: true };
    let shared = Arc::new(Shared { state: Mutex::new(state), rings: Condvar::new(), at_once });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The end that sends.
pub(super) struct Sender<M>(Arc<Shared<M>>);

/// The end of the thread.
pub(super) struct Receiver<M>(Arc<Shared<M>>);

/// Rings when it is dropped.
pub(super) struct Bell<M> {
    shared: Arc<Shared<M>>,
    of: ThreadId,
}

struct Shared<M> {
    state: Mutex<State<M>>,
    rings: Condvar,
    at_once: usize,
}

struct State<M> {
    messages: VecDeque<M>,
    /// The threads whose bells are still to ring.
    bells: Vec<ThreadId>,
    /// Whether the thread is to take what waits, of which there is something then.
    rung: bool,
    senders: usize,
    has_receiver: bool,
}

impl<M> Shared<M> {
    fn state(&self) -> MutexGuard<'_, State<M>> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, mut state: MutexGuard<'_, State<M>>) {
        if state.messages.is_empty() || state.rung {
            return;
        }
        state.rung = true;
        drop(state);
        self.rings.notify_one();
    }
}

impl<M> Sender<M> {
    /// Puts a message in, of which the thread learns once the bell is dropped. `None` where it learns of it without: somebody has rung, this
    /// thread has a bell that is still to ring, or enough waits.
    pub(super) fn put(&self, message: M) -> Result<Option<Bell<M>>, Refused> {
        let mut state = self.0.state();
        if !state.has_receiver {
            return Err(Refused::Closed);
        }
        if state.messages.len() >= ROOM {
            return Err(Refused::Full);
        }
        state.messages.push_back(message);
        if state.messages.len() >= self.0.at_once {
            self.0.ring(state);
            return Ok(None);
        }
        let of = thread::current().id();
        if state.rung || state.bells.contains(&of) {
            return Ok(None);
        }
        state.bells.push(of);
        Ok(Some(Bell { shared: Arc::clone(&self.0), of }))
    }

    /// Puts in the last message, for which there is always room, and rings.
    pub(super) fn put_last(&self, message: M) {
        let mut state = self.0.state();
        if state.has_receiver {
            state.messages.push_back(message);
            self.0.ring(state);
        }
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        self.0.state().senders -= 1;
        self.0.rings.notify_one();
    }
}

impl<M> Drop for Bell<M> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.bells.retain(|thread| *thread != self.of);
        self.shared.ring(state);
    }
}

impl<M> Receiver<M> {
    /// Waits until somebody rings, at the longest for so long.
    pub(super) fn next(&self, longest: Option<Duration>) -> Next<M> {
        let (state, rings) = (self.0.state(), &self.0.rings);
        let sleeps = |state: &mut State<M>| !state.rung && state.senders > 0;
        let mut state = match longest {
            None => rings.wait_while(state, sleeps).unwrap_or_else(PoisonError::into_inner),
            Some(longest) => rings.wait_timeout_while(state, longest, sleeps).unwrap_or_else(PoisonError::into_inner).0,
        };
        if sleeps(&mut state) {
            return Next::Nothing;
        }
        if state.messages.is_empty() {
            return Next::End;
        }
        let count = self.0.at_once.min(state.messages.len());
        let taken = state.messages.drain(..count).collect();
        state.rung = !state.messages.is_empty();
        Next::Messages(taken)
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.has_receiver = false;
        let left = std::mem::take(&mut state.messages);
        // Whoever waits for an answer learns that there will be none; not under the lock, since that wakes others.
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    use super::*;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    fn messages<const N: usize>(messages: [u32; N]) -> Next<u32> {
        Next::Messages(VecDeque::from(messages))
    }

    #[test]
    fn one_bell_tells_of_everything_that_was_put_in_before_it_is_dropped() {
        let (sender, receiver) = queue(9);
        let bell = sender.put(1).unwrap().unwrap();
        assert!(sender.put(2).unwrap().is_none());
        assert_eq!(receiver.next(AT_ONCE), Next::Nothing);
        drop(bell);
        assert_eq!(receiver.next(None), messages([1, 2]));
        assert_eq!(receiver.next(AT_ONCE), Next::Nothing);
        let bell = sender.put(3).unwrap().unwrap();
        drop(bell);
        assert_eq!(receiver.next(None), messages([3]));
    }

    #[test]
    fn a_thread_that_sleeps_is_woken() {
        let (sender, receiver) = queue(9);
        let thread = thread::spawn(move || receiver.next(None));
        thread::sleep(Duration::from_millis(20));
        drop(sender.put(1).unwrap());
        assert_eq!(thread.join().unwrap(), messages([1]));
    }

    #[test]
    fn enough_is_told_without_a_bell_and_what_is_left_too() {
        let (sender, receiver) = queue(3);
        let bell = sender.put(1).unwrap().unwrap();
        assert!(sender.put(2).unwrap().is_none());
        assert_eq!(receiver.next(AT_ONCE), Next::Nothing);
        for number in 3..=5 {
            assert!(sender.put(number).unwrap().is_none());
        }
        assert_eq!(receiver.next(None), messages([1, 2, 3]));
        assert_eq!(receiver.next(None), messages([4, 5]));
        drop(bell);
        assert_eq!(receiver.next(AT_ONCE), Next::Nothing);
    }

    #[test]
    fn no_thread_waits_for_the_bell_of_another() {
        let (sender, receiver) = queue(9);
        let _bell = sender.put(1).unwrap().unwrap();
        thread::scope(|scope| scope.spawn(|| drop(sender.put(2).unwrap().unwrap())).join().unwrap());
        assert_eq!(receiver.next(None), messages([1, 2]));
        assert!(sender.put(3).unwrap().is_none(), "it is still to ring");
    }

    #[test]
    fn a_thread_that_sleeps_wakes_when_the_last_sender_goes() {
        let (sender, receiver) = queue::<u32>(9);
        let thread = thread::spawn(move || receiver.next(None));
        thread::sleep(Duration::from_millis(20));
        drop(sender);
        assert_eq!(thread.join().unwrap(), Next::End);
    }

    #[test]
    fn a_bell_that_comes_too_late_is_nothing() {
        let (sender, receiver) = queue(9);
        let bell = sender.put(1).unwrap();
        sender.put_last(2);
        assert_eq!(receiver.next(None), messages([1, 2]));
        drop(bell);
        assert_eq!(receiver.next(AT_ONCE), Next::Nothing);
    }

    #[test]
    fn a_full_queue_has_room_for_the_last_message_alone() {
        let (sender, receiver) = queue(ROOM);
        let bell = sender.put(0).unwrap();
        for _ in 1..ROOM {
            assert!(sender.put(0).unwrap().is_none());
        }
        assert_eq!(sender.put(0).err(), Some(Refused::Full));
        sender.put_last(1);
        drop(bell);
        assert_eq!(receiver.next(None), Next::Messages(VecDeque::from([0; ROOM])));
        assert_eq!(receiver.next(None), messages([1]));
    }

    #[test]
    fn it_ends_with_the_last_sender_once_all_was_taken() {
        let (sender, receiver) = queue(9);
        let other = sender.clone();
        std::mem::forget(sender.put(1).unwrap());
        drop(sender);
        assert_eq!(receiver.next(AT_ONCE), Next::Nothing);
        drop(other);
        assert_eq!(receiver.next(None), messages([1]));
        assert_eq!(receiver.next(None), Next::End);
    }

    #[test]
    fn without_its_thread_nothing_is_taken_and_what_waits_is_dropped() {
        let (sender, receiver) = queue(9);
        let (waiting, answer) = std::sync::mpsc::channel::<()>();
        drop(sender.put(waiting).unwrap());
        drop(receiver);
        assert!(answer.recv().is_err());
        let (last, answer) = std::sync::mpsc::channel();
        sender.put_last(last);
        assert!(answer.recv().is_err());
        let (waiting, _answer) = std::sync::mpsc::channel();
        assert_eq!(sender.put(waiting).err(), Some(Refused::Closed));
    }
}
