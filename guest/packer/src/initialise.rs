//! Pre-initialisation: builds the interpreter here once, instead of at the start of every
//! execution.
//!
//! Source: <https://docs.wasmtime.dev/wizer.html>.

use wasmtime::{Config, Engine, Instance, Linker, Module, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, Wizer};

use crate::Error;

const INITIALISER: &str = "wizer-initialize";

/// Runs the module's initialiser and returns the module with the resulting memory.
///
/// # Errors
/// Fails if the initialiser traps or makes a host call: its result must be the same everywhere.
pub fn initialise(module: &[u8]) -> Result<Vec<u8>, Error> {
    futures::executor::block_on(async {
        let wizer = Wizer::new();
        let (context, instrumented) = wizer.instrument(module)?;
        let engine = Engine::new(&Config::new())?;
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.func_wrap(
            "picloud",
            "call",
            |op: u32, _: u32, _: u32| -> wasmtime::Result<u64> {
                wasmtime::bail!("the initialiser made host call {op}")
            },
        )?;
        let instance = linker.instantiate(&mut store, &Module::new(&engine, instrumented)?)?;
        instance.get_typed_func::<(), ()>(&mut store, INITIALISER)?.call(&mut store, ())?;
        Ok(wizer.snapshot(&context, &mut Initialised { store, instance }).await?)
    })
}

struct Initialised {
    store: Store<()>,
    instance: Instance,
}

impl InstanceState for Initialised {
    async fn global_get(&mut self, name: &str, _: wasmparser::ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global.map(|global| global.get(&mut self.store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(bits)) => SnapshotVal::F32(bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(bits),
            other => panic!("the exported global {name} cannot be kept: {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.store, name);
        match memory {
            Some(memory) => contents(memory.data(&self.store)),
            None => panic!("the exported memory {name} is missing"),
        }
    }
}
