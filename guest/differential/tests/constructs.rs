//! Tests that the guest returns the same as native Rhai for each construct of the Rhai book that
//! scripts can use. `constructs.txt` has one program per line, below the chapter's name.

use picloud_differential::reference;
use picloud_testing::guest;

#[tokio::test]
async fn each_construct_gives_what_native_rhai_gives() {
    let guest = guest::Guest::start();
    let mut chapter = "";
    let mut wrong = Vec::new();
    let mut programs = 0;
    for line in include_str!("constructs.txt").lines().filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("# ") {
            chapter = title;
            continue;
        }
        programs += 1;
        let Some(expected) = reference(line) else {
            wrong.push(format!("{chapter}: native Rhai does not run it: {line}"));
            continue;
        };
        let answer = guest.run(line).await;
        if answer != expected {
            wrong.push(format!(
                "{chapter}: {line}\n  expected {expected:?}\n  the guest {answer:?}"
            ));
        }
    }
    assert!(programs > 150, "{programs} programs do not cover all constructs");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
