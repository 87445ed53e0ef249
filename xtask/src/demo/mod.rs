//! `cargo xtask demo`: the whole of Lastword on this machine, with nothing prepared: the real host
//! with its store, the `webhook` adapter in the sandbox, an agent as a process per turn, and a sink
//! to which the replies are delivered.

mod host;
mod sink;
mod site;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use guest_build::GuestSet;
use serde_json::json;

use self::host::Host;
use self::sink::Delivered;
use self::site::Site;
use crate::artifacts::{self, Profile};

/// How long the reply to the demo's own message may take.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
/// How often the demo looks whether the host still runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When the demo ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    CtrlC,
    FirstReply,
}

/// What the demo waits for.
enum News {
    Delivered(Delivered),
    CtrlC,
}

/// Builds, starts, posts, shows; then serves.
pub(crate) fn run(until: Until) -> Result<()> {
    let adapter = webhook_adapter()?;
    let binary = artifacts::host(Profile::Dev)?;
    let (news, heard) = channel();
    stop_at_ctrl_c(news.clone())?;
    let callback_url = sink::start(move |delivered| {
        let _ = news.send(News::Delivered(delivered));
    })?;
    let site = Site::lay_out(&artifacts::target_folder()?.join("demo"), &adapter, &callback_url)?;
    let mut host = Host::start(&binary, &site)?;
    let shown = converse(&host, &site, &heard, until);
    let stopped = host.stop();
    match shown {
        Ok(()) => stopped,
        Err(error) => {
            eprintln!("the host's last words, from {}:", site.log().display());
            eprintln!("{}", site.log_tail());
            Err(error)
        }
    }
}

fn webhook_adapter() -> Result<std::path::PathBuf> {
    let guests = artifacts::guests(&GuestSet::Named(vec!["webhook".to_owned()]))?;
    let plain = guests.into_iter().find(|guest| guest.component.ends_with("webhook.wasm"));
    Ok(plain.context("the build of the guests left no webhook.wasm")?.component)
}

/// Ctrl-C reaches the host, too, where both were started from a terminal: it may be gone already
/// when it is told to stop.
fn stop_at_ctrl_c(news: Sender<News>) -> Result<()> {
    ctrlc::set_handler(move || {
        let _ = news.send(News::CtrlC);
    })
    .context("Ctrl-C cannot be listened for")
}

fn converse(host: &Host, site: &Site, heard: &Receiver<News>, until: Until) -> Result<()> {
    let text = "Hello, is anybody there?";
    let id = format!("demo-{}", unix_millis());
    println!("host        {}", host.address());
    println!("agent       {}", site.agent());
    println!("you         {text}");
    let posted = Instant::now();
    post(host, &id, text)?;
    if !first_reply(host, heard, posted)? {
        return Ok(());
    }
    match until {
        Until::FirstReply => Ok(()),
        Until::CtrlC => serve(host, site, heard),
    }
}

/// Shows what arrives until the final reply; false where Ctrl-C came before it.
fn first_reply(host: &Host, heard: &Receiver<News>, posted: Instant) -> Result<bool> {
    loop {
        if posted.elapsed() > REPLY_WITHIN {
            bail!("no reply arrived within {} s", REPLY_WITHIN.as_secs());
        }
        match heard.recv_timeout(LOOK_EVERY) {
            Ok(News::Delivered(delivered)) => {
                show(&delivered);
                if delivered.kind == "final" {
                    let millis = posted.elapsed().as_millis();
                    println!("            (accepted, answered and delivered in {millis} ms)");
                    return Ok(true);
                }
            }
            Ok(News::CtrlC) | Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => host.check()?,
        }
    }
}

fn serve(host: &Host, site: &Site, heard: &Receiver<News>) -> Result<()> {
    println!();
    println!("It serves until Ctrl-C. Say something yourself, from another terminal:");
    println!();
    println!(
        "  curl -sS {}/hooks/{}/messages -H 'content-type: application/json' -d \
         '{{\"id\":\"'$(date +%s%N)'\",\"conversation\":\"demo\",\"sender\":{{\"id\":\"you\"}},\
         \"text\":\"Hello again\"}}'",
        host.address(),
        site::CHANNEL,
    );
    println!();
    println!("The store, the config, the agent and the log are in {}.", site.folder().display());
    loop {
        match heard.recv_timeout(LOOK_EVERY) {
            Ok(News::Delivered(delivered)) => show(&delivered),
            Ok(News::CtrlC) | Err(RecvTimeoutError::Disconnected) => {
                println!();
                return Ok(());
            }
            Err(RecvTimeoutError::Timeout) => host.check()?,
        }
    }
}

fn post(host: &Host, id: &str, text: &str) -> Result<()> {
    let message = json!({
        "id": id, "conversation": "demo", "sender": {"id": "you"}, "text": text,
    });
    let url = format!("{}/hooks/{}/messages", host.address(), site::CHANNEL);
    let answer = minreq::post(&url)
        .with_header("content-type", "application/json")
        .with_body(message.to_string())
        .with_timeout(REPLY_WITHIN.as_secs())
        .send()
        .with_context(|| format!("the message cannot be posted to {url}"))?;
    if !(200..300).contains(&answer.status_code) {
        let words = answer.as_str().unwrap_or_default();
        bail!("the host answered the message with {}: {}", answer.status_code, harmless(words));
    }
    Ok(())
}

fn show(delivered: &Delivered) {
    let who = if delivered.kind == "final" { "reply" } else { delivered.kind.as_str() };
    println!("{:<11} {}", harmless(who), harmless(&delivered.text));
}

/// Text that a terminal shows and does not obey.
fn harmless(text: &str) -> String {
    let clean = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(clean).collect()
}

fn unix_millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
