use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::content::{decode, encode, has};
use super::pack::{Head, pack, to_merge};
use super::*;
use crate::store::{AppId, ExecutionId, ExecutionStatus, TriggerKind};

const SECOND_US: i64 = 1_000_000;

/// Returns the id of an execution that began at this second.
fn id(second: u64, number: u64) -> ExecutionId {
    let mut bytes = [0x42; 16];
    bytes[..6].copy_from_slice(&(second * 1000).to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Uuid::from_bytes(bytes).into()
}

fn app(number: u64) -> AppId {
    Uuid::from_u64_pair(7, number).into()
}

/// Returns an execution that began and ended at this second.
fn execution(second: u64, number: u64) -> Execution {
    let at = i64::try_from(second).unwrap() * SECOND_US;
    Execution {
        id: id(second, number),
        app_id: app(1),
        script_id: Uuid::from_u64_pair(8, number % 3).into(),
        script_name: format!("script-{}", number % 3),
        version: 1,
        status: ExecutionStatus::Success,
        trigger_kind: TriggerKind::Http,
        attempt: 1,
        request: Json::from_text(format!(r#"{{"method":"GET","path":"/x/shop/{number}"}}"#)),
        response: Some(Json::from_text(r#"{"status":200}"#.to_owned())),
        log: Json::from_text("[]".to_owned()),
        error: None,
        fuel_used: 7,
        memory_peak_bytes: 65_536,
        duration_us: 250,
        started_at: at,
        finished_at: at + 250,
        event_id: None,
        trigger_id: None,
        parent_id: (number % 2 == 1).then(|| id(second, 99)),
        caused_by: None,
    }
}

fn encoded(rows: &[Execution]) -> Vec<u8> {
    encode(rows.iter().enumerate().map(|(number, row)| (number as i64, row))).unwrap()
}

#[test]
fn executions_come_back_from_their_content() {
    let mut odd = execution(5, 3);
    (odd.started_at, odd.finished_at, odd.fuel_used) = (i64::MAX, i64::MIN, i64::MIN);
    (odd.response, odd.script_name) = (None, "ü".repeat(100));
    odd.trigger_kind = TriggerKind::Script;
    let rows = [execution(5, 1), execution(5, 2), odd, execution(4, 4)];
    let numbered = [(-3, &rows[0]), (0, &rows[1]), (7, &rows[2]), (i64::MAX, &rows[3])];
    let content = encode(numbered.into_iter()).unwrap();
    let decoded = decode(&app(1), &content).unwrap();
    let numbers: Vec<_> = decoded.iter().map(|row| row.sequence).collect();
    assert_eq!(numbers, [-3, 0, 7, i64::MAX]);
    assert_eq!(decoded.into_iter().map(|row| row.execution).collect::<Vec<_>>(), rows);
    assert!(has(&content, &rows[3].id) && !has(&content, &id(5, 9)));
}

#[test]
fn a_trivial_execution_costs_less_than_a_hundred_bytes() {
    let rows: Vec<_> = (0..256).map(|number| execution(number / 10, number)).collect();
    let content = encoded(&rows);
    assert!(content.len() / rows.len() < 100, "{} bytes", content.len() / rows.len());
}

#[test]
fn damaged_content_is_refused() {
    let content = encoded(&[execution(1, 1), execution(1, 2)]);
    let whole = decode(&app(1), &content).unwrap();
    for length in 0..content.len() {
        assert!(decode(&app(1), &content[..length]).is_err(), "{length}");
    }
    for at in 0..content.len() {
        let mut damaged = content.clone();
        damaged[at] ^= 0xff;
        // Ids have no check of their own.
        let _ = decode(&app(1), &damaged);
    }
    let mut newer = content.clone();
    newer[0] = 2;
    assert!(decode(&app(1), &newer).is_err());
    assert_eq!(whole.len(), 2);
}

proptest! {
    #[test]
    fn random_content_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&app(1), &bytes);
        let mut with_head = vec![1, 0, 0, 0, 0];
        with_head.extend(&bytes);
        let _ = decode(&app(1), &with_head);
    }
}

#[test]
fn only_small_successes_without_effects_are_taken() {
    assert!(takes(&execution(1, 1)));
    let text = |bytes: usize| Json::from_text(format!("\"{}\"", "x".repeat(bytes - 2)));
    let change = |change: &dyn Fn(&mut Execution)| {
        let mut row = execution(1, 1);
        change(&mut row);
        takes(&row)
    };
    let others = text_bytes(&execution(1, 1)) - 2;
    assert!(change(&|row| row.log = text(EXECUTION_BYTES_MAX - others)));
    assert!(!change(&|row| row.log = text(EXECUTION_BYTES_MAX - others + 1)));
    assert!(!change(&|row| row.status = ExecutionStatus::Timeout));
    assert!(!change(&|row| row.error = Some(text(2))));
    assert!(!change(&|row| row.event_id = Some(Uuid::nil().into())));
    assert!(!change(&|row| row.trigger_id = Some(Uuid::nil().into())));
    assert!(!change(&|row| row.caused_by = Some(Uuid::nil().into())));
}

#[test]
fn a_block_ends_at_each_of_its_limits() {
    let packed = |rows: &[Execution]| pack(rows.iter().collect()).unwrap().len();
    let max = EXECUTIONS_MAX as u64;
    let many: Vec<_> = (0..=max).map(|number| execution(1, number)).collect();
    assert_eq!((packed(&many[1..]), packed(&many)), (1, 2));
    let hour = 3600;
    assert_eq!(packed(&[execution(1, 1), execution(1 + hour, 2)]), 1);
    assert_eq!(packed(&[execution(1, 1), execution(2 + hour, 2)]), 2);
    assert_eq!(packed(&[execution(2 + hour, 1), execution(1, 2)]), 2, "backwards too");
    let mut late = execution(1, 2);
    late.finished_at += SPAN_US + 1;
    assert_eq!(packed(&[execution(1, 1), late]), 2);
    let mut other = execution(1, 2);
    other.app_id = app(2);
    assert_eq!(packed(&[execution(1, 1), other, execution(1, 3)]), 2);
    let large: Vec<_> = (0..17_u64)
        .map(|number| {
            let mut row = execution(1, number);
            row.log = Json::from_text(format!("\"{}\"", "x".repeat(16_000)));
            row
        })
        .collect();
    assert_eq!((packed(&large[..16]), packed(&large)), (1, 2));
}

fn head(second: u64, executions: i64) -> Head {
    let at = i64::try_from(second).unwrap() * SECOND_US;
    let (first_id, last_id) = (id(second, 1), id(second, 2));
    Head {
        last_id,
        first_id,
        first_finished_at: at,
        last_finished_at: at,
        executions,
        bytes: executions * 60,
    }
}

#[test]
fn small_blocks_are_merged_with_blocks_of_their_size() {
    let of = |sizes: &[i64]| {
        let heads: Vec<_> = sizes.iter().map(|size| head(1, *size)).collect();
        to_merge(&heads)
    };
    assert_eq!(of(&[1; 16]), 16);
    assert_eq!(of(&[1, 1, 1, 1, 8]), 5, "half of the larger one");
    assert_eq!(of(&[1, 1, 1, 8]), 3);
    assert_eq!(of(&[10, 300]), 0, "nothing to merge with");
    assert_eq!(of(&[256, 256]), 2);
    assert_eq!(of(&[257, 256]), 0, "too many");
    assert_eq!(of(&[]), 0);
    assert_eq!(to_merge(&[head(3700, 1), head(3650, 1), head(10, 1)]), 2, "too old");
}

/// The number of times that each execution is written, if each flush has `flush` of them.
fn written(flush: i64, flushes: i64) -> i64 {
    let (mut blocks, mut written): (Vec<Head>, i64) = (Vec::new(), 0);
    for number in 0..flushes {
        blocks.insert(0, head(1, flush));
        written += flush;
        if number % 16 == 15 {
            let merged = to_merge(&blocks);
            let executions = blocks.drain(..merged).map(|block| block.executions).sum();
            if merged > 0 {
                written += executions;
                blocks.insert(0, head(1, executions));
            }
        }
    }
    let fits = |block: &Head| block.executions <= EXECUTIONS_MAX as i64;
    assert!(blocks.iter().all(fits));
    written / (flush * flushes)
}

#[test]
fn an_execution_is_rewritten_only_a_few_times() {
    for (flush, most) in [(1, 4), (2, 4), (10, 3), (30, 2), (100, 2)] {
        assert!(written(flush, 3_200) <= most, "{flush}: {}", written(flush, 3_200));
    }
}

#[test]
fn scripts_of_a_block_are_known() {
    let rows: Vec<_> = (0..9).map(|number| execution(1, number)).collect();
    let scripts: BTreeSet<_> = rows.iter().map(|row| row.script_id.clone()).collect();
    let packed = pack(rows.iter().collect()).unwrap();
    assert_eq!((packed.len(), &packed[0].scripts), (1, &scripts));
}
