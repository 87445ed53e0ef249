//! A target of the manifest as one channel has it: templates rendered, grant applied. Says for
//! each request whether it may leave, where it goes and what it does. Pure: it knows no sockets.

use http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::address::Reach;
use super::origin::{Authority, FixedOrigin, Pattern, WholeAddress};
use super::path::{self, RESERVED, RoutePath};
use super::{Address, EgressRequest};
use crate::sandbox::manifest::{Credential, Effect, Injection, Origin, Placement, Target};
use crate::sandbox::secrets::Vault;
use crate::sandbox::template::{Rendered, Template};

/// Bytes of a whole address, query included.
const ADDRESS_BYTES_MAX: usize = 16 << 10;
/// What may stand unencoded in a path that the operator's secret is a part of.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A granted target, rendered for one channel.
pub(in crate::sandbox) struct BoundTarget {
    pub(super) id: String,
    pub(super) reach: Reach,
    origin: BoundOrigin,
    routes: Vec<BoundRoute>,
    injections: Vec<BoundInjection>,
}

enum BoundOrigin {
    Fixed(FixedOrigin),
    Matching(Vec<Pattern>),
}

struct BoundRoute {
    method: String,
    path: RoutePath,
    effect: Effect,
}

enum BoundInjection {
    Header(HeaderName, HeaderValue),
    Query(String, Zeroizing<String>),
    FormField(String, Zeroizing<String>),
    PathPrefix(Zeroizing<String>),
}

/// What a request was found to be.
pub(super) struct Permit {
    pub(super) authority: Authority,
    pub(super) effect: Effect,
    /// Path and query without credentials: for the scan, never for logs.
    pub(super) path: String,
    query: Option<String>,
}

impl BoundTarget {
    /// Renders a target, or lists what is wrong with it, each the whole of a sentence.
    pub(in crate::sandbox) fn bind(
        target: &Target,
        reach: Reach,
        settings: &Map<String, Value>,
        vault: &Vault,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut note = |what: &str, error: String| {
            problems.push(format!("target `{}`: {what} {error}", target.id));
        };
        let origin = bind_origin(&target.origin, settings).map_err(|e| note("the origin", e)).ok();
        let mut routes = Vec::new();
        for route in &target.routes {
            match bind_route(route, settings) {
                Ok(bound) => routes.push(bound),
                Err(error) => note(&format!("the route `{} {}`", route.method, route.path), error),
            }
        }
        let mut injections = Vec::new();
        for injection in &target.inject {
            match bind_injection(injection, settings, vault) {
                Ok(Some(bound)) => injections.push(bound),
                Ok(None) => {}
                Err(error) => note("a credential", error),
            }
        }
        match origin.filter(|_| problems.is_empty()) {
            Some(origin) => Ok(Self { id: target.id.clone(), reach, origin, routes, injections }),
            None => Err(problems),
        }
    }

    /// The rendered credentials, which must be guarded like the secrets in them.
    pub(in crate::sandbox) fn credentials(&self) -> impl Iterator<Item = &[u8]> {
        self.injections.iter().map(|injection| match injection {
            BoundInjection::Header(_, value) => value.as_bytes(),
            BoundInjection::Query(_, value)
            | BoundInjection::FormField(_, value)
            | BoundInjection::PathPrefix(value) => value.as_bytes(),
        })
    }

    /// The headers into which the host writes.
    pub(super) fn injected_headers(&self) -> Vec<HeaderName> {
        let names = self.injections.iter().filter_map(|injection| match injection {
            BoundInjection::Header(name, _) => Some(name.clone()),
            BoundInjection::Query(..)
            | BoundInjection::FormField(..)
            | BoundInjection::PathPrefix(_) => None,
        });
        names.collect()
    }

