//! The data plane: runs every execution in its own sandbox.
//!
//! ```text
//! engine     wasmtime, and the guest in it
//! module     the guest as wasm and as compiled code
//! metering   the cost of the guest's instructions in fuel
//! charges    the cost of the host's work in fuel
//! code_cache the guest's compiled code in the data folder
//! pool       execution slots: how many runs at once, and the queue for them
//! threads    where guests run: on their callers' threads at first, then on their own
//! image      a compiled script as the memory that compiling changed
//! called     the scripts that a run calls, and their images
//! run        one execution, from a fresh instance to its outcome
//! sandbox    the state of one run: limits, log, effects
//! hostcalls  the guest's only import: checks and charges each call
//! host       serves the calls: the exhaustive match over them
//! services/  one file per service
//! entries    shared by the services for keys and files
//! room       checks the storage limits of an app during a run
//! outbound   outbound HTTP requests
//! response   checks the response of a script
//! outcome    the result of a run
//! ```
//!
//! Invariant: the executor does not know who asked for a run or where its row is stored.
//! Invariant: apart from its response, an outcome reveals no secret that the run or its called
//! scripts have read.
//! Invariant: a run reads from the store and never writes to it. Its changes are the outcome's
//! effects, which the caller commits.

mod called;
mod charges;
mod code_cache;
mod engine;
pub(crate) mod entries;
mod host;
mod hostcalls;
mod image;
mod memory;
mod metering;
mod module;
mod outbound;
mod outcome;
mod platform;
mod pool;
mod response;
mod room;
mod run;
mod sandbox;
mod services;
mod settings;
mod spent;
#[cfg(test)]
mod tests;
mod threads;

use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use picloud_shared::execution::{CompileError, Input, RunRequest};

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::events::effects::Effects;
use crate::limits::Limits;
use crate::metrics::Slots;
use crate::private_hosts::PrivateHosts;
use crate::requests;
use crate::secrets::{Maskers, Revealed};
use crate::store::{AppId, ExecutionId};

use called::CalledScripts;
use outbound::Outbound;
use platform::Platform;
use pool::{AppSlot, Slot};
use sandbox::RunContext;
use spent::Spent;
use threads::{GuestThreads, SHORT_BYTES_MAX, end_slice};

pub use image::Image;
pub use outcome::{Called, Failure, LogLine, Outcome, Response, Status};
pub use platform::Backing;
pub use pool::Saturated;
pub use settings::{Settings, StartError};

/// One run to start.
pub struct Run {
    /// The compiled script.
    pub image: Image,
    /// Its input.
    pub request: RunRequest<Arc<Input>>,
    /// Its limits.
    pub limits: Limits,
    /// The app it belongs to. A run without an app has only the sandbox.
    pub app_id: Option<AppId>,
    /// The id of its execution.
    pub execution_id: ExecutionId,
    /// The execution id of the first attempt at the same work: on the first attempt, its own id.
    pub first_execution_id: ExecutionId,
    /// The private hosts open to the app, in addition to those open to all apps.
    pub private_hosts: Arc<PrivateHosts>,
    /// Whether it starts on its caller's thread, and moves only if it is not short. False for runs
    /// that nobody waits for: they must not delay the threads that accept requests.
    pub starts_here: bool,
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
    platform: Option<Arc<Platform>>,
    maskers: Maskers,
}

