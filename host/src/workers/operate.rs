//! What a person orders, one path for CLI and API: the row first, then the memory, then the answer.

use std::sync::Arc;

use super::hub::{Hub, wrong_answer};
use crate::store::{
    Answer, BulkAsk, BulkPage, ChannelSwitch, Command, Operated, StoreError, Trial,
};

/// Carries out an operator's command: `Abort`, `Resolve`, `Replay` or `SwitchChannel`. An abort is on disk, its handlers are told and no call of it can begin
/// any more when this returns.
///
/// # Errors
/// The store's; nothing was changed then.
pub async fn operate(hub: &Arc<Hub>, command: Command) -> Result<Operated, StoreError> {
    // The work goes on where the caller goes away: what was committed must reach the gate.
    let worker = Arc::clone(hub);
    let work = async move { carry_out(&worker, command).await };
    match hub.env.spawn(hub.tasks.track_future(work)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::NotWritable("the host ends".to_owned())),
    }
}

/// Carries out one page of an order on many rows; who was stopped is told before this returns.
///
/// # Errors
/// The store's; nothing was changed then.
pub async fn bulk(hub: &Arc<Hub>, ask: BulkAsk) -> Result<BulkPage, StoreError> {
    let worker = Arc::clone(hub);
    let work = async move {
        let dry = ask.trial == Trial::DryRun;
        let page = worker.store.bulk(ask).await?;
        for turn in &page.stopped {
            worker.gate.stop_turn(*turn);
        }
        worker.metrics.turns_aborted.add(page.stopped.len() as u64);
        if !dry {
            worker.wake_all();
        }
        Ok(page)
    };
    match hub.env.spawn(hub.tasks.track_future(work)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::NotWritable("the host ends".to_owned())),
    }
}

async fn carry_out(hub: &Hub, command: Command) -> Result<Operated, StoreError> {
    let switched = match &command {
        Command::SwitchChannel { channel, switch: ChannelSwitch::Pause(_) } => {
            Some((channel.clone(), true))
        }
        Command::SwitchChannel { channel, switch: ChannelSwitch::Resume } => {
            Some((channel.clone(), false))
        }
        _ => None,
    };
    let (operated, stopped) = match hub.store.run(command).await? {
        Answer::Operated { operated, stopped } => (operated, stopped),
        Answer::Done => (Operated::Done { ids: Vec::new() }, Vec::new()),
        _ => return Err(wrong_answer("operate")),
    };
    for turn in &stopped {
        hub.gate.stop_turn(*turn);
    }
    hub.metrics.turns_aborted.add(stopped.len() as u64);
    if let (Some((name, paused)), Operated::Done { .. }) = (switched, &operated)
        && let Some(channel) = hub.channel(&name)
    {
        channel.set_paused(paused);
    }
    hub.wake_all();
    Ok(operated)
}
