//! The bearer token of the API, compared in constant time.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Ingress;
use super::answer::Refused;

/// The token as its digest: the length of neither text shows in the time that a comparison takes,
/// and the token itself is not kept here.
#[derive(Clone)]
pub struct ApiToken([u8; 32]);

impl ApiToken {
    /// The token that requests must carry.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    pub(super) fn fits(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(AUTHORIZATION) else { return false };
        let value = value.as_bytes();
        // The scheme's name has no case (RFC 9110, 11.1).
        let Some((scheme, given)) = value.split_at_checked(7) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return false;
        }
        let given: [u8; 32] = Sha256::digest(given.trim_ascii()).into();
        self.0.ct_eq(&given).into()
    }
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

/// Stands in front of everything under `/v1`, paths that do not exist included.
pub(super) async fn require_token(
    State(ingress): State<Ingress>,
    request: Request,
    next: Next,
) -> Response {
    if ingress.0.token.fits(request.headers()) {
        return next.run(request).await;
    }
    unauthorized().into_response()
}

/// Somebody who has not said who they are.
pub(super) fn unauthorized() -> Refused {
    let sentence = "the API wants the header `authorization: Bearer TOKEN`; the token is that of \
                    [api] in the config, else it stands in host.lock in the data folder";
    Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(value: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        if let Ok(value) = http::HeaderValue::from_bytes(value) {
            headers.insert(AUTHORIZATION, value);
        }
        ApiToken::new("right").fits(&headers)
    }

    #[test]
    fn only_the_whole_token_under_the_right_scheme_is_let_in() {
        assert!(fits(b"Bearer right") && fits(b"bearer right"));
        let wrong: [&[u8]; 7] =
            [b"", b"Bearer", b"Bearer ", b"Bearer righ", b"Bearer rightx", b"Basic right", b"\xff"];
        for value in wrong {
            assert!(!fits(value), "{value:?}");
        }
    }

    #[test]
    fn a_token_prints_as_nothing() {
        assert_eq!(format!("{:?}", ApiToken::new("canary")), "ApiToken(..)");
    }
}