impl Executor {
    /// Loads the guest's compiled code, or compiles it if it is not cached, and creates the slots.
    /// Without a backing, scripts have only their sandbox.
    ///
    /// # Errors
    /// Fails if the data folder cannot be written, or if wasmtime does not support the machine.
    pub fn start(
        settings: &Settings,
        clock: Clock,
        backing: Option<Backing>,
    ) -> Result<Self, StartError> {
        let engine = engine::GuestEngine::load(settings, hostcalls::link)?;
        let platform = match backing {
            None => None,
            Some(Backing { store, secrets }) => {
                let data = Dir::open_ambient_dir(&settings.data, ambient_authority())?;
                let outbound = Outbound::new(settings.private_hosts.clone())?;
                let blobs = Blobs::open(&data)?;
                Some(Arc::new(Platform { store, secrets, blobs, outbound }))
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                pool: pool::SlotPool::new(&Settings { slots: engine.slots(), ..settings.clone() })?,
                engine,
                images: image::Images::new(settings.image_cache_bytes_max),
                threads: GuestThreads::start()?,
                clock,
                platform,
                maskers: Maskers::default(),
            }),
        })
    }

    /// Whether [`Executor::start`] will find compiled code.
    ///
    /// # Errors
    /// Fails if wasmtime does not support the machine.
    pub fn has_compiled_guest(settings: &Settings) -> Result<bool, StartError> {
        engine::has_compiled_guest(settings)
    }

    /// Compiles the guest into the data folder, for a later [`Executor::start`].
    ///
    /// # Errors
    /// Same as [`Executor::start`].
    pub fn compile_guest(settings: &Settings) -> Result<(), StartError> {
        engine::compile_guest(settings)
    }

    /// Parses a source in a sandbox and caches the result for the first call.
    ///
    /// # Errors
    /// [`Saturated`] if no slot comes free in time.
    pub async fn check(&self, source: &str) -> Result<Result<(), CompileError>, Saturated> {
        Ok(self.compile(source).await?.map(drop))
    }

    /// Parses a source in a sandbox. Does not cache the result, so that checking a draft never
    /// evicts a deployed script.
    ///
    /// # Errors
    /// [`Saturated`] if no slot comes free in time.
    pub async fn parse(&self, source: &str) -> Result<Result<(), CompileError>, Saturated> {
        Ok(self.compile_anew(source.to_owned()).await?.map(drop))
    }

    /// Returns the cached image of a source, by the SHA-256 of the source in hexadecimal.
    pub async fn image(&self, source_sha256: &str) -> Option<Image> {
        self.inner.images.get(source_sha256).await
    }

    /// Returns the image of a source. Concurrent calls for one source compile it once.
    ///
    /// # Errors
    /// [`Saturated`] if no slot comes free in time.
    pub async fn compile(&self, source: &str) -> Result<Result<Image, CompileError>, Saturated> {
        let images = &self.inner.images;
        images.get_or_compile(source, async |source| self.compile_anew(source).await).await
    }

    async fn compile_anew(&self, source: String) -> Result<Result<Image, CompileError>, Saturated> {
        let slot = self.inner.pool.get(None).await?;
        let here = Arc::clone(&self.inner);
        let compile = async move {
            let compiled = image::compile(&here.engine, &here.clock, &source).await;
            drop(slot);
            compiled
        };
        self.inner.threads.run(compile).await
    }

    /// Runs a compiled script once, in a fresh sandbox. A caller that is dropped can drop the run.
    ///
    /// # Errors
    /// [`Saturated`] if no slot comes free in time. A script's failure is an [`Outcome`] without
    /// effects.
    pub async fn execute(&self, run: Run) -> Result<Outcome, Saturated> {
        let slot = self.inner.pool.get(run.app_id.as_ref()).await?;
        let (here, image, starts_here) = (self.clone(), run.image.clone(), run.starts_here);
        let work = async move { Ok(here.execute_in(slot, run).await) };
        if starts_here {
            self.inner.threads.run_from_here(image.start(), work).await
        } else {
            self.inner.threads.run(work).await
        }
    }

    /// Runs a compiled script on the caller's own thread, and blocks it while the script uses CPU.
    /// For benchmarks of a run without the two thread switches.
    ///
    /// # Errors
    /// Same as [`Executor::execute`].
    pub async fn execute_here(&self, run: Run) -> Result<Outcome, Saturated> {
        let slot = self.inner.pool.get(run.app_id.as_ref()).await?;
        Ok(self.execute_in(slot, run).await)
    }

    async fn execute_in(&self, slot: AppSlot, run: Run) -> Outcome {
        let context = self.context(&run);
        let revealed = context.as_ref().map(|context| context.revealed.clone());
        let context = context.map(|context| (context, Effects::default(), Spent::default()));
        let inner = &self.inner;
        let Run { image, request, limits, .. } = run;
        let credentials = match &*request.input {
            Input::Http(request) => requests::credentials(request),
            Input::Event(_) => Vec::new(),
        };
        let mut outcome =
            run::execute(&inner.engine, &inner.clock, &image, request, limits, context).await;
        drop(slot);
        if outcome.failure.is_some() {
            outcome.effects.discard();
        }
        if outcome.log_bytes() > SHORT_BYTES_MAX {
            end_slice().await;
        }
        if let Some(revealed) = revealed {
            outcome.mask(revealed.masker());
        }
        outcome.mask_credentials(&credentials);
        outcome
    }

    fn context(&self, run: &Run) -> Option<RunContext> {
        Some(RunContext {
            platform: self.inner.platform.clone()?,
            scripts: Arc::new(CalledScripts::new(self.clone())),
            app_id: run.app_id.clone()?,
            app: run.request.execution.app.clone(),
            script: run.request.execution.script.clone(),
            execution_id: run.execution_id.clone(),
            first_execution_id: run.first_execution_id.clone(),
            requests: Arc::default(),
            private_hosts: Arc::clone(&run.private_hosts),
            revealed: Revealed::new(self.inner.maskers.clone()),
            depth: 0,
        })
    }

    /// Returns the contents of files, for the API and for sweeping.
    #[must_use]
    pub fn blobs(&self) -> Option<&Blobs> {
        self.inner.platform.as_ref().map(|platform| &platform.blobs)
    }

    async fn called_slot(&self, depth: u32) -> Result<Slot, Saturated> {
        self.inner.pool.get_called(depth).await
    }

    fn engine(&self) -> &engine::GuestEngine {
        &self.inner.engine
    }

    /// Returns how many slots are in use.
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
