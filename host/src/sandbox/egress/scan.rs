//! The guest's raw request, searched for secrets and placeholders before anything is resolved.

use super::{Address, Body, Content, EgressRequest, Part};
use crate::sandbox::guard::{Guard, Leak};

/// Refuses a request that carries what must not leave; the error is the end of a sentence.
pub(super) fn scan(guard: &Guard, request: &EgressRequest) -> Result<(), String> {
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().find_map(|(name, value)| {
            guard.leak(name.as_bytes()).or_else(|| guard.leak(value.as_bytes()))
        })
    };
    let address = match &request.address {
        Address::Path(segments) => segments.iter().find_map(|s| guard.leak(s.as_bytes())),
        Address::Url(url) => guard.leak(url.as_bytes()),
    };
    let body = match &request.body {
        None => None,
        Some(Body::Bytes(bytes)) => guard.leak(bytes),
        Some(Body::Form(fields)) => pairs(fields),
        // What is in a file is looked at when it is opened.
        Some(Body::Blob(_)) => None,
        Some(Body::Multipart(parts)) => parts.iter().find_map(|part| leak_in(guard, part)),
    };
    for (place, leak) in [
        ("address", address),
        ("query", pairs(&request.query)),
        ("headers", pairs(&request.headers)),
        ("body", body),
    ] {
        match leak {
            None => {}
            Some(Leak::Placeholder) => {
                return Err(format!(
                    "has a secret's placeholder in its {place}: credentials go where the manifest \
                     puts them, and nowhere else"
                ));
            }
            Some(Leak::Secret) => return Err(format!("carries a secret in its {place}")),
        }
    }
    Ok(())
}

fn leak_in(guard: &Guard, part: &Part) -> Option<Leak> {
    let words = [Some(&part.name), part.file_name.as_ref(), part.media_type.as_ref()];
    let mut words = words.into_iter().flatten();
    words.find_map(|word| guard.leak(word.as_bytes())).or_else(|| match &part.content {
        Content::Bytes(bytes) => guard.leak(bytes),
        Content::Blob(_) => None,
    })
}
