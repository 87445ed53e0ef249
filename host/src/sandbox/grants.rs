//! What the operator granted, held against what a version asks: the difference as a value, for
//! whoever shows it and waits for approval, and the lines of the config that grant. Pure: it knows
//! no engine, no config file and no lock file.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::asks::{Ask, asks};
use super::manifest::{Manifest, Origin};
use super::spec::Grants;

/// What one version asks beside what was granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Difference {
    /// Asked now and not granted: the version may not serve before somebody approves of it.
    pub added: Vec<Ask>,
    /// Granted and asked no more. It takes nothing from anybody and waits for nobody.
    pub removed: Vec<Ask>,
}

impl Difference {
    /// Whether the version asks for more than was granted.
    #[must_use]
    pub fn is_more(&self) -> bool {
        !self.added.is_empty()
    }

    /// What differs, in plain words: whole sentences, what is added first.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let added = self.added.iter().map(|ask| format!("new: it may {ask}"));
        let removed = self.removed.iter().map(|ask| format!("no longer: it may {ask}"));
        added.chain(removed).collect()
    }
}

/// What `wants` asks beyond what was granted.
///
/// Granted is what the version `before` asked, the one that was approved last, as far as `grants`
/// names its targets: a name alone would let a new version put another address behind it. Without
/// such a version, as at a first start, the names in `grants` are all there is, and what they name
/// counts as granted. A target that `before` asked for and the operator left out was declined, and
/// is not asked about again while it stays the same.
///
/// `settings` are the channel's: both versions are rendered with them, each over its own defaults.
#[must_use]
pub fn difference(
    before: Option<&Manifest>,
    grants: &Grants,
    settings: &Map<String, Value>,
    wants: &Manifest,
) -> Difference {
    let names = |ask: &Ask| ask.target().is_none_or(|id| grants.targets.contains(id));
    let now = asks(wants, settings, &grants.private_targets);
    let Some(before) = before else {
        // Addresses that a platform hands out may stay out of reach; a fixed origin is needed.
        let needed = |ask: &Ask| {
            wants
                .targets
                .iter()
                .any(|it| matches!(it.origin, Origin::Fixed(_)) && ask.target() == Some(&it.id))
        };
        let added = now.into_iter().filter(|ask| !names(ask) && needed(ask));
        return Difference { added: added.collect(), removed: Vec::new() };
    };
    let old = asks(before, settings, &grants.private_targets);
    let trusted_ms = old.iter().filter_map(repeats).max().unwrap_or_default();
    // A shorter window than the one that was believed is no more than was granted.
    let is_new = |ask: &&Ask| match repeats(ask) {
        Some(for_ms) => for_ms > trusted_ms,
        None => !old.contains(ask),
    };
    let asked_ms = now.iter().filter_map(repeats).max().unwrap_or_default();
    let is_gone = |ask: &&Ask| match repeats(ask) {
        Some(for_ms) => for_ms > asked_ms,
        None => !now.contains(ask) && names(ask),
    };
    Difference {
        added: now.iter().filter(is_new).cloned().collect(),
        removed: old.iter().filter(is_gone).cloned().collect(),
    }
}

fn repeats(ask: &Ask) -> Option<u64> {
    match ask {
        Ask::Repeats { for_ms } => Some(*for_ms),
        Ask::Origin { .. }
        | Ask::Pattern { .. }
        | Ask::Route { .. }
        | Ask::Credential { .. }
        | Ask::Secret { .. }
        | Ask::Export { .. } => None,
    }
}

