//! Where an entry of another program goes with us: its platform and account to a channel, its place
//! to a conversation. What is not said is not guessed: a message at the wrong place is worse than one
//! that waits.

use std::collections::BTreeMap;

use super::openclaw::Entry;
use crate::cli::args::OpenClawArgs;
use crate::cli::output::Failure;
use crate::config::{Config, nearest};
use crate::lifecycle::id::ChannelName;

/// The operator's map, over the names that are the same on both sides.
pub(super) struct Routes {
    channels: Vec<ChannelName>,
    /// `PLATFORM` or `PLATFORM/ACCOUNT`.
    map: BTreeMap<String, ChannelName>,
    places: BTreeMap<String, String>,
}

impl Routes {
    pub(super) fn new(config: &Config, args: &OpenClawArgs) -> Result<Self, Failure> {
        let channels: Vec<ChannelName> = config.channels.keys().cloned().collect();
        let mut map = BTreeMap::new();
        for (from, to) in &args.map {
            let to = ChannelName(to.clone());
            if !channels.contains(&to) {
                let names: Vec<&str> = channels.iter().map(|name| name.0.as_str()).collect();
                let meant = nearest(&to.0, &names);
                let meant = meant.map(|name| format!("; did you mean \"{name}\"?"));
                let meant = meant.unwrap_or_default();
                let sentence = format!("--map {from}={to}: there is no channel \"{to}\"{meant}");
                return Err(Failure::wrong(sentence));
            }
            map.insert(from.clone(), to);
        }
        Ok(Self { channels, map, places: args.place.iter().cloned().collect() })
    }

    /// Channel and conversation of an entry, or why there are none.
    pub(super) fn of(&self, entry: &Entry) -> Result<(ChannelName, String), String> {
        Ok((self.channel(entry)?, self.place(entry)?))
    }

    fn channel(&self, entry: &Entry) -> Result<ChannelName, String> {
        let platform = &entry.platform;
        if let Some(account) = &entry.account {
            let key = format!("{platform}/{account}");
            return self
                .map
                .get(&key)
                .cloned()
                .ok_or_else(|| format!("it is of account \"{account}\": say --map {key}=CHANNEL"));
        }
        if let Some(channel) = self.map.get(platform) {
            return Ok(channel.clone());
        }
        let same = self.channels.iter().find(|name| name.0 == *platform);
        same.cloned().ok_or_else(|| {
            format!("no channel is named \"{platform}\": say --map {platform}=CHANNEL")
        })
    }

    /// OpenClaw writes some places with the platform in front, and rooms as such.
    fn place(&self, entry: &Entry) -> Result<String, String> {
        if let Some(place) = self.places.get(&entry.to) {
            return Ok(place.clone());
        }
        let to = entry.to.strip_prefix(&format!("{}:", entry.platform)).unwrap_or(&entry.to);
        for person in ["user:", "@"] {
            if to.starts_with(person) {
                let to = &entry.to;
                return Err(format!("\"{to}\" is a person, not a place: say --place {to}=PLACE"));
            }
        }
        let place = ["room:", "channel:", "group:"].iter().find_map(|kind| to.strip_prefix(kind));
        Ok(place.unwrap_or(to).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::import::EntryFacts;

    fn entry(platform: &str, account: Option<&str>, to: &str) -> Entry {
        Entry {
            id: "1".to_owned(),
            platform: platform.to_owned(),
            account: account.map(ToOwned::to_owned),
            to: to.to_owned(),
            thread: None,
            reply_to: None,
            texts: vec!["hi".to_owned()],
            facts: EntryFacts::default(),
        }
    }

    fn routes() -> Routes {
        Routes {
            channels: vec!["matrix".into(), "tg".into(), "tg2".into()],
            map: BTreeMap::from([
                ("telegram".to_owned(), "tg".into()),
                ("telegram/second".to_owned(), "tg2".into()),
            ]),
            places: BTreeMap::from([("user:ann".to_owned(), "!ann:s".to_owned())]),
        }
    }

    #[test]
    fn a_platform_goes_where_the_map_says_or_to_the_channel_of_its_name() {
        let channel = |platform, account| routes().channel(&entry(platform, account, "1"));
        assert_eq!(channel("telegram", None), Ok("tg".into()));
        assert_eq!(channel("telegram", Some("second")), Ok("tg2".into()));
        assert_eq!(channel("matrix", None), Ok("matrix".into()));
        let error = channel("slack", None).unwrap_err();
        assert!(error.contains("--map slack=CHANNEL"), "{error}");
        let error = channel("telegram", Some("third")).unwrap_err();
        assert!(error.contains("--map telegram/third=CHANNEL"), "{error}");
    }

    #[test]
    fn a_place_loses_its_marks_and_a_person_is_no_place_unless_it_is_said() {
        let place = |to| routes().place(&entry("matrix", None, to));
        for (to, ours) in [
            ("!r:s", "!r:s"),
            ("room:!r:s", "!r:s"),
            ("matrix:room:!r:s", "!r:s"),
            ("-100123", "-100123"),
            ("user:ann", "!ann:s"),
        ] {
            assert_eq!(place(to).as_deref(), Ok(ours));
        }
        assert!(place("@bob:s").unwrap_err().contains("--place @bob:s=PLACE"));
    }
}
