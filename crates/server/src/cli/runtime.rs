//! The runtime that a command runs in.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// One thread, for whatever ends by itself.
pub(super) fn alone() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A worker for each processor, kept there.
pub(super) fn serving() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    #[cfg(target_os = "linux")]
    processors::keep_workers_apart(&mut builder);
    builder.enable_all().build()
}

/// A client on the same machine, the writer and the workers wake one another thousands of times a second. Linux leaves a thread
/// that ran a moment ago where it is, so two workers can wait for one processor while another has nothing to do.
#[cfg(target_os = "linux")]
mod processors {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::available_parallelism;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use tokio::runtime::Builder;

    thread_local! {
        static PLACED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn keep_workers_apart(builder: &mut Builder) {
        let Ok(all) = sched_getaffinity(None) else { return };
        let places: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|number| all.is_set(*number)).collect();
        // Where a quota allows fewer, which ones they are is better left to the system.
        if available_parallelism().is_ok_and(|workers| workers.get() != places.len()) {
            return;
        }
        let next = AtomicUsize::new(0);
        builder
            // A thread starts where the one was kept that started it.
            .on_thread_start(move || {
                let _ = sched_setaffinity(None, &all);
            })
            // Only workers park.
            .on_thread_park(move || {
                if PLACED.replace(true) {
                    return;
                }
                let mut place = CpuSet::new();
                place.set(places[next.fetch_add(1, Ordering::Relaxed) % places.len()]);
                // It fails where the processor has been taken away meanwhile; then the worker stays wherever it may be.
                let _ = sched_setaffinity(None, &place);
            });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use rustix::thread::sched_getaffinity;
    use tokio::task::{JoinSet, spawn_blocking};

    use super::*;

    fn places() -> u32 {
        sched_getaffinity(None).unwrap().count()
    }

    #[test]
    fn workers_are_kept_apart_and_what_they_start_is_not() {
        let all = places();
        let as_many = std::thread::available_parallelism().unwrap().get() == all as usize;
        let kept = if as_many { 1 } else { all };
        let runtime = serving().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let began = Instant::now();
            let found = loop {
                tasks.spawn(async { (places(), spawn_blocking(places).await.unwrap()) });
                let found = tasks.join_next().await.unwrap().unwrap();
                // A worker takes its place when it first has nothing to do.
                if found.0 == kept || began.elapsed() > Duration::from_secs(20) {
                    break found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            assert_eq!(found, (kept, all), "a worker, and what it starts");
        });
        assert_eq!(places(), all, "the thread that built it");
    }
}
