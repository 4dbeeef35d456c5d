//! Wasmtime, configured for many short runs, and the guest in it.

use picloud_shared::execution::Position;
use picloud_shared::{ABI_VERSION, Slice};
use wasmtime::{
    Config, Enabled, Engine, Func, Instance, InstanceAllocationStrategy, InstancePre, Linker,
    Memory, ModuleExport, PoolingAllocationConfig, Result, Store, bail,
};

use super::memory::{Alloc, Guest};
use super::metering;
use super::module::GuestModule;
use super::pool::slots_in_all;
use super::sandbox::Sandbox;
use super::settings::{Settings, StartError};
use crate::clock::Clock;
use crate::limits::{FUEL_PER_MS, Limits};

/// The stack size of wasm code and of the host functions it calls, in bytes. It ends a recursion
/// that `call_depth` has not ended before.
pub(super) const WASM_STACK_BYTES_MAX: usize = 1 << 20;
const STACK_BYTES: usize = WASM_STACK_BYTES_MAX + (512 << 10);

/// The part of a slot's memory that stays resident between runs. With PAGEMAP_SCAN only touched
/// pages are reset and count. Without it, all of this is cleared after every run, so a smaller
/// value is better.
const RESIDENT_BYTES_SCANNED: usize = 1 << 20;
const RESIDENT_BYTES_BLIND: usize = 256 << 10;

/// The number of warm slots besides those in use. A sequence of requests reuses one slot instead of
/// warming new ones, so resident memory follows the number of concurrent runs.
const WARM_SLOTS_MAX: u32 = 4;

/// The maximum size of the table of function pointers; the module has about 6,000.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// The fuel of a slice: what a guest uses before other tasks get their turn on its thread. Worth
/// 200 µs, because a guest's first slice runs on a thread that accepts requests.
pub(super) const YIELD_INTERVAL_FUEL: u64 = FUEL_PER_MS / 5;

/// Links the guest's import.
pub(super) type Link = fn(&mut Linker<Sandbox>) -> Result<()>;

/// The guest, ready to be instantiated.
pub(super) struct GuestEngine {
    template: InstancePre<Sandbox>,
    exports: Exports,
    guest_sha256: String,
    stack_end: usize,
    slots: usize,
}

struct Exports {
    memory: ModuleExport,
    alloc: ModuleExport,
    compile: ModuleExport,
    run: ModuleExport,
    place: ModuleExport,
}

/// A fresh instance.
pub(super) struct GuestInstance {
    instance: Instance,
    pub(super) memory: Memory,
    alloc: Alloc,
}

impl GuestEngine {
    /// Loads the embedded guest for this machine. `link` links its import.
    pub(super) fn load(settings: &Settings, link: Link) -> Result<Self, StartError> {
        Self::load_guest(settings, GuestModule::embedded(), has_swap(), link)
    }

    /// Loads any guest, for a machine with or without swap.
    pub(super) fn load_guest(
        settings: &Settings,
        guest: GuestModule<'_>,
        has_swap: bool,
        link: Link,
    ) -> Result<Self, StartError> {
        let (engine, slots) = with_room(settings, has_swap)?;
        let module = guest.load(&engine, settings)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker)?;
        let export = |name| match module.get_export_index(name) {
            Some(export) => Ok(export),
            None => Err(wasmtime::format_err!("the guest does not export {name}")),
        };
        let exports = Exports {
            memory: export("memory")?,
            alloc: export("alloc")?,
            compile: export("compile")?,
            run: export("run")?,
            place: export("place")?,
        };
        let template = linker.instantiate_pre(&module)?;
        let guest_sha256 = guest.sha256;
        let mut loaded = Self { template, exports, guest_sha256, stack_end: 0, slots };
        loaded.stack_end = futures::executor::block_on(loaded.check_abi())?;
        Ok(loaded)
    }

    /// Returns the end of the guest's stack. Memory below it is unused between two calls.
    pub(super) fn stack_end(&self) -> usize {
        self.stack_end
    }

    /// Returns the number of slots: the requested number, or less if the address space is too
    /// small.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn guest_sha256(&self) -> &str {
        &self.guest_sha256
    }

    /// Creates a fresh instance, in a store with the sandbox's limits in force.
    pub(super) async fn instantiate(
        &self,
        sandbox: Sandbox,
    ) -> Result<(Store<Sandbox>, GuestInstance)> {
        let fuel = sandbox.limits.fuel_max;
        let mut store = Store::new(self.template.module().engine(), sandbox);
        store.limiter(|sandbox| sandbox);
        store.set_fuel(fuel)?;
        store.fuel_async_yield_interval(Some(YIELD_INTERVAL_FUEL))?;
        let instance = self.template.instantiate_async(&mut store).await?;
        let memory = instance
            .get_module_export(&mut store, &self.exports.memory)
            .and_then(wasmtime::Extern::into_memory);
        let alloc = instance
            .get_module_export(&mut store, &self.exports.alloc)
            .and_then(wasmtime::Extern::into_func)
            .map(Alloc);
        let (Some(memory), Some(alloc)) = (memory, alloc) else {
            bail!("the guest has unexpected exports");
        };
        store.data_mut().guest = Some(Guest { memory, alloc });
        Ok((store, GuestInstance { instance, memory, alloc }))
    }

    /// Calls `compile` on a source in guest memory.
    pub(super) async fn compile(
        &self,
        store: &mut Store<Sandbox>,
        instance: &GuestInstance,
        source: Slice,
    ) -> Result<Slice> {
        instance.call(store, &self.exports.compile, source).await
    }

    /// Calls `run` on a request in guest memory.
    pub(super) async fn run(
        &self,
        store: &mut Store<Sandbox>,
        instance: &GuestInstance,
        request: Slice,
    ) -> Result<Slice> {
        instance.call(store, &self.exports.run, request).await
    }

    /// Calls `place` on the address of an instruction of the compiled script.
    pub(super) async fn place(
        &self,
        store: &mut Store<Sandbox>,
        instance: &GuestInstance,
        instruction: u32,
    ) -> Result<Position> {
        let function = instance.function(store, &self.exports.place)?;
        let function = function.typed::<u32, u64>(&*store)?;
        Ok(Position::unpack(function.call_async(store, instruction).await?))
    }

    /// Checks that the guest has this host's version of the contract. Returns the end of its stack.
    async fn check_abi(&self) -> Result<usize> {
        let sandbox = Sandbox::new(Limits::DEFAULT, Clock::system());
        let (mut store, guest) = self.instantiate(sandbox).await?;
        let mut ask = async |name| {
            let function = guest.instance.get_typed_func::<(), u32>(&mut store, name)?;
            function.call_async(&mut store, ()).await
        };
        let version = ask("abi_version").await?;
        if version != ABI_VERSION {
            bail!("the guest has version {version} of the contract, the host {ABI_VERSION}");
        }
        let stack_end = ask("stack_end").await? as usize;
        if stack_end > guest.memory.data_size(&store) {
            bail!("the guest's stack ends outside its memory");
        }
        Ok(stack_end)
    }
}

