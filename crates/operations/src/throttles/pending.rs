//! What was charged here and the store does not know yet.

use countersign_store::verbs::Charge;
use parking_lot::Mutex;

/// How many charges wait for the store. While it is away no password is compared, so that few come; what would be more counts in this
/// process alone.
const WAITING: usize = 10_000;
/// How many are written in one transaction.
const BATCH: usize = 500;

/// The charges that wait.
#[derive(Default)]
pub(super) struct Pending(Mutex<Vec<Charge>>);

impl Pending {
    pub(super) fn add(&self, charges: &[Charge]) {
        let mut waiting = self.0.lock();
        let room = WAITING.saturating_sub(waiting.len());
        waiting.extend(charges.iter().take(room));
    }

    /// The next batch to write; `None` where none waits.
    pub(super) fn next(&self) -> Option<Batch<'_>> {
        let mut waiting = self.0.lock();
        let count = waiting.len().min(BATCH);
        let charges: Vec<Charge> = waiting.drain(..count).collect();
        // A batch that is dropped takes the lock.
        drop(waiting);
        (count > 0).then(|| Batch { pending: self, charges })
    }
}

/// Charges on their way to the store. They wait again where they do not arrive, also because whoever carries them is stopped; and
/// where nobody knows whether they did: a guess that is counted twice does less harm than one that is not.
pub(super) struct Batch<'a> {
    pending: &'a Pending,
    charges: Vec<Charge>,
}

impl Batch<'_> {
    pub(super) fn charges(&self) -> Vec<Charge> {
        self.charges.clone()
    }

    /// They have arrived. `true` where there was no room for more.
    pub(super) fn arrived(mut self) -> bool {
        let full = self.charges.len() == BATCH;
        self.charges.clear();
        full
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.pending.add(&self.charges);
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use countersign_core::throttles::Quota;
    use countersign_store::verbs::Bucket;

    use super::*;

    fn charges(count: usize) -> Vec<Charge> {
        let quota = Quota { burst: 3, refill: Duration::from_secs(10) };
        let bucket = |number: usize| Bucket::from_bytes((number as u128).to_be_bytes());
        (0..count).map(|number| Charge { bucket: bucket(number), quota }).collect()
    }

    /// What arrives at a store that works.
    fn arriving(pending: &Pending) -> Vec<Charge> {
        let mut arrived = vec![];
        while let Some(batch) = pending.next() {
            arrived.extend(batch.charges());
            batch.arrived();
        }
        arrived
    }

    #[test]
    fn each_charge_arrives_once_in_batches_of_a_bounded_size() {
        let pending = Pending::default();
        assert!(pending.next().is_none());
        pending.add(&charges(BATCH + 7));
        let mut arrived = vec![];
        let full = [(); 2].map(|()| {
            let batch = pending.next().expect("some are left");
            arrived.extend(batch.charges());
            batch.arrived()
        });
        assert_eq!(full, [true, false]);
        assert_eq!(arrived, charges(BATCH + 7));
        assert!(pending.next().is_none());
    }

    #[test]
    fn what_did_not_arrive_goes_on_waiting() {
        let pending = Pending::default();
        pending.add(&charges(3));
        drop(pending.next());
        assert_eq!(arriving(&pending), charges(3));
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let pending = Pending::default();
        for _ in 0..3 {
            pending.add(&charges(WAITING / 2 + 1));
        }
        assert_eq!(arriving(&pending).len(), WAITING);
    }
}
