//! Tests the sandbox from inside: what a run leaves behind, and what a guest can do that breaks the
//! contract.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use picloud_shared::calls::Op;
use picloud_shared::calls::time::Now;
use picloud_shared::execution::{
    Answer, AnswerKind, BodyKind, CompileReply, Compiled, ExecutionInfo, HttpRequest, HttpResponse,
    Input, RunReply, RunRequest,
};
use picloud_shared::{Slice, codec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::engine::GuestEngine;
use super::module::GuestModule;
use super::sandbox::Sandbox;
use super::{Executor, Image, Outcome, Run, Settings, Status, hostcalls, image, run};
use crate::clock::Clock;
use crate::limits::Limits;
use crate::private_hosts::PrivateHosts;

/// The number of times that one slot is reused while its memory is checked.
const REUSES: usize = 10_000;

fn settings(data: &Path) -> Settings {
    Settings {
        data: data.to_owned(),
        slots: 1,
        queue_timeout: Duration::from_secs(60),
        queue_max: 10_000,
        memory_bytes_ceiling: 64 << 20,
        image_cache_bytes_max: 1 << 20,
        private_hosts: PrivateHosts::default(),
    }
}

fn request(body: &[u8]) -> RunRequest<Arc<Input>> {
    RunRequest {
        execution: ExecutionInfo {
            id: String::new(),
            app: "app".to_owned(),
            script: "script".to_owned(),
            version: 1,
            attempt: 1,
        },
        input: Arc::new(Input::Http(HttpRequest {
            raw: body.to_vec(),
            body: BodyKind::Binary,
            ..HttpRequest::default()
        })),
        call_depth_max: 64,
        answer: AnswerKind::Response,
    }
}

/// Fills memory in one run. Compares all memory that the next instance can read with the memory of
/// the first instance.
async fn nothing_is_left_behind(engine: &GuestEngine) {
    let clock = Clock::system();
    let source = r#"let secret = ctx.request.body;
        let copies = [];
        for i in 0..16 { copies.push(secret + secret); }
        copies.len"#;
    let image = image::compile(engine, &clock, source).await.unwrap().unwrap();
    let limits = Limits { memory_bytes_max: 16 << 20, ..Limits::DEFAULT };
    let fresh = async || {
        let sandbox = Sandbox::new(limits, clock.clone());
        let (mut store, instance) = engine.instantiate(sandbox).await.unwrap();
        let pages = (limits.memory_bytes_max - instance.memory.data_size(&store) as u64) / 65_536;
        instance.memory.grow(&mut store, pages).unwrap();
        (store, instance.memory)
    };
    let pristine = {
        let (store, memory) = fresh().await;
        memory.data(&store).to_vec()
    };
    for reuse in 0..REUSES {
        let secret = vec![u8::try_from(reuse % 251).unwrap() + 1; 4_000 + reuse % 16 * 2_000];
        let outcome = run::execute(engine, &clock, &image, request(&secret), limits, None).await;
        assert_eq!(outcome.status, Status::Success, "{:?}", outcome.failure);
        // Comparing costs more than running: only the first reuses, then every 50th.
        if reuse < 100 || reuse % 50 == 0 {
            let (store, memory) = fresh().await;
            assert!(memory.data(&store) == pristine, "reuse {reuse} read what another run wrote");
        }
    }
}

#[tokio::test]
async fn a_run_reads_nothing_of_another_run() {
    let data = TempDir::new().unwrap();
    let engine = GuestEngine::load_guest(
        &settings(data.path()),
        GuestModule::embedded(),
        false,
        hostcalls::link,
    )
    .unwrap();
    nothing_is_left_behind(&engine).await;
}

#[tokio::test]
async fn a_run_reads_nothing_of_another_run_where_there_is_swap() {
    let data = TempDir::new().unwrap();
    let engine = GuestEngine::load_guest(
        &settings(data.path()),
        GuestModule::embedded(),
        true,
        hostcalls::link,
    )
    .unwrap();
    nothing_is_left_behind(&engine).await;
}

#[tokio::test]
async fn a_run_that_is_not_short_moves_to_the_guest_threads() {
    let data = TempDir::new().unwrap();
    let executor = Executor::start(&settings(data.path()), Clock::system(), None).unwrap();
    let long = "let n = 0; for i in 0..200000 { n += i } n";
    let logs = r#"let text = ""; text.pad(100000, 'x'); print(text);"#;
    let large = vec![b'x'; 100_000];
    for (source, body, is_short) in [
        ("1 + 1", &large[..100], true),
        (long, &[], false),
        (logs, &[], false),
        ("1 + 1 + 1", &large, false),
    ] {
        let image = executor.compile(source).await.unwrap().unwrap();
        let run = Run {
            image: image.clone(),
            request: request(body),
            limits: Limits::DEFAULT,
            app_id: None,
            execution_id: uuid::Uuid::nil().into(),
            first_execution_id: uuid::Uuid::nil().into(),
            private_hosts: Arc::default(),
            starts_here: true,
        };
        let outcome = executor.execute(run).await.unwrap();
        assert_eq!(outcome.status, Status::Success, "{:?}", outcome.failure);
        assert_eq!(image.start().next_is_on_guest_threads(), !is_short, "{source}");
    }
}

/// A guest whose replies the test controls. `compile` returns the bytes at 16. `run` makes the host
/// call whose three numbers are at 0, and returns the number at 1024.
const LIAR: &str = r#"(module
    (import "picloud" "call" (func $call (param i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (table 1 funcref)
    (func (export "abi_version") (result i32) (i32.const 3))
    (func (export "stack_end") (result i32) (i32.const 0))
    (func (export "alloc") (param i32) (result i32) (i32.const 2048))
    (func (export "compile") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.load (i32.const 8))))
    (func (export "run") (param i32 i32) (result i64)
        (drop (call $call
            (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.load (i32.const 8))))
        (i64.load (i32.const 1024)))
    (func (export "place") (param i32) (result i64) (i64.load (i32.const 1024))))"#;

#[derive(Debug, Clone)]
struct Lie {
    op: u32,
    ptr: u32,
    len: u32,
    answer: u64,
    memory: Vec<u8>,
}

impl Lie {
    /// Returns what a guest that obeys the contract would send.
    fn honest() -> Self {
        let asked = codec::encode(&Now);
        let reply: RunReply =
            Ok(Answer::Response(HttpResponse { status: 200, ..HttpResponse::default() }));
        let reply = codec::encode(&reply);
        let (ptr, len) = (64, u32::try_from(asked.len()).unwrap());
        let answer = Slice { ptr: ptr + len, len: u32::try_from(reply.len()).unwrap() }.pack();
        Self { op: Op::TimeNow as u32, ptr, len, answer, memory: [asked, reply].concat() }
    }

    /// Returns the guest's memory before its run.
    fn memory(&self) -> Vec<u8> {
        let mut memory = vec![0; 4096];
        memory[..4].copy_from_slice(&self.op.to_le_bytes());
        memory[4..8].copy_from_slice(&self.ptr.to_le_bytes());
        memory[8..12].copy_from_slice(&self.len.to_le_bytes());
        memory[64..64 + self.memory.len()].copy_from_slice(&self.memory);
        memory[1024..1032].copy_from_slice(&self.answer.to_le_bytes());
        memory
    }

    /// Whether the reply of `run` is well-formed. Data that the host wrote into its memory
    /// meanwhile can be well-formed too.
    fn answers_well(&self) -> bool {
        let Slice { ptr, len } = Slice::unpack(self.answer);
        let (start, end) = (ptr as usize, ptr as usize + len as usize);
        let memory = self.memory();
        match memory.get(start..end) {
            Some(answer) => end > 2048 || codec::decode::<RunReply>(answer).is_ok(),
            None => start < 4096 && end > 2048 && end <= 65_536,
        }
    }
}

fn lie_once(engine: &GuestEngine, clock: &Clock, lie: &Lie) -> Outcome {
    let image = Image::of(0, &[0; 4096], &lie.memory(), 2048, lie.ptr, 0);
    let request = request(&lie.memory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(run::execute(engine, clock, &image, request, Limits::DEFAULT, None))
}

fn lies() -> impl Strategy<Value = Lie> {
    let near_the_edges = prop_oneof![0_u32..4096, 65_000_u32..66_000, any::<u32>()];
    let op = prop_oneof![1_u32..8, any::<u32>()];
    let answer = prop_oneof![
        (0_u64..70_000, 0_u64..70_000).prop_map(|(ptr, len)| ptr << 32 | len),
        any::<u64>()
    ];
    let memory = proptest::collection::vec(any::<u8>(), 0..512);
    (op, near_the_edges.clone(), near_the_edges, answer, memory)
        .prop_map(|(op, ptr, len, answer, memory)| Lie { op, ptr, len, answer, memory })
}

#[test]
fn a_lying_guest_ends_its_own_execution_and_nothing_else() {
    let data = TempDir::new().unwrap();
    let guest = wat::parse_str(LIAR).unwrap();
    let engine = GuestEngine::load_guest(
        &settings(data.path()),
        GuestModule::new(&guest),
        false,
        hostcalls::link,
    )
    .unwrap();
    let clock = Clock::system();
    let mut runner = TestRunner::new(Config { cases: 4_000, ..Config::default() });
    runner
        .run(&lies(), |lie| {
            let ended = lie_once(&engine, &clock, &lie);
            // The bytes can be a well-formed reply by chance. Everything else is a crash.
            let answered = lie.answers_well();
            prop_assert!(answered || ended.status == Status::Crashed, "{ended:?}");
            let named = ended.failure.is_some_and(|failure| !failure.message.is_empty());
            prop_assert!(named || ended.status == Status::Success);
            let honest = lie_once(&engine, &clock, &Lie::honest());
            prop_assert_eq!(honest.status, Status::Success, "{:?}", honest.failure);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_guest_that_answers_compile_with_anything_is_no_danger() {
    let reply: CompileReply = Ok(Compiled { instruction_ptr: u32::MAX });
    let encoded = codec::encode(&reply);
    assert_eq!(codec::decode::<CompileReply>(&encoded), Ok(reply));
    let image = Image::of(0, &[], &[1; 4096], 0, u32::MAX, 0);
    let mut sandbox = Sandbox::new(Limits::DEFAULT, Clock::system());
    sandbox.instruction_ptr = Some(image.instruction_ptr());
    let instruction = sandbox.instruction(&[0; 4096]);
    assert_eq!(instruction, None, "an address outside of memory is no address");
}

#[test]
fn an_image_is_what_was_changed_and_no_more() {
    let (stack_end, before) = (4_096, vec![7; 61_440]);
    let mut after = vec![7; 65_536 * 2];
    after[65_536..].fill(0);
    // On the stack; close to each other; far away; in memory that did not exist before.
    after[100] = 1;
    after[5_000] = 1;
    after[5_300] = 1;
    after[60_000] = 1;
    after[70_000] = 1;
    let image = Image::of(stack_end, &before, &after, 0, 0, 0);
    let kept = image.changes();
    let starts: Vec<_> = kept.iter().map(|(start, _)| *start).collect();
    assert_eq!(starts, [4_992, 59_968, 69_952]);
    assert!(kept.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 600);
    let mut fresh = [vec![9; stack_end], before, vec![0; 65_536]].concat();
    for (start, bytes) in kept {
        fresh[*start..*start + bytes.len()].copy_from_slice(bytes);
    }
    assert!(fresh[stack_end..] == after[stack_end..], "a fresh memory with it is that memory");
}

#[tokio::test]
async fn compiled_code_that_was_tampered_with_is_compiled_again() {
    let data = TempDir::new().unwrap();
    let guest = wat::parse_str(LIAR).unwrap();
    GuestEngine::load_guest(
        &settings(data.path()),
        GuestModule::new(&guest),
        false,
        hostcalls::link,
    )
    .unwrap();
    let cached =
        || std::fs::read_dir(data.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    let mut code = std::fs::read(cached()).unwrap();
    let last = code.len() - 1;
    code[last] ^= 1;
    std::fs::write(cached(), &code).unwrap();
    GuestEngine::load_guest(
        &settings(data.path()),
        GuestModule::new(&guest),
        false,
        hostcalls::link,
    )
    .unwrap();
    code[last] ^= 1;
    assert_eq!(std::fs::read(cached()).unwrap(), code, "the right code is back in its place");
}
