//! The guest's module, and its compiled code in the data folder.

use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module, Result};

use super::code_cache::CodeCache;
use super::settings::{Settings, StartError};

const WASM: &[u8] = include_bytes!("../../../guest/picloud_guest.wasm");
const LOCK: &str = include_str!("../../../guest/picloud_guest.lock");

/// A guest as wasm.
pub(super) struct GuestModule<'a> {
    pub(super) wasm: &'a [u8],
    /// Of the wasm, in hexadecimal.
    pub(super) sha256: String,
}

impl GuestModule<'_> {
    /// The one in this program. Its hash is the lock file's: to compute it would read six
    /// megabytes into memory at every start that needs only the compiled code.
    pub(super) fn embedded() -> Self {
        let locked = LOCK.lines().find_map(|line| {
            line.strip_prefix("module_sha256 = \"").and_then(|rest| rest.strip_suffix('"'))
        });
        match locked {
            Some(sha256) => Self { wasm: WASM, sha256: sha256.to_owned() },
            None => GuestModule::new(WASM),
        }
    }

    /// Any other.
    pub(super) fn new(wasm: &[u8]) -> GuestModule<'_> {
        GuestModule { wasm, sha256: hex::encode(Sha256::digest(wasm)) }
    }

    /// Its code from the cache; compiled for this machine if the cache has none.
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

    /// Whether the cache has its code, which may still be found broken.
    pub(super) fn is_compiled(&self, engine: &Engine, settings: &Settings) -> bool {
        CodeCache::has(&settings.data, &self.code_key(engine))
    }

    /// What compiled code depends on: the guest, and the settings of the compiler.
    fn code_key(&self, engine: &Engine) -> String {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{}{:016x}", &self.sha256[..16], hasher.finish())
    }
}

#[expect(unsafe_code, reason = "compiled code is native code: it has to be believed")]
fn deserialize(engine: &Engine, file: std::fs::File) -> Result<Module> {
    // SAFETY: the file was written by `CodeCache::insert` for exactly this guest and
    // engine, and its content has the hash that it had then.
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
