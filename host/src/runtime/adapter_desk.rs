//! Reload and rollback, in the words of ingress.

use async_trait::async_trait;
use serde_json::Value;

use super::desk::HostDesk;
use super::generations::compare::Leave;
use super::generations::{Ask, NotSwapped};
use crate::ingress::{AdapterDesk, NotReloaded, RefusedChannel, ReloadAsk};
use crate::lifecycle::id::ChannelName;

#[async_trait]
impl AdapterDesk for HostDesk {
    async fn reload(&self, channel: ChannelName, ask: ReloadAsk) -> Result<Value, NotReloaded> {
        let leave = Leave { downgrade: ask.allow_downgrade, more: ask.approve };
        let reloaded =
            self.generations.reload(&channel, Ask::Order { leave, sha: ask.sha256 }).await;
        let same = || format!("channel \"{channel}\" runs this already");
        reloaded.map_err(|why| not_reloaded(why, same))
    }

    async fn roll_back(&self, channel: ChannelName, by: String) -> Result<Value, NotReloaded> {
        let back = self.generations.roll_back(&channel, &by).await;
        let none = || format!("channel \"{channel}\" has no version to go back to");
        back.map_err(|why| not_reloaded(why, none))
    }
}

fn not_reloaded(why: NotSwapped, same: impl FnOnce() -> String) -> NotReloaded {
    match why {
        NotSwapped::Refused(RefusedChannel { code, reason }) => {
            NotReloaded::Refused { code, sentence: reason }
        }
        NotSwapped::Same => NotReloaded::Nothing { sentence: same() },
        NotSwapped::Moved => NotReloaded::Refused {
            code: "adapter_moving".to_owned(),
            sentence: "the file is being written; reload it again when it is whole".to_owned(),
        },
    }
}
