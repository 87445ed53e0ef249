//! What no order of events of a whole host reaches for certain.

use std::sync::Arc;

use super::*;
use crate::store::{Answer, Command};
use crate::workers::tests::bench::{Bench, CHANNEL, message};
use crate::workers::turn_run::document;

// Case: B9
#[tokio::test(start_paused = true)]
async fn a_handler_whose_end_was_seen_before_its_last_word_is_waited_for_no_second_time() {
    let bench = Bench::idle(Default::default()).await;
    let hub = Arc::clone(bench.workers.hub());
    bench
        .slip_in(vec![crate::lifecycle::message::InboundEvent::Message(message("room", "m1", "x"))])
        .await;
    let mut permit = hub.desk.permit(hub.mono_ms()).unwrap();
    let approach = hub.gate.approach();
    let claiming = Command::ClaimTurn { lease: hub.rules.lease() };
    let Ok(Answer::ClaimedTurn(Some(claimed))) = hub.store.run(claiming).await else {
        panic!("nothing is claimed")
    };
    let claim = claimed.claim;
    let running = approach.run(claim.turn, claim.try_number).unwrap();
    let channel = Arc::clone(hub.channel(&CHANNEL.into()).unwrap());
    let keeper = Keeper::new(&hub, claim);
    let output = Output { hub: Arc::clone(&hub), channel, claim };
    let handler = Arc::clone(&bench.handler) as Arc<dyn Handler>;
    let mut it = Try::begin(output, handler, running, keeper, document(*claimed), &permit);
    // On threads the end of the task may be seen where its last word was not yet.
    let end = joined(&mut it.handler).await;
    let ending = it.on_end(end).await.unwrap().unwrap();
    assert!(matches!(ending, Ending::Decided), "{ending:?}");
    it.linger().await;
    it.works(&mut permit);
    it.end_handler(&ending).await;
    bench.wait(10).await;
    assert_eq!(bench.end(claim.turn).await.0, "delivered");
}
