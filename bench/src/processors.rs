//! Threads that stay at one processor: two that meet at one and leave the other idle would measure how the system places threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::Builder;

/// Keeps this thread at one of the processors that it may use, the one with this number among them.
pub(crate) fn keep_at(number: usize) {
    let Ok(all) = sched_getaffinity(None) else { return };
    let places: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|number| all.is_set(*number)).collect();
    let Some(place) = places.get(number % places.len().max(1)) else { return };
    let mut only = CpuSet::new();
    only.set(*place);
    // It fails nowhere but where the processor has just been taken away.
    let _ = sched_setaffinity(None, &only);
}

thread_local! {
    static KEPT: Cell<bool> = const { Cell::new(false) };
}

/// Keeps each worker at a processor, as Countersign does where no quota allows it fewer than there are.
pub(crate) fn keep_workers_apart(builder: &mut Builder) {
    let next = AtomicUsize::new(0);
    // Only workers park.
    builder.on_thread_park(move || {
        if !KEPT.replace(true) {
            keep_at(next.fetch_add(1, Ordering::Relaxed));
        }
    });
}