    /// Holds a request against origin and routes. Where several routes fit, the weightiest effect
    /// counts, so that no spelling of a path makes a `send` look like a `read`.
    pub(super) fn permit(&self, request: &EgressRequest) -> Result<Permit, String> {
        let (authority, path, segments, query) = match (&self.origin, &request.address) {
            (BoundOrigin::Fixed(origin), Address::Path(segments)) => {
                let encoded = path::encode(segments).map_err(|e| format!("the path {e}"))?;
                let whole = if segments.is_empty() {
                    origin.path.clone()
                } else {
                    format!("{}{encoded}", origin.path.trim_end_matches('/'))
                };
                (origin.authority.clone(), whole, segments.clone(), None)
            }
            (BoundOrigin::Matching(patterns), Address::Url(url)) => {
                let address = WholeAddress::parse(url).map_err(|e| format!("the address {e}"))?;
                if !patterns.iter().any(|pattern| pattern.fits(&address.authority)) {
                    let sentence = "the address is at an origin that the manifest does not name";
                    return Err(sentence.to_owned());
                }
                let segments =
                    path::read_raw(&address.path).map_err(|e| format!("the path {e}"))?;
                (address.authority, address.path, segments, address.query)
            }
            (BoundOrigin::Fixed(_), Address::Url(_)) => {
                return Err("its origin is fixed: give the segments of a path".to_owned());
            }
            (BoundOrigin::Matching(_), Address::Path(_)) => {
                return Err("its origin is a pattern: give the whole address".to_owned());
            }
        };
        let fitting = self
            .routes
            .iter()
            .filter(|route| route.method == request.method && route.path.fits(&segments));
        let effect = fitting.map(|route| route.effect).max().ok_or_else(|| {
            let method: String = request.method.chars().take(16).collect();
            format!(
                "the manifest has no route for this path with method `{}`",
                method.escape_debug()
            )
        })?;
        let query = self.query(query, &request.query)?;
        let bytes = path.len() + query.as_ref().map_or(0, String::len);
        if bytes > ADDRESS_BYTES_MAX {
            return Err(format!("the address has {bytes} bytes; {ADDRESS_BYTES_MAX} is the most"));
        }
        Ok(Permit { authority, effect, path, query })
    }

    fn query(
        &self,
        given: Option<String>,
        added: &[(String, String)],
    ) -> Result<Option<String>, String> {
        let taken = |name: &str| {
            self.injections.iter().any(|injection| {
                matches!(injection, BoundInjection::Query(injected, _) if injected == name)
            })
        };
        let refused = |name: &str| {
            Err(format!("it sets `{}` in the query, where a credential goes", name.escape_debug()))
        };
        // An address that was handed out brings its own, in whatever spelling.
        let own = url::form_urlencoded::parse(given.as_deref().unwrap_or_default().as_bytes());
        if let Some((name, _)) = own.into_iter().find(|(name, _)| taken(name)) {
            return refused(&name);
        }
        let mut query = given;
        for (name, value) in added {
            if taken(name) {
                return refused(name);
            }
            push_pair(query.get_or_insert_default(), name, value);
        }
        Ok(query)
    }

    /// Path and query as they are sent, credentials included.
    pub(super) fn path_and_query(&self, permit: &Permit) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::new());
        let base = match &self.origin {
            BoundOrigin::Fixed(origin) => origin.path.trim_end_matches('/').len(),
            BoundOrigin::Matching(_) => 0,
        };
        out.push_str(&permit.path[..base]);
        for injection in &self.injections {
            if let BoundInjection::PathPrefix(prefix) = injection {
                out.push_str(prefix);
            }
        }
        let rest = &permit.path[base..];
        // With a prefix in front, the slash of an empty path is no part of the address.
        let only_slash = base == 0 && rest == "/" && !out.is_empty();
        out.push_str(if only_slash { "" } else { rest });
        if out.is_empty() {
            out.push('/');
        }
        let mut query = Zeroizing::new(permit.query.clone().unwrap_or_default());
        let mut present = permit.query.is_some();
        for injection in &self.injections {
            if let BoundInjection::Query(name, value) = injection {
                push_pair(&mut query, name, value);
                present = true;
            }
        }
        if present {
            out.push('?');
            out.push_str(&query);
        }
        out
    }

    /// Puts credentials into headers.
    pub(super) fn inject_headers(&self, headers: &mut http::HeaderMap) {
        for injection in &self.injections {
            if let BoundInjection::Header(name, value) = injection {
                headers.insert(name.clone(), value.clone());
            }
        }
    }

    /// The body of a form with its credentials, which a guest's field may not stand in for.
    pub(super) fn form(&self, fields: &[(String, String)]) -> Result<Zeroizing<String>, String> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            let taken = self.injections.iter().any(|injection| {
                matches!(injection, BoundInjection::FormField(injected, _) if injected == name)
            });
            if taken {
                return Err(format!("it sets the field `{name}`, where a credential goes"));
            }
            form.append_pair(name, value);
        }
        for injection in &self.injections {
            if let BoundInjection::FormField(name, value) = injection {
                form.append_pair(name, value);
            }
        }
        Ok(Zeroizing::new(form.finish()))
    }
}

