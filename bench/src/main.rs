//! The program `countersign-bench`; see `scripts/bench`.

use std::process::ExitCode;

// The bare server of the yardstick gets what Countersign has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    countersign_bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    // It reads /proc and waits with epoll.
    ExitCode::from(2)
}
