//! Script images: a compiled script as the memory that compiling changed. The stack is not part of
//! it, because it is unused between two calls.
//!
//! A fresh instance with these bytes copied in is the same as one that has just compiled the
//! script. A run therefore parses nothing and shares nothing with earlier runs.

use std::ops::Range;
use std::sync::Arc;

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use picloud_shared::execution::{CompileError, CompileReply, Position};
use picloud_shared::{Slice, codec};
use sha2::{Digest, Sha256};
use wasmtime::{Memory, Result, Store, bail};

use super::engine::GuestEngine;
use super::memory::bytes_of;
use super::pool::Saturated;
use super::sandbox::Sandbox;
use super::threads::Start;
use crate::clock::Clock;
use crate::limits::{FUEL_PER_MS, Limits, WASM_PAGE_BYTES};

/// The number of bytes compared at a time.
const LINE: usize = 64;

/// Changed ranges with a smaller gap are merged: copying the gap costs less than starting another
/// copy.
const GAP_MAX: usize = 256;

/// Requests up to this size need no allocation in the guest, because the image contains a buffer
/// for them.
const REQUEST_BUFFER_BYTES: u32 = 8 << 10;

/// The limits of a compilation. Parsing is linear in the source, whose size the API limits. A
/// quarter of a second of CPU is several times the need of the largest source.
const COMPILE_LIMITS: Limits =
    Limits { fuel_max: 250 * FUEL_PER_MS, memory_bytes_max: 64 << 20, ..Limits::DEFAULT };

/// A compiled script. Cheap to clone.
#[derive(Clone)]
pub struct Image(Arc<Changes>);

struct Changes {
    memory_bytes: u64,
    /// The changed ranges: the start of each in memory, and its bytes.
    runs: Box<[(usize, Box<[u8]>)]>,
    request_buffer: u32,
    instruction_ptr: u32,
    compile_fuel: u64,
    start: Start,
}