fn push_pair(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.extend(utf8_percent_encode(name, RESERVED));
    query.push('=');
    query.extend(utf8_percent_encode(value, RESERVED));
}

fn bind_origin(origin: &Origin, settings: &Map<String, Value>) -> Result<BoundOrigin, String> {
    let render = |text: &String| Template::parse(text)?.render_settings(settings);
    match origin {
        Origin::Fixed(text) => Ok(BoundOrigin::Fixed(FixedOrigin::parse(&render(text)?)?)),
        Origin::Matching(texts) => {
            let patterns = texts.iter().map(|text| Pattern::parse(&render(text)?));
            Ok(BoundOrigin::Matching(patterns.collect::<Result<_, String>>()?))
        }
    }
}

fn bind_route(
    route: &crate::sandbox::manifest::Route,
    settings: &Map<String, Value>,
) -> Result<BoundRoute, String> {
    let path = RoutePath::parse(&Template::parse(&route.path)?.render_settings(settings)?)?;
    Ok(BoundRoute { method: route.method.clone(), path, effect: route.effect })
}

/// None where a secret that the credential names is not there.
fn bind_injection(
    injection: &Injection,
    settings: &Map<String, Value>,
    vault: &Vault,
) -> Result<Option<BoundInjection>, String> {
    let render = |text: &str| Template::parse(text)?.render(settings, vault);
    let value = match &injection.credential {
        Credential::Text(text) => match render(text)? {
            Rendered::Text(text) => text,
            Rendered::EmptySlot => return Ok(None),
        },
        Credential::Basic { user, password } => match (render(user)?, render(password)?) {
            (Rendered::Text(user), Rendered::Text(password)) => basic(&user, &password)?,
            _ => return Ok(None),
        },
    };
    Ok(Some(match &injection.place {
        Placement::Header(name) => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("names the header `{name}`, which is none"))?;
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("holds a character that `{name}` may not carry"))?;
            value.set_sensitive(true);
            BoundInjection::Header(name, value)
        }
        Placement::Query(name) => BoundInjection::Query(name.clone(), value),
        Placement::FormField(name) => BoundInjection::FormField(name.clone(), value),
        Placement::PathPrefix => BoundInjection::PathPrefix(path_prefix(&value)?),
    }))
}

fn basic(user: &str, password: &str) -> Result<Zeroizing<String>, String> {
    use base64::Engine as _;
    if user.contains(':') {
        return Err("has a colon in the user, which `Basic` cannot carry".to_owned());
    }
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
    Ok(Zeroizing::new(format!("Basic {encoded}")))
}

fn path_prefix(text: &str) -> Result<Zeroizing<String>, String> {
    let mut prefix = Zeroizing::new(String::from("/"));
    prefix.extend(utf8_percent_encode(text.trim_matches('/'), PATH));
    path::read_raw(&prefix).map_err(|_| "is no path that may stand in front".to_owned())?;
    Ok(prefix)
}