impl GuestInstance {
    /// Allocates a buffer in guest memory.
    pub(super) async fn alloc(&self, store: &mut Store<Sandbox>, len: usize) -> Result<u32> {
        self.alloc.call(store, u32::try_from(len)?).await
    }

    async fn call(
        &self,
        store: &mut Store<Sandbox>,
        export: &ModuleExport,
        argument: Slice,
    ) -> Result<Slice> {
        let function = self.function(store, export)?;
        let function = function.typed::<(u32, u32), u64>(&*store)?;
        let packed = function.call_async(store, (argument.ptr, argument.len)).await?;
        Ok(Slice::unpack(packed))
    }

    fn function(&self, store: &mut Store<Sandbox>, export: &ModuleExport) -> Result<Func> {
        let function = self.instance.get_module_export(store, export);
        let Some(function) = function.and_then(wasmtime::Extern::into_func) else {
            bail!("the guest has unexpected exports");
        };
        Ok(function)
    }
}

/// Creates an engine with the requested number of slots, or with half as many, and so on. Each
/// sandbox reserves 4 GiB of addresses, and some machines have only 512 GiB in total.
fn with_room(settings: &Settings, has_swap: bool) -> Result<(Engine, usize), StartError> {
    let mut slots = settings.slots;
    loop {
        match Engine::new(&config(settings, slots, has_swap)) {
            Ok(engine) => {
                if slots < settings.slots {
                    tracing::warn!(
                        "the address space allows {slots} executions at once, not the {} of \
                         PICLOUD_MAX_CONCURRENCY",
                        settings.slots
                    );
                }
                return Ok((engine, slots));
            }
            Err(error) if slots > 1 => {
                tracing::debug!(%error, slots, "too little address space; trying half as many sandboxes");
                slots /= 2;
            }
            Err(error) => return Err(StartError::NoRoom(error)),
        }
    }
}

fn config(settings: &Settings, slots: usize, has_swap: bool) -> Config {
    let instances = u32::try_from(slots_in_all(slots)).unwrap_or(u32::MAX);
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        // The guest allocates the buffer for the reply to a host call. This is a call inside the
        // call, on a stack of its own.
        .total_stacks(instances.saturating_mul(2))
        .max_memories_per_module(1)
        .max_tables_per_module(1)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(usize::try_from(settings.memory_bytes_ceiling).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM_SLOTS_MAX.min(slots))
        .table_keep_resident(TABLE_ELEMENTS_MAX * size_of::<usize>())
        .async_stack_keep_resident(64 << 10);
    // The scan only finds pages that are present. A page that was swapped out would keep the last
    // run's data, so with swap all memory is reset.
    let scan = !has_swap && PoolingAllocationConfig::is_pagemap_scan_available();
    tracing::info!(has_swap, scan, "how sandboxes are reset");
    if scan {
        pooling.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(RESIDENT_BYTES_SCANNED);
    } else {
        pooling.linear_memory_keep_resident(RESIDENT_BYTES_BLIND);
    }
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling))
        .consume_fuel(true)
        .operator_cost(metering::COST)
        .max_wasm_stack(WASM_STACK_BYTES_MAX)
        .async_stack_size(STACK_BYTES)
        // Neither is ever shown: the interpreter reports the position in the script.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

/// Whether memory can be swapped out. True if this is unknown.
fn has_swap() -> bool {
    match std::fs::read_to_string("/proc/swaps") {
        // The first line has the column names.
        Ok(swaps) => swaps.lines().count() > 1,
        Err(_) => true,
    }
}

/// Compiles the embedded guest into the cache if it is missing.
pub(super) fn compile_guest(settings: &Settings) -> Result<(), StartError> {
    // The code does not depend on the number of slots.
    let (engine, _) = with_room(&Settings { slots: 1, ..settings.clone() }, has_swap())?;
    GuestModule::embedded().load(&engine, settings)?;
    Ok(())
}

/// Whether the cache has code for the embedded guest. The code can still be damaged.
pub(super) fn has_compiled_guest(settings: &Settings) -> Result<bool, StartError> {
    let (engine, _) = with_room(&Settings { slots: 1, ..settings.clone() }, has_swap())?;
    Ok(GuestModule::embedded().is_compiled(&engine, settings))
}
