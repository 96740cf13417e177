//! Deployments under constant load: whoever visits the app notices nothing.

use mayfly_testing::wait_until;

use super::{CHECKED, Shop, id, rounds};

/// Deployments of the everyday test, one by each strategy; `MAYFLY_DEPLOY_ROUNDS` makes more.
const ROUNDS: usize = 3;

const STRATEGIES: [&str; 3] = ["rolling", "bluegreen", "canary"];

#[test]
fn no_request_fails_by_any_strategy_nor_by_a_broken_release() {
    let shop = Shop::open();
    let write = |version: usize| {
        shop.write(&format!("[env]\nROUND = \"{version}\"\n{CHECKED}"));
    };
    write(0);
    shop.deploy(&[]).ok();
    let rounds = rounds(ROUNDS);
    let visits = shop.visited_during(|| {
        for round in 1..=rounds {
            write(round);
            let strategy = STRATEGIES[round % STRATEGIES.len()];
            shop.deploy(&["--strategy", strategy]).ok();
        }
    });
    assert!(visits > 20 * rounds, "{visits}");
    println!("{rounds} deployments, {visits} visits, none failed");

    // What is tried out beside the old machines and does not come up goes, and nothing else has changed.
    let before = shop.machines("app");
    shop.write(&format!(
        "{CHECKED}[experimental]\nexec = [\"/bin/sh\", \"-c\", \"echo no; exit 3\"]\n"
    ));
    shop.visited_during(|| {
        for strategy in ["bluegreen", "canary"] {
            shop.deploy(&["--strategy", strategy]).refused();
            assert_eq!(shop.newest()["status"], "failed", "{strategy}");
        }
    });
    wait_until("what was tried out is gone", || {
        let now = shop.machines("app");
        now.iter().map(id).eq(before.iter().map(id))
    });
    for machine in &before {
        assert_eq!(shop.env(id(machine), "ROUND"), rounds.to_string());
    }
}
