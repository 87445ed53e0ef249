//! The two forms of metrics: OpenMetrics, which the library writes, and Prometheus' own text format
//! 0.0.4, which is served to whoever does not ask for the other. They differ in the names of
//! counters, in the types that there are, and in the last line.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use http::HeaderMap;
use http::header::ACCEPT;

/// A form and how it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Text,
}

impl Form {
    /// What a scraper asks for.
    pub(super) fn asked_by(headers: &HeaderMap) -> Self {
        let asks = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut asks = asks.flat_map(|value| value.split(','));
        if asks.any(|one| one.trim().starts_with("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics in this form.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => text(&open_metrics),
        }
    }
}

fn text(open_metrics: &str) -> String {
    let types = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: BTreeSet<&str> = types.filter_map(|line| line.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let metadata = (words.next(), words.next(), words.next(), words.next());
        // Writing to a string does not fail.
        let _ = match metadata {
            (Some("#"), Some("EOF" | "UNIT"), ..) => Ok(()),
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), rest)
                if counters.contains(name) =>
            {
                writeln!(out, "# {what} {name}_total {}", rest.unwrap_or_default())
            }
            _ => writeln!(out, "{line}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "# HELP a_b Turns: all of them.\n# TYPE a_b counter\na_b_total{c=\"d e\"} 3\n\
                        # HELP q Now.\n# TYPE q gauge\n# UNIT q bytes\nq 1\n# EOF\n";

    #[test]
    fn the_text_form_names_its_counters_as_their_samples_and_has_no_last_line() {
        let text = Form::Text.of(OPEN.to_owned());
        let wanted = "# HELP a_b_total Turns: all of them.\n# TYPE a_b_total counter\n\
                      a_b_total{c=\"d e\"} 3\n# HELP q Now.\n# TYPE q gauge\nq 1\n";
        assert_eq!(text, wanted);
        assert_eq!(Form::OpenMetrics.of(OPEN.to_owned()), OPEN);
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it_and_everybody_else_gets_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(Form::asked_by(&headers), Form::Text);
        headers.insert(ACCEPT, "text/plain, */*".parse().unwrap());
        assert_eq!(Form::asked_by(&headers), Form::Text);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        headers.insert(ACCEPT, prometheus.parse().unwrap());
        assert_eq!(Form::asked_by(&headers), Form::OpenMetrics);
    }
}
