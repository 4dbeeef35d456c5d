//! The data plane: every execution in its own sandbox.
//!
//! ```text
//! engine     wasmtime and the guest in it
//! code_cache the guest's compiled code in the data folder
//! pool       execution slots; how many runs at once, and who waits
//! image      a compiled script as the memory pages it changed
//! run        one execution from a fresh instance to its outcome
//! sandbox    the state of one run: limits, log, trace of host calls
//! hostcalls  the guest's one import and its exhaustive match
//! services/  one file per service
//! response   what a script may answer
//! outcome    what a run came to
//! ```
//!
//! Guests run on threads of their own, never on those that accept requests.
//!
//! Invariant: nothing here knows who asked for a run or where its row is kept.

mod code_cache;
mod engine;
mod hostcalls;
mod image;
mod outcome;
mod pool;
mod response;
mod run;
mod sandbox;
mod services;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use picloud_shared::execution::{CompileError, RunRequest};
use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock;
use crate::limits::Limits;

pub use image::Image;
pub use outcome::{Failure, LogLine, Outcome, Response, Status};
pub use pool::{Saturated, Slots};

/// How an executor is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder; compiled guest code is kept in its `cache`.
    pub data: PathBuf,
    /// How many executions run at once.
    pub slots: usize,
    /// How long an execution waits for a slot.
    pub queue_timeout: Duration,
    /// How many executions wait at once.
    pub queue_max: usize,
    /// The most memory any script is ever granted, in bytes.
    pub memory_bytes_ceiling: u64,
    /// How much memory compiled scripts may take, in bytes.
    pub image_cache_bytes_max: u64,
}

/// Runs scripts. Cheap to clone; every clone is the same executor.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Inner>,
}

struct Inner {
    engine: engine::GuestEngine,
    pool: pool::SlotPool,
    images: image::Images,
    threads: GuestThreads,
    clock: Clock,
}

impl Executor {
    /// Loads the guest's compiled code, or compiles it when the cache has none,
    /// and sets the slots up.
    ///
    /// # Errors
    /// When the data folder cannot be written, or wasmtime refuses the machine.
    pub fn start(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        let engine = engine::GuestEngine::load(settings)?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                pool: pool::SlotPool::new(settings)?,
                images: image::Images::new(settings.image_cache_bytes_max),
                threads: GuestThreads::start()?,
                clock,
            }),
        })
    }

    /// Whether [`Executor::start`] will find compiled code.
    ///
    /// # Errors
    /// When wasmtime refuses the machine.
    pub fn has_compiled_guest(settings: &Settings) -> Result<bool, StartError> {
        engine::has_compiled_guest(settings)
    }

    /// Compiles the guest into the data folder, for a later [`Executor::start`].
    ///
    /// # Errors
    /// As [`Executor::start`].
    pub fn compile_guest(settings: &Settings) -> Result<(), StartError> {
        engine::compile_guest(settings)
    }

    /// Parses a source in a sandbox and keeps the result for the first call.
    ///
    /// # Errors
    /// [`Saturated`] when no slot came free in time.
    pub async fn check(&self, source: &str) -> Result<Result<(), CompileError>, Saturated> {
        Ok(self.compile(source).await?.map(drop))
    }

    /// The image of a source that was compiled lately, by the SHA-256 of the
    /// source in hexadecimal.
    pub async fn image(&self, source_sha256: &str) -> Option<Image> {
        self.inner.images.get(source_sha256).await
    }

    /// The image of a source; concurrent calls for one source compile it once.
    ///
    /// # Errors
    /// [`Saturated`] when no slot came free in time.
    pub async fn compile(&self, source: &str) -> Result<Result<Image, CompileError>, Saturated> {
        let inner = &self.inner;
        inner
            .images
            .get_or_compile(source, async |source| {
                let slot = inner.pool.get().await?;
                let here = Arc::clone(inner);
                inner
                    .threads
                    .run(async move {
                        let compiled = image::compile(&here.engine, &here.clock, &source).await;
                        drop(slot);
                        compiled
                    })
                    .await
            })
            .await
    }

    /// Runs a compiled script once, in a fresh sandbox.
    ///
    /// # Errors
    /// [`Saturated`] when no slot came free in time. A script's failure is an
    /// [`Outcome`].
    pub async fn execute(
        &self,
        image: Image,
        request: RunRequest,
        limits: Limits,
    ) -> Result<Outcome, Saturated> {
        let slot = self.inner.pool.get().await?;
        let here = Arc::clone(&self.inner);
        self.inner
            .threads
            .run(async move { Ok(here.execute_in(slot, &image, request, limits).await) })
            .await
    }

    /// [`Executor::execute`] on the caller's own thread, which a script that burns CPU
    /// holds up: for measuring what a run costs without the two changes of thread.
    ///
    /// # Errors
    /// As [`Executor::execute`].
    pub async fn execute_here(
        &self,
        image: &Image,
        request: RunRequest,
        limits: Limits,
    ) -> Result<Outcome, Saturated> {
        let slot = self.inner.pool.get().await?;
        Ok(self.inner.execute_in(slot, image, request, limits).await)
    }

    /// How busy the slots are.
    #[must_use]
    pub fn slots(&self) -> Slots {
        self.inner.pool.slots()
    }

    /// The SHA-256 of the guest module, in hexadecimal.
    #[must_use]
    pub fn guest_sha256(&self) -> &str {
        self.inner.engine.guest_sha256()
    }
}

impl Inner {
    async fn execute_in(
        &self,
        slot: pool::Slot,
        image: &Image,
        request: RunRequest,
        limits: Limits,
    ) -> Outcome {
        let outcome = run::execute(&self.engine, &self.clock, image, request, limits).await;
        drop(slot);
        outcome
    }
}

/// Why an executor could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder or a thread.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Wasmtime, or a guest that is none.
    #[error("the sandbox cannot be set up: {0:#}")]
    Wasm(wasmtime::Error),
}

impl From<wasmtime::Error> for StartError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}

/// The threads that guests run on.
struct GuestThreads(Option<Runtime>);

impl GuestThreads {
    fn start() -> Result<Self, std::io::Error> {
        let threads = std::thread::available_parallelism()?.get();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("picloud-guest")
            .enable_time()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work` to its end even when the caller goes away, so that a caller who
    /// hangs up leaves no execution without a row.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Saturated>> + Send + 'static,
    ) -> Result<T, Saturated> {
        let Some(runtime) = &self.0 else {
            return Err(Saturated);
        };
        match runtime.spawn(work).await {
            Ok(done) => done,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => Err(Saturated),
        }
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for the threads is not allowed inside of async code, where
            // the last clone may be dropped.
            runtime.shutdown_background();
        }
    }
}
