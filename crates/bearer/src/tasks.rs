//! The one place where this crate starts a task.

use tokio::task::AbortHandle;

/// A task that stops when this handle is dropped.
#[derive(Debug)]
pub(crate) struct Running(AbortHandle);

impl Running {
    /// Starts a task on the current runtime. It must not hold, directly or not, the handle returned here.
    #[expect(clippy::disallowed_methods, reason = "the only task of a layer, and its handle stops it")]
    pub(crate) fn start(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task).abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
