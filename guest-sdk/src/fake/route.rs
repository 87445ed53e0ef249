//! Which request a manifest allows, and where it goes. The grant of an operator stands over this
//! in the real host; here everything that is asked for is granted.

use super::World;
use crate::adapter::{Credential, Effect, Injection, Origin, Placement, Target};
use crate::bindings::channel::lastword::channel::http as raw;
use crate::encoding::to_base64;

/// A request that may go.
pub(super) struct Permit {
    pub(super) url: String,
    pub(super) effect: Effect,
    pub(super) injected: Vec<(String, String)>,
}

pub(super) fn permit(world: &World, request: &raw::Request) -> Result<Permit, String> {
    let targets = &world.declared().targets;
    let Some(target) = targets.iter().find(|target| target.id == request.target) else {
        return Err(format!("the manifest has no target `{}`", request.target));
    };
    let (origin, path) = match &request.address {
        raw::Address::Path(segments) => {
            let Origin::Fixed(origin) = &target.origin else {
                return Err(format!("the target `{}` takes whole addresses", target.id));
            };
            (expand(world, origin)?, encode_path(segments)?)
        }
        raw::Address::Url(url) => matching(world, target, url)?,
    };
    let effect = effect(world, target, &request.method, &path)?;
    let mut injected = Vec::new();
    let mut query = request.query.clone();
    let mut prefix = String::new();
    for injection in &target.inject {
        let value = credential(world, injection)?;
        match &injection.place {
            Placement::Header(name) => injected.push((name.clone(), value)),
            Placement::Query(name) => query.push((name.clone(), value)),
            Placement::PathPrefix => prefix = value,
            // The recorded body is the adapter's own.
            Placement::FormField(_) => {}
        }
    }
    let mut url = format!("{}{prefix}{path}", origin.trim_end_matches('/'));
    if path.is_empty() && prefix.is_empty() {
        url = origin;
    }
    if !query.is_empty() {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&form(&query));
    }
    Ok(Permit { url, effect, injected })
}

fn effect(world: &World, target: &Target, method: &str, path: &str) -> Result<Effect, String> {
    let bare = path.split('?').next().unwrap_or(path);
    for route in &target.routes {
        if route.method == method && path_matches(&expand(world, &route.path)?, bare) {
            return Ok(route.effect);
        }
    }
    Err(format!("the manifest has no route {method} `{bare}` in the target `{}`", target.id))
}

/// Splits a handed-out address into origin and path, where one of the target's patterns fits.
fn matching(world: &World, target: &Target, url: &str) -> Result<(String, String), String> {
    let Origin::Matching(patterns) = &target.origin else {
        return Err(format!("the target `{}` takes paths", target.id));
    };
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    let (origin, path) = url.split_at(end);
    for pattern in patterns {
        let pattern = expand(world, pattern)?;
        let fits = match pattern.split_once("*.") {
            None => pattern == origin,
            Some((scheme, rest)) => origin
                .strip_prefix(scheme)
                .and_then(|host| host.split_once('.'))
                .is_some_and(|(label, host)| !label.is_empty() && host == rest),
        };
        if fits {
            return Ok((origin.to_owned(), path.to_owned()));
        }
    }
    Err(format!("the address {origin} is none of the target `{}`", target.id))
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let mut patterns = pattern.split('/').peekable();
    while let Some(pattern) = patterns.next() {
        if pattern == "**" && patterns.peek().is_none() {
            return true;
        }
        match segments.next() {
            Some(segment) if pattern == segment || (pattern == "*" && !segment.is_empty()) => {}
            Some(_) | None => return false,
        }
    }
    segments.next().is_none()
}

fn encode_path(segments: &[String]) -> Result<String, String> {
    let mut path = String::new();
    for segment in segments {
        if segment == "." || segment == ".." {
            return Err(format!("a path may have no segment `{segment}`"));
        }
        path.push('/');
        percent_encode(segment, &mut path);
    }
    Ok(path)
}

/// Fields as `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        percent_encode(name, &mut text);
        text.push('=');
        percent_encode(value, &mut text);
    }
    text
}

fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte));
            }
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn credential(world: &World, injection: &Injection) -> Result<String, String> {
    match &injection.credential {
        Credential::Text(template) => expand(world, template),
        Credential::Basic((user, password)) => {
            let pair = format!("{}:{}", expand(world, user)?, expand(world, password)?);
            Ok(format!("Basic {}", to_base64(pair.as_bytes())))
        }
    }
}

/// Fills in a template: `{setting.NAME}`, `{secret.SLOT}`, `{{` and `}}`.
fn expand(world: &World, template: &str) -> Result<String, String> {
    let mut text = String::new();
    for piece in pieces(template)? {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Setting(name) => {
                let json = world.settings.get(name);
                let json = json.ok_or_else(|| format!("the setting `{name}` is missing"))?;
                let plain = serde_json::from_str::<String>(json);
                text.push_str(plain.as_ref().unwrap_or(json));
            }
            Piece::Secret(slot) => {
                let secret = world.secrets.get(slot);
                let secret = secret.ok_or_else(|| format!("the secret `{slot}` is missing"))?;
                text.push_str(&String::from_utf8_lossy(secret));
            }
        }
    }
    Ok(text)
}

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Setting(&'a str),
    Secret(&'a str),
}

/// Cuts a template into its pieces.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        pieces.push(Piece::Text(&rest[..at]));
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            pieces.push(Piece::Text(&rest[..1]));
            rest = &rest[2..];
            continue;
        }
        let name = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((name, after)) = name else {
            return Err(format!("the template `{template}` has a lone brace"));
        };
        pieces.push(match name.split_once('.') {
            Some(("setting", setting)) => Piece::Setting(setting),
            Some(("secret", slot)) => Piece::Secret(slot),
            Some(_) | None => return Err(format!("the template `{template}` names `{name}`")),
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment_and_a_last_double_star_is_any_rest() {
        assert!(path_matches("/rooms/*/send", "/rooms/a/send"));
        assert!(!path_matches("/rooms/*/send", "/rooms/a/b/send"));
        assert!(!path_matches("/rooms/*/send", "/rooms//send"));
        assert!(!path_matches("/rooms/*", "/rooms/a/send"));
        assert!(path_matches("/rooms/**", "/rooms/a/send"));
        assert!(path_matches("", ""));
        assert!(!path_matches("", "/messages"));
    }

    #[test]
    fn a_slash_within_a_segment_is_encoded() {
        let segments = ["rooms".to_owned(), "!a/b:c d".to_owned()];
        assert_eq!(encode_path(&segments).as_deref(), Ok("/rooms/%21a%2Fb%3Ac%20d"));
        assert!(encode_path(&["..".to_owned()]).is_err());
    }

    #[test]
    fn a_template_takes_doubled_braces_for_braces() {
        let text = pieces("{{{setting.a}}}").unwrap();
        let meant: Vec<Piece<'_>> =
            text.into_iter().filter(|piece| *piece != Piece::Text("")).collect();
        assert_eq!(meant, [Piece::Text("{"), Piece::Setting("a"), Piece::Text("}")]);
        assert!(pieces("{setting.a").is_err());
        assert!(pieces("{colour.a}").is_err());
    }
}