impl Image {
    /// Restores the memory after compiling in the fresh `memory`.
    pub(super) fn restore(&self, memory: Memory, store: &mut Store<Sandbox>) -> Result<()> {
        let have = memory.data_size(&*store) as u64;
        if have < self.0.memory_bytes {
            memory.grow(&mut *store, (self.0.memory_bytes - have) / WASM_PAGE_BYTES)?;
        }
        let data = memory.data_mut(store);
        for (start, bytes) in &self.0.runs {
            data[*start..*start + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Returns the image's buffer for a request.
    pub(super) fn request_buffer(&self) -> Slice {
        Slice { ptr: self.0.request_buffer, len: REQUEST_BUFFER_BYTES }
    }

    /// Returns the place where the guest stores the address of the current instruction.
    pub(super) fn instruction_ptr(&self) -> u32 {
        self.0.instruction_ptr
    }

    /// Returns the fuel that compiling took.
    pub(super) fn compile_fuel(&self) -> u64 {
        self.0.compile_fuel
    }

    /// Where its next run starts.
    pub(super) fn start(&self) -> &Start {
        &self.0.start
    }

    #[cfg(test)]
    pub(super) fn changes(&self) -> &[(usize, Box<[u8]>)] {
        &self.0.runs
    }

    /// Returns the memory that the image takes.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Changes>() + self.0.runs.iter().map(|(_, bytes)| bytes.len() + 32).sum::<usize>()
    }

    /// Creates an image of the changes from the address `first` on. `before` is the memory from
    /// there, and `after` is all of it.
    pub(super) fn of(
        first: usize,
        before: &[u8],
        after: &[u8],
        request_buffer: u32,
        instruction_ptr: u32,
        compile_fuel: u64,
    ) -> Self {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (index, line) in after[first..].chunks(LINE).enumerate() {
            let offset = index * LINE;
            let unchanged = match before.get(offset..offset + line.len()) {
                Some(old) => old == line,
                None => line.iter().all(|byte| *byte == 0),
            };
            if unchanged {
                continue;
            }
            let start = first + offset;
            match runs.last_mut() {
                Some(run) if start - run.end <= GAP_MAX => run.end = start + line.len(),
                _ => runs.push(start..start + line.len()),
            }
        }
        let runs: Box<[_]> = runs.into_iter().map(|run| (run.start, after[run].into())).collect();
        Self(Arc::new(Changes {
            memory_bytes: after.len() as u64,
            runs,
            request_buffer,
            instruction_ptr,
            compile_fuel,
            start: Start::default(),
        }))
    }
}

/// Compiles a source in an instance of its own.
pub(super) async fn compile(
    engine: &GuestEngine,
    clock: &Clock,
    source: &str,
) -> Result<Result<Image, CompileError>, Saturated> {
    let compiled = compile_in_sandbox(engine, clock, source).await;
    Ok(compiled.unwrap_or_else(|error| {
        // Parsing exceeded the sandbox's limits, or the guest failed.
        tracing::warn!(%error, "a source could not be compiled");
        Err(CompileError {
            message: format!("the source cannot be compiled: {}", error.root_cause()),
            position: Position::NONE,
        })
    }))
}

async fn compile_in_sandbox(
    engine: &GuestEngine,
    clock: &Clock,
    source: &str,
) -> Result<Result<Image, CompileError>> {
    let sandbox = Sandbox::new(COMPILE_LIMITS, clock.clone());
    let (mut store, instance) = engine.instantiate(sandbox).await?;
    // Not from 0: reading the stack would map its pages into the slot. They would then be scanned
    // after every run in it, for as long as the process lives.
    let first = engine.stack_end();
    let before = instance.memory.data(&store)[first..].to_vec();

    let ptr = instance.alloc(&mut store, source.len()).await?;
    instance.memory.write(&mut store, ptr as usize, source.as_bytes())?;
    let len = u32::try_from(source.len())?;
    let reply = engine.compile(&mut store, &instance, Slice { ptr, len }).await?;
    let Some(reply) = bytes_of(instance.memory.data(&store), reply) else {
        bail!("the guest's reply is outside its memory");
    };
    let reply: CompileReply = codec::decode(reply)?;
    let compiled = match reply {
        Ok(compiled) => compiled,
        Err(error) => return Ok(Err(error)),
    };
    let request_buffer = instance.alloc(&mut store, REQUEST_BUFFER_BYTES as usize).await?;
    let compile_fuel = COMPILE_LIMITS.fuel_max - store.get_fuel()?;
    let after = instance.memory.data(&store);
    let instruction_ptr = compiled.instruction_ptr;
    Ok(Ok(Image::of(first, &before, after, request_buffer, instruction_ptr, compile_fuel)))
}

/// The images of the most recently used scripts, limited in bytes.
pub(super) struct Images(Cache<String, Image>);

impl Images {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(bytes_max)
                .eviction_policy(EvictionPolicy::lru())
                .weigher(|key: &String, image: &Image| {
                    u32::try_from(key.len() + image.size_bytes()).unwrap_or(u32::MAX)
                })
                .build(),
        )
    }

    pub(super) async fn get(&self, source_sha256: &str) -> Option<Image> {
        self.0.get(source_sha256).await
    }

    /// Returns an image, compiled if it is missing. The key is a hash of the source: equal sources
    /// share an image, and a rollback finds the old one. A running process never changes its guest.
    pub(super) async fn get_or_compile(
        &self,
        source: &str,
        compile: impl AsyncFnOnce(String) -> Result<Result<Image, CompileError>, Saturated>,
    ) -> Result<Result<Image, CompileError>, Saturated> {
        let key = hex::encode(Sha256::digest(source));
        let made = self
            .0
            .try_get_with(key, async {
                compile(source.to_owned())
                    .await
                    .map_err(NoImage::Saturated)?
                    .map_err(NoImage::Invalid)
            })
            .await;
        match made {
            Ok(image) => Ok(Ok(image)),
            Err(none) => match (*none).clone() {
                NoImage::Saturated(saturated) => Err(saturated),
                NoImage::Invalid(error) => Ok(Err(error)),
            },
        }
    }
}

#[derive(Clone)]
enum NoImage {
    Saturated(Saturated),
    Invalid(CompileError),
}
