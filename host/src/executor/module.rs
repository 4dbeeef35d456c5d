//! The guest's module, and its compiled code in the data folder.

use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module, Result};

use super::code_cache::CodeCache;
use super::settings::{Settings, StartError};

const WASM: &[u8] = include_bytes!("../../../guest/picloud_guest.wasm");
const LOCK: &str = include_str!("../../../guest/picloud_guest.lock");

/// A guest module in wasm.
pub(super) struct GuestModule<'a> {
    pub(super) wasm: &'a [u8],
    /// The SHA-256 of the wasm, in hexadecimal.
    pub(super) sha256: String,
}

impl GuestModule<'_> {
    /// Returns the module in this program. Its hash comes from the lock file: computing it would
    /// read six megabytes at every start that only needs the compiled code.
    pub(super) fn embedded() -> Self {
        let locked = LOCK.lines().find_map(|line| {
            line.strip_prefix("module_sha256 = \"").and_then(|rest| rest.strip_suffix('"'))
        });
        match locked {
            Some(sha256) => Self { wasm: WASM, sha256: sha256.to_owned() },
            None => GuestModule::new(WASM),
        }
    }

    /// Returns any other module.
    pub(super) fn new(wasm: &[u8]) -> GuestModule<'_> {
        GuestModule { wasm, sha256: hex::encode(Sha256::digest(wasm)) }
    }

    /// Loads its code from the cache. Compiles it for this machine if it is not cached.
    pub(super) fn load(&self, engine: &Engine, settings: &Settings) -> Result<Module, StartError> {
        let cache = CodeCache::open(&settings.data)?;
        let key = self.code_key(engine);
        let code = match cache.find(&key)? {
            Some(code) => code,
            None => {
                tracing::info!("compiling the interpreter for this machine: once per release");
                cache.insert(&key, &engine.precompile_module(self.wasm)?)?
            }
        };
        Ok(deserialize(engine, code)?)
    }

    /// Whether its code is in the cache. The code can still be damaged.
    pub(super) fn is_compiled(&self, engine: &Engine, settings: &Settings) -> bool {
        CodeCache::has(&settings.data, &self.code_key(engine))
    }

    /// Returns the key of the compiled code: the guest and the settings of the compiler.
    fn code_key(&self, engine: &Engine) -> String {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{}{:016x}", &self.sha256[..16], hasher.finish())
    }
}

#[expect(unsafe_code, reason = "compiled code is native code: it has to be believed")]
fn deserialize(engine: &Engine, file: std::fs::File) -> Result<Module> {
    // SAFETY: `CodeCache::insert` wrote the file for exactly this guest and engine, and its content
    // still has the same hash.
    unsafe { Module::deserialize_open_file(engine, file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_the_module() {
        assert_eq!(GuestModule::embedded().sha256, GuestModule::new(WASM).sha256);
    }
}
