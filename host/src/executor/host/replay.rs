//! A recording of a run's host calls, and its replay.

use picloud_shared::Slice;
use picloud_shared::calls::Op;
use wasmtime::{Caller, Result, bail};

use super::kind::{Journal, Served};
use super::{Host, Live};
use crate::executor::memory::{Guest, bytes_of};
use crate::executor::sandbox::Sandbox;

fn request_of(caller: &Caller<'_, Sandbox>, guest: &Guest, request: Slice) -> Vec<u8> {
    bytes_of(guest.memory.data(caller), request).map(<[u8]>::to_vec).unwrap_or_default()
}

/// Serves calls as [`Live`] does, and records the replies.
pub(in crate::executor) struct Recording<'a>(pub(in crate::executor) &'a Journal);

impl Host for Recording<'_> {
    async fn serve(
        &self,
        caller: &mut Caller<'_, Sandbox>,
        guest: &Guest,
        op: Op,
        request: Slice,
    ) -> Result<Vec<u8>> {
        let (asked, before) = (request_of(caller, guest, request), caller.get_fuel()?);
        let reply = Live.serve(caller, guest, op, request).await?;
        self.0.push(Served {
            op,
            request: asked,
            reply: reply.clone(),
            owed_fuel: caller.data().owed_fuel,
            used_fuel: before - caller.get_fuel()?,
        });
        Ok(reply)
    }
}

/// Serves the recorded replies. A guest whose calls differ from the recorded ones traps.
pub(in crate::executor) struct Replay<'a>(pub(in crate::executor) &'a Journal);

impl Host for Replay<'_> {
    async fn serve(
        &self,
        caller: &mut Caller<'_, Sandbox>,
        guest: &Guest,
        op: Op,
        request: Slice,
    ) -> Result<Vec<u8>> {
        let asked = request_of(caller, guest, request);
        let Some(served) = self.0.pop().filter(|next| next.op == op && next.request == asked)
        else {
            bail!("the run differs from its recording at {op:?}");
        };
        caller.data_mut().owed_fuel = served.owed_fuel;
        caller.set_fuel(caller.get_fuel()?.saturating_sub(served.used_fuel))?;
        Ok(served.reply)
    }
}

mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use picloud_shared::codec;
    use picloud_shared::execution::{
        Answer, AnswerKind, ExecutionInfo, HttpRequest, Input, RunReply, RunRequest,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::clock::Clock;
    use crate::executor::host::kind::RunHost;
    use crate::executor::{Backing, Executor, Image, Run, Settings};
    use crate::limits::Limits;
    use crate::private_hosts::PrivateHosts;
    use crate::secrets::{KeySettings, Secrets};
    use crate::store::{AppId, DatabaseUrl, ExecutionId, NewApp, Store};

    /// Uses everything that differs between runs, and the run's own changes.
    const SOURCE: &str = r#"
        let orders = kv::collection("orders");
        orders.set("first", #{ at: time::now().to_string(), id: random::uuid() });
        let count = orders.increment("count", random::int(1, 1000000));
        files::bucket("notes").put("a.txt", "text " + count);
        let sent = queue::send("mails", #{ count: count });
        log::info("sent", #{ id: sent });
        let missing = "";
        try { orders.get(""); } catch (error) { missing = error; }
        #{
            first: orders.get("first"),
            keys: orders.list().items.map(|entry| entry.key),
            note: files::bucket("notes").get("a.txt"),
            random: [random::float(), random::uuid()],
            sent: sent,
            missing: missing,
        }
    "#;

    async fn executor(data: &Path) -> (Executor, AppId) {
        let clock = Clock::system();
        let url = DatabaseUrl::sqlite_file(&data.join("picloud.db")).unwrap();
        let store = Store::open(&url).await.unwrap();
        let app = NewApp {
            id: clock.new_id().into(),
            name: "app".to_owned(),
            description: String::new(),
            created_at: clock.now_us(),
        };
        let app_id = app.id.clone();
        store.insert_app(app).await.unwrap();
        let keys = KeySettings { data: data.to_owned(), configured: None, previous: None };
        let secrets = Secrets::start(&store, &clock, &keys).await.unwrap();
        let backing = Backing { store: store.read_only(), secrets };
        let settings = Settings {
            data: data.to_owned(),
            slots: 1,
            queue_timeout: Duration::from_secs(60),
            queue_max: 8,
            memory_bytes_ceiling: 64 << 20,
            image_cache_bytes_max: 1 << 20,
            private_hosts: PrivateHosts::default(),
        };
        (Executor::start(&settings, clock, Some(backing)).unwrap(), app_id)
    }

    /// The result of a run: its reply, the remaining fuel, and its memory at the end.
    struct Made {
        reply: RunReply,
        fuel_left: u64,
        memory: Vec<u8>,
    }

    async fn run(executor: &Executor, image: &Image, app_id: &AppId, host: RunHost) -> Made {
        let id = ExecutionId::from(uuid::Uuid::nil());
        let request = RunRequest {
            execution: ExecutionInfo { app: "app".to_owned(), ..ExecutionInfo::default() },
            input: Arc::new(Input::Http(HttpRequest::default())),
            call_depth_max: 64,
            answer: AnswerKind::Response,
        };
        let run = Run {
            image: image.clone(),
            request: request.clone(),
            limits: Limits::DEFAULT,
            app_id: Some(app_id.clone()),
            execution_id: id.clone(),
            first_execution_id: id,
            private_hosts: Arc::default(),
            starts_here: false,
        };
        let mut sandbox = Sandbox::new(Limits::DEFAULT, Clock::system());
        if matches!(host, RunHost::Recording(_)) {
            sandbox.context = executor.context(&run).map(Arc::new);
        }
        sandbox.host = host;
        let engine = executor.engine();
        let (mut store, instance) = engine.instantiate(sandbox).await.unwrap();
        image.restore(instance.memory, &mut store).unwrap();
        let RunRequest { execution, input, answer, call_depth_max } = request;
        let request = RunRequest { execution, input: &*input, answer, call_depth_max };
        let encoded = codec::encode(&request);
        let len = u32::try_from(encoded.len()).unwrap();
        let ptr = instance.alloc(&mut store, encoded.len()).await.unwrap();
        instance.memory.write(&mut store, ptr as usize, &encoded).unwrap();
        let reply = engine.run(&mut store, &instance, Slice { ptr, len }).await.unwrap();
        let memory = instance.memory.data(&store).to_vec();
        let reply = codec::decode(bytes_of(&memory, reply).unwrap()).unwrap();
        Made { reply, fuel_left: store.get_fuel().unwrap(), memory }
    }

    #[tokio::test]
    async fn a_run_is_a_function_of_its_image_its_request_and_the_replies_of_the_host() {
        let data = TempDir::new().unwrap();
        let (executor, app_id) = executor(data.path()).await;
        let image = executor.compile(SOURCE).await.unwrap().unwrap();
        let journal = Journal::default();
        let live = run(&executor, &image, &app_id, RunHost::Recording(journal.clone())).await;
        assert!(matches!(&live.reply, Ok(Answer::Response(_))), "{:?}", live.reply);
        let ops: std::collections::HashSet<_> =
            journal.left().iter().map(|served| served.op).collect();
        for op in [Op::TimeNow, Op::RandomSeed, Op::KvSet, Op::KvList, Op::FilesPut, Op::QueueSend]
        {
            assert!(ops.contains(&op), "{op:?} is not a part of the test");
        }
        let replay = journal.copy();
        let again = run(&executor, &image, &app_id, RunHost::Replay(replay.clone())).await;
        assert_eq!(again.reply, live.reply);
        assert_eq!(again.fuel_left, live.fuel_left);
        assert!(again.memory == live.memory, "the memory differs");
        assert_eq!(replay.left(), []);
    }

    #[tokio::test]
    async fn another_run_is_no_replay() {
        let data = TempDir::new().unwrap();
        let (executor, app_id) = executor(data.path()).await;
        let image = executor.compile("kv::collection(\"a\").get(\"b\")").await.unwrap().unwrap();
        let journal = Journal::default();
        run(&executor, &image, &app_id, RunHost::Recording(journal.clone())).await;
        let other = executor.compile("kv::collection(\"a\").get(\"c\")").await.unwrap().unwrap();
        let replayed = tokio::spawn(async move {
            run(&executor, &other, &app_id, RunHost::Replay(journal)).await;
        });
        assert!(replayed.await.is_err(), "a run that asks for something else must trap");
    }
}
