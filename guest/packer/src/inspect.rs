//! Proves the property of the finished module that script images rely on: compiling a script
//! changes only linear memory.

use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use crate::Error;

const EXPORTS: [&str; 7] =
    ["memory", "abi_version", "stack_end", "alloc", "compile", "run", "place"];

/// Checks the module's shape.
///
/// # Errors
/// Fails if it imports anything but `picloud.call`, exports anything but the contract's names, has
/// a start function, or has a foreign memory or table. Also fails if it has a mutable global
/// besides the stack pointer, which is back at its start whenever no guest function runs.
pub fn inspect(module: &[u8]) -> Result<(), Error> {
    let mut mutable_globals = 0;
    let mut memories = 0;
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let is_call = import.module == "picloud"
                        && import.name == "call"
                        && matches!(import.ty, TypeRef::Func(_));
                    if !is_call {
                        return Err(
                            format!("foreign import {}.{}", import.module, import.name).into()
                        );
                    }
                }
            }
            Payload::MemorySection(section) => memories += section.count(),
            Payload::GlobalSection(section) => {
                for global in section {
                    mutable_globals += u32::from(global?.ty.mutable);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    // The linker also exports the end of the data and the start of the heap.
                    if export.kind != ExternalKind::Global {
                        exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::StartSection { .. } => return Err("the module has a start function".into()),
            _ => {}
        }
    }
    let mut expected = EXPORTS.map(str::to_owned).to_vec();
    expected.sort_unstable();
    exports.sort_unstable();
    if exports != expected {
        return Err(format!("the module exports {exports:?}, not {expected:?}").into());
    }
    if memories != 1 {
        return Err(format!("the module defines {memories} memories, not one").into());
    }
    if mutable_globals != 1 {
        return Err(format!(
            "the module has {mutable_globals} mutable globals, not only the stack pointer"
        )
        .into());
    }
    Ok(())
}
