//! Tests that the guest returns the same as native Rhai for random programs.
//!
//! `PICLOUD_DIFFERENTIAL_PROGRAMS` sets their number, `PICLOUD_DIFFERENTIAL_SEED` the first seed. A
//! failure prints the seed and the source; the same seed repeats it.

use picloud_differential::{Answer, program, reference};
use picloud_testing::guest;

/// The number of programs that `make test` runs.
const PROGRAMS: u64 = 2_000;

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

fn is_over_fuel(answer: &Answer) -> bool {
    matches!(&answer.result, Err((message, _)) if message.starts_with("limit fuel exceeded"))
}

#[tokio::test]
async fn random_programs_give_what_native_rhai_gives() {
    let guest = guest::Guest::start();
    let programs = variable("PICLOUD_DIFFERENTIAL_PROGRAMS", PROGRAMS);
    let first = variable("PICLOUD_DIFFERENTIAL_SEED", 1);
    let (mut answered, mut failed, mut costly) = (0, 0, 0);
    for seed in first..first + programs {
        let source = program(seed);
        let Some(expected) = reference(&source) else { continue };
        let answer = guest.run(&source).await;
        if is_over_fuel(&answer) {
            // The reference counts operations, regardless of their cost.
            costly += 1;
            continue;
        }
        match &expected.result {
            Ok(_) => answered += 1,
            Err(_) => failed += 1,
        }
        assert!(
            answer == expected,
            "PICLOUD_DIFFERENTIAL_SEED={seed}\n{source}\nexpected {expected:#?}\nthe guest {answer:#?}"
        );
    }
    println!(
        "from seed {first}: {answered} programs succeeded, {failed} failed, in both the same; \
         {costly} exceeded the fuel limit"
    );
    assert!(costly * 1000 <= programs, "too many programs exceed the fuel limit");
    // Programs that do not parse are not compared.
    assert!((answered + failed) * 10 >= programs * 9, "too few programs were compared");
    assert!(answered * 3 >= programs, "too few programs reach their end");
}
