//! With everything settled the operator costs nothing, as the API server counts it.

use std::time::Duration;

use gastown_api::polecat::PolecatPhase;
use gastown_tests::harness::audit::{Mark, Request};
use gastown_tests::harness::{World, operator, polecat, with_quiet_world};

/// How long the operator is watched: a minute, or `GASTOWN_IDLE_SECONDS`.
fn how_long() -> Duration {
    let seconds = std::env::var("GASTOWN_IDLE_SECONDS").map_or(60, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn with_polecats_done_the_operator_writes_its_lease_and_nothing_else() {
    with_quiet_world("quiet", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        for name in ["done-1", "done-2"] {
            world.sling(polecat(name, "fix-bug")).await;
        }
        world.sling(polecat("stuck-1", "nothing")).await;
        for name in ["done-1", "done-2"] {
            world.ends(name, PolecatPhase::Done).await;
        }
        world.is_stuck("stuck-1", "NothingChanged").await;
        // What ended lately may still be tidied up.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let mark = Mark::now();
        tokio::time::sleep(how_long()).await;
        let requests = mark.requests_of(operator::USER);
        assert!(!requests.is_empty(), "the log shows at least the Lease");
        let of_lease = |request: &&Request| request.resource == "leases";
        let writes: Vec<_> = requests.iter().filter(|r| r.is_write() && !of_lease(r)).collect();
        assert!(writes.is_empty(), "{writes:?}");
        let reads = requests.iter().filter(|request| !request.is_write()).count();
        let most = usize::try_from(how_long().as_secs()).unwrap();
        assert!(reads <= most, "{reads} reads in {most} s: {requests:?}");
    })
    .await;
}