/// The whole table of the config that says these grants, ready to be pasted.
#[must_use]
pub fn grant_lines(channel: &str, grants: &Grants) -> String {
    let list = |ids: &BTreeSet<String>| {
        let ids: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
        ids.join(", ")
    };
    let mut lines = format!("[channels.{channel}.grants]\ntargets = [{}]", list(&grants.targets));
    if !grants.private_targets.is_empty() {
        lines.push_str(&format!("\nprivate_targets = [{}]", list(&grants.private_targets)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::asks::Interface;
    use crate::sandbox::manifest::{
        Credential, Effect, Idempotency, Injection, Limits, Offers, Placement, Route,
        SecretEncoding, SecretSlot, SecretUses, Target,
    };

    fn target(id: &str, origin: Origin) -> Target {
        let route = Route { method: "POST".into(), path: "/send".into(), effect: Effect::Send };
        let credential = Credential::Text("Bearer {secret.token}".into());
        let inject = Injection { place: Placement::Header("Authorization".into()), credential };
        Target { id: id.into(), origin, routes: vec![route], inject: vec![inject] }
    }

    fn manifest() -> Manifest {
        let uses = SecretUses { inject: true, ..SecretUses::default() };
        Manifest {
            name: "test".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            targets: vec![
                target("api", Origin::Fixed("{setting.base}".into())),
                target("files", Origin::Matching(vec!["https://*.files.example".into()])),
            ],
            secrets: vec![SecretSlot {
                name: "token".into(),
                purpose: "signs in".into(),
                required: true,
                encoding: SecretEncoding::Text,
                prefix: None,
                uses,
            }],
            settings_schema: json!({"properties": {"base": {"default": "https://api.example"}}}),
            limits: Limits::default(),
            idempotency: Idempotency::ForMs(60_000),
            offers: Offers { webhook: true, ..Offers::default() },
        }
    }

    fn grants(targets: &[&str], private: &[&str]) -> Grants {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Grants { targets: set(targets), private_targets: set(private) }
    }

    /// The difference of a version that `change` made of the first one.
    fn after(change: impl FnOnce(&mut Manifest)) -> Difference {
        let (before, mut wants) = (manifest(), manifest());
        change(&mut wants);
        difference(Some(&before), &grants(&["api"], &[]), &Map::new(), &wants)
    }

    #[test]
    fn a_version_that_asks_the_same_makes_no_difference() {
        let same = after(|wants| {
            wants.version = "2.0.0".into();
            wants.summary = "better".into();
            wants.secrets[0].purpose = "other words".into();
            wants.targets.reverse();
            wants.limits.files = 7;
        });
        assert_eq!(same, Difference::default());
        assert!(!same.is_more() && same.sentences().is_empty());
    }

    #[test]
    fn each_thing_that_is_asked_anew_is_more_and_has_its_sentence() {
        type Change = fn(&mut Manifest);
        let changes: [(Change, &str); 14] = [
            (
                |m| m.targets[0].origin = Origin::Fixed("https://evil.example".into()),
                "https://evil.example",
            ),
            // The same template with another default behind it.
            (
                |m| {
                    m.settings_schema =
                        json!({"properties": {"base": {"default": "https://evil.example"}}})
                },
                "https://evil.example",
            ),
            (
                |m| m.targets[1].origin = Origin::Matching(vec!["https://*.evil.example".into()]),
                "https://*.evil.example",
            ),
            (|m| m.targets[0].routes[0].method = "DELETE".into(), "DELETE /send"),
            (|m| m.targets[0].routes[0].path = "/**".into(), "POST /**"),
            // A message that calls itself something else would be sent twice where its answer is lost.
            (|m| m.targets[0].routes[0].effect = Effect::Read, "POST /send, which reads"),
            (
                |m| m.targets[0].inject[0].place = Placement::Query("key".into()),
                "the query parameter `key`",
            ),
            (|m| m.targets[1].id = "other".into(), "`other`"),
            (|m| m.secrets[0].uses.sign = true, "signed with secret `token`"),
            (|m| m.secrets[0].uses.compare = true, "whether a text is secret `token`"),
            (|m| m.secrets[0].name = "second".into(), "secret `second`"),
            (|m| m.offers.poll = true, "fetch new messages by itself"),
            (|m| m.idempotency = Idempotency::ForMs(61_000), "within 1m 1s"),
            (|m| m.idempotency = Idempotency::Always, "at any time"),
        ];
        for (change, words) in changes {
            let found = after(change);
            assert!(found.is_more(), "{words}");
            let sentences = found.sentences().join("\n");
            let said = sentences.lines().any(|it| it.starts_with("new: ") && it.contains(words));
            assert!(said, "{words} is missing in:\n{sentences}");
        }
    }

    #[test]
    fn what_is_asked_no_more_is_shown_and_waits_for_nobody() {
        let less = after(|wants| {
            wants.targets[0].routes[0].path = "/send".into();
            wants.targets[0].inject.clear();
            wants.secrets.clear();
            wants.offers.webhook = false;
            wants.idempotency = Idempotency::ForMs(1_000);
            wants.targets.pop();
        });
        assert!(!less.is_more(), "{less:?}");
        let sentences = less.sentences().join("\n");
        for words in [
            "put into the header `authorization`",
            "secret `token` put into requests",
            "answer requests",
            "within 1m",
        ] {
            assert!(sentences.contains(&words.to_string()), "{words} is missing in:\n{sentences}");
        }
        assert!(sentences.lines().all(|line| line.starts_with("no longer: it may ")));
        // It was never granted: losing it is no news.
        assert!(!sentences.contains("files"), "{sentences}");
    }

    #[test]
    fn a_target_that_was_declined_is_not_asked_about_again_until_it_changes() {
        assert!(!after(|_| ()).is_more());
        let changed = after(|wants| {
            wants.targets[1].routes[0].path = "/more".into();
        });
        assert!(changed.is_more());
    }

    #[test]
    fn settings_of_the_channel_stand_over_the_defaults_of_both_versions() {
        let (before, mut wants) = (manifest(), manifest());
        wants.settings_schema =
            json!({"properties": {"base": {"default": "https://evil.example"}}});
        let settings = json!({"base": "https://own.example"});
        let granted = grants(&["api"], &[]);
        let found = difference(Some(&before), &granted, settings.as_object().unwrap(), &wants);
        assert_eq!(found, Difference::default());
    }

    #[test]
    fn a_private_grant_is_said_with_each_origin_that_would_inherit_it() {
        let (before, mut wants) = (manifest(), manifest());
        wants.targets[0].origin = Origin::Fixed("http://metadata.internal".into());
        let granted = grants(&["api"], &["api"]);
        let found = difference(Some(&before), &granted, &Map::new(), &wants);
        assert!(found.sentences()[0].contains("also at a private address"), "{found:?}");
    }

    #[test]
    fn at_a_first_start_the_names_in_the_config_are_the_grant() {
        let first =
            |targets: &[&str]| difference(None, &grants(targets, &[]), &Map::new(), &manifest());
        assert_eq!(first(&["api"]), Difference::default(), "handed out addresses may stay out");
        assert_eq!(first(&["api", "files"]), Difference::default());
        let none = first(&[]);
        assert!(none.added.iter().all(|ask| ask.target() == Some("api")) && none.is_more());
        assert!(!none.added.contains(&Ask::Export { interface: Interface::Webhook }));
    }

    #[test]
    fn a_difference_survives_being_written_down() {
        let found = after(|wants| wants.targets[0].routes[0].method = "PUT".into());
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Difference>(&text).unwrap(), found);
        assert!(text.contains("\"ask\":\"route\""), "{text}");
    }

    #[test]
    fn the_lines_that_grant_are_a_whole_table() {
        assert_eq!(
            grant_lines("my-channel", &grants(&["files", "api"], &["files"])),
            "[channels.my-channel.grants]\ntargets = [\"api\", \"files\"]\n\
             private_targets = [\"files\"]"
        );
        let open = grant_lines("c", &grants(&["api"], &[]));
        assert_eq!(open, "[channels.c.grants]\ntargets = [\"api\"]");
    }
}
