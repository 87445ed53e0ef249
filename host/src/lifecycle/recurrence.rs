//! When something recurs: a cron expression in a time zone, what follows a time, and what becomes of
//! the times that were missed.
//!
//! Pure but for the rules of time zones, which the system keeps. A fixed hour ("at 2:30") means the
//! clock on the wall: it comes once a day, also on the days on which the clocks change. An hour that
//! begins with `*` ("every 15 minutes") means time that passes.

use std::collections::VecDeque;

use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Fields of an expression: minute, hour, day of the month, month, day of the week.
const FIELDS: usize = 5;
/// Far more than any sensible expression takes.
pub const EXPRESSION_BYTES_MAX: usize = 512;
/// Missed occurrences that `all` makes: the latest ones.
pub const CAUGHT_UP_MAX: usize = 100;
/// `skip` makes an occurrence that is no later than this: a sweep or a slow start is no outage.
pub const ON_TIME_MS: i64 = 60_000;
/// Occurrences that are gone through one by one; behind that the latest are looked for from now.
const STEPS_MAX: usize = 5_000;
/// The same within one span before now, which begins where the occurrences are fewer.
const BURST_MAX: usize = 100_000;
/// No clocks are set forward by more at once.
const GAP_MS_MAX: i64 = 3 * 3_600_000;

/// What becomes of occurrences that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// Each is made, the latest [`CAUGHT_UP_MAX`] at most.
    All,
    /// The latest is made.
    #[default]
    Latest,
    /// None is.
    Skip,
}

impl CatchUp {
    pub const ALL: [Self; 3] = [Self::All, Self::Latest, Self::Skip];

    /// The word in JSON and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Latest => "latest",
            Self::Skip => "skip",
        }
    }

    /// The policy that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.word() == word)
    }
}

/// Why an expression or a zone is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceRefused {
    #[error("\"{expression}\" is no cron expression: at character {position}: {what}")]
    Expression {
        expression: String,
        /// In characters, from 1.
        position: usize,
        what: String,
    },
    #[error("\"{0}\" is no time zone of the tz database, such as Europe/Berlin or UTC")]
    Zone(String),
    #[error("\"{0}\" never comes within the next four years")]
    Never(String),
}

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Recurrence {
    crontab: Crontab,
    /// Where the hours of the expression are those of a clock on the wall.
    wall: Option<TimeZone>,
}

/// What is made now, and when the next one is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occurrences {
    /// Due times, oldest first.
    pub make: Vec<i64>,
    /// Missed and not made, as far as they were gone through.
    pub skipped: u64,
    pub next_ms: Option<i64>,
}

impl Recurrence {
    /// Reads an expression of five fields and the name of a zone.
    ///
    /// # Errors
    /// With the position of what is wrong.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, RecurrenceRefused> {
        let words = words(expression);
        let position = |at: usize| expression.get(..at).map_or(0, |text| text.chars().count()) + 1;
        let refused = |at: usize, what: String| RecurrenceRefused::Expression {
            expression: expression.chars().take(80).collect(),
            position: position(at),
            what,
        };
        if expression.len() > EXPRESSION_BYTES_MAX {
            let what = format!("it is longer than {EXPRESSION_BYTES_MAX} bytes");
            return Err(refused(EXPRESSION_BYTES_MAX.min(expression.len()), what));
        }
        if let Some((at, _)) = words.get(FIELDS) {
            let what = "it has five fields (minute, hour, day of the month, month, day of the \
                        week); the time zone is given apart";
            return Err(refused(*at, what.to_owned()));
        }
        let tz = TimeZone::get(zone)
            .map_err(|_| RecurrenceRefused::Zone(zone.chars().take(80).collect()))?;
        let joined = words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
        let by_wall = words.get(1).is_some_and(|(_, hour)| !hour.starts_with('*'));
        let named = if by_wall { "UTC" } else { zone };
        let crontab = parse_crontab(&format!("{joined} {named}")).map_err(|error| {
            let (at, what) = told(&error.to_string());
            if words.len() < FIELDS {
                let missing = ["minute", "hour", "day of the month", "month", "day of the week"];
                let name = missing.get(words.len()).unwrap_or(&"field");
                return refused(expression.len(), format!("the {name} is missing"));
            }
            refused(at_in(&words, at), what)
        })?;
        Ok(Self { crontab, wall: by_wall.then_some(tz) })
    }

    /// The first occurrence after this time; none within four years.
    #[must_use]
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let Some(tz) = &self.wall else { return self.find(after_ms) };
        let after = Timestamp::from_millisecond(after_ms).ok()?;
        // The expression is searched on the clock on the wall, as though it were UTC, from before
        // the hour that a change of clocks may have taken away or given twice.
        let wall = after.to_zoned(tz.clone()).datetime();
        let mut wall_ms = wall.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
        wall_ms = wall_ms.saturating_sub(GAP_MS_MAX);
        for _ in 0..STEPS_MAX {
            wall_ms = self.find(wall_ms)?;
            let shown = Timestamp::from_millisecond(wall_ms).ok()?.to_zoned(TimeZone::UTC);
            // A time that the change leaves out comes as much later; one that it gives twice comes
            // the first time.
            let at = shown.datetime().to_zoned(tz.clone()).ok()?.timestamp();
            if at.as_millisecond() > after_ms {
                return Some(at.as_millisecond());
            }
        }
        None
    }

    fn find(&self, after_ms: i64) -> Option<i64> {
        let after = MakeTimestamp::from_millisecond(after_ms).ok()?;
        self.crontab.find_next(after).ok().map(|at| at.timestamp().as_millisecond())
    }

    /// What is due at `now_ms` of a series whose next occurrence was to be at `due_ms`.
    #[must_use]
    pub fn due(&self, due_ms: i64, now_ms: i64, policy: CatchUp) -> Occurrences {
        let mut due = VecDeque::new();
        let mut seen: u64 = 0;
        let mut at_ms = Some(due_ms);
        for _ in 0..STEPS_MAX {
            let Some(this_ms) = at_ms.filter(|at_ms| *at_ms <= now_ms) else { break };
            seen += 1;
            keep(&mut due, this_ms);
            at_ms = self.next_after(this_ms);
        }
        if at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            at_ms = self.latest(&mut due, now_ms);
        }
        let made = match policy {
            CatchUp::All => due.len(),
            CatchUp::Latest => 1,
            CatchUp::Skip => {
                let on_time = |at_ms: &&i64| now_ms.saturating_sub(**at_ms) <= ON_TIME_MS;
                due.iter().rev().take(1).filter(on_time).count()
            }
        };
        let make: Vec<i64> = due.iter().skip(due.len().saturating_sub(made)).copied().collect();
        Occurrences { skipped: seen.saturating_sub(make.len() as u64), make, next_ms: at_ms }
    }

    /// The latest occurrences up to now, looked for in ever wider spans before it; what follows them.
    fn latest(&self, due: &mut VecDeque<i64>, now_ms: i64) -> Option<i64> {
        let known_to = due.back().copied().unwrap_or(i64::MIN);
        let mut span_ms: i64 = 60_000;
        loop {
            let from_ms = now_ms.saturating_sub(span_ms);
            if from_ms <= known_to {
                break;
            }
            let mut found = VecDeque::new();
            let mut at_ms = self.next_after(from_ms);
            for _ in 0..BURST_MAX {
                let Some(this_ms) = at_ms.filter(|at_ms| *at_ms <= now_ms) else { break };
                keep(&mut found, this_ms);
                at_ms = self.next_after(this_ms);
            }
            if found.len() >= CAUGHT_UP_MAX {
                *due = found;
                break;
            }
            span_ms = span_ms.saturating_mul(2);
        }
        self.next_after(now_ms)
    }
}

fn keep(due: &mut VecDeque<i64>, at_ms: i64) {
    due.push_back(at_ms);
    if due.len() > CAUGHT_UP_MAX {
        due.pop_front();
    }
}

/// The words of an expression with the byte at which each begins.
fn words(expression: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut begin = None;
    for (at, character) in expression.char_indices().chain([(expression.len(), ' ')]) {
        match (character.is_ascii_whitespace(), begin) {
            (true, Some(from)) => {
                words.push((from, &expression[from..at]));
                begin = None;
            }
            (false, None) => begin = Some(at),
            (true, None) | (false, Some(_)) => {}
        }
    }
    words
}

/// Where a byte of the words, joined by single blanks, stands in the expression as it was given.
fn at_in(words: &[(usize, &str)], joined_at: usize) -> usize {
    let mut begins = 0;
    for (at, word) in words {
        if joined_at <= begins + word.len() {
            return at + joined_at.saturating_sub(begins);
        }
        begins += word.len() + 1;
    }
    words.last().map_or(0, |(at, word)| at + word.len())
}

/// Position and reason out of the parser's words: a headline, the expression, and a line with a
/// caret under the fault and the reason behind it.
fn told(error: &str) -> (usize, String) {
    let last = error.lines().last().unwrap_or_default();
    match last.find("^ ") {
        Some(at) => (at, last[at + 2..].to_owned()),
        None => (0, last.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn series(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let recurrence = Recurrence::parse(expression, zone).unwrap();
        let tz = TimeZone::get(zone).unwrap();
        let mut at_ms = ms(after);
        let mut found = Vec::new();
        for _ in 0..count {
            at_ms = recurrence.next_after(at_ms).unwrap();
            let at = Timestamp::from_millisecond(at_ms).unwrap().to_zoned(tz.clone());
            found.push(at.strftime("%m-%d %H:%M%:z").to_string());
        }
        found
    }

    // Case: H5
    #[test]
    fn a_bad_expression_is_refused_with_the_position_of_what_is_wrong() {
        for (expression, position, word) in [
            ("0 25 * * *", 3, "0..=23"),
            ("0   25 * * *", 5, "0..=23"),
            ("0 9 * JAN-FOO *", 10, "malformed"),
            ("*/0 * * * *", 1, "step"),
            ("0 9 * * 5-1", 9, "ascending"),
            ("0 9 * *", 8, "the day of the week is missing"),
            ("", 1, "the minute is missing"),
            ("0 9 * * 1-5 Europe/Berlin", 13, "five fields"),
            ("ä 9 * * *", 1, "malformed"),
            ("0 9 * * MONDAY", 12, "malformed"),
        ] {
            match Recurrence::parse(expression, "UTC") {
                Err(RecurrenceRefused::Expression { position: at, what, .. }) => {
                    assert!(what.contains(word), "{expression}: {what}");
                    assert_eq!(at, position, "{expression}: {what}");
                }
                other => panic!("{expression}: {other:?}"),
            }
        }
        let long = "1,".repeat(400);
        assert!(Recurrence::parse(&long, "UTC").is_err());
        let refused = Recurrence::parse("0 9 * * *", "Europe/Nowhere").unwrap_err();
        assert!(refused.to_string().contains("Europe/Nowhere"), "{refused}");
        let never = Recurrence::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.next_after(ms("2026-01-01T00:00:00Z")), None);
    }

    // Case: H2
    #[test]
    fn an_hour_on_the_wall_comes_once_on_the_days_on_which_the_clocks_change() {
        let forward = series("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3);
        assert_eq!(forward, ["03-28 02:30+01:00", "03-29 03:30+02:00", "03-30 02:30+02:00"]);
        let back = series("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", 3);
        assert_eq!(back, ["10-24 02:30+02:00", "10-25 02:30+02:00", "10-26 02:30+01:00"]);
        let late = series("0 9 * * 1-5", "America/New_York", "2026-10-30T20:00:00Z", 2);
        assert_eq!(late, ["11-02 09:00-05:00", "11-03 09:00-05:00"]);
    }

    // Case: H2
    #[test]
    fn what_comes_every_so_often_goes_by_the_time_that_passes() {
        let forward = series("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:00Z", 3);
        assert_eq!(forward, ["03-29 01:30+01:00", "03-29 03:00+02:00", "03-29 03:30+02:00"]);
        let back = series("0 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", 2);
        assert_eq!(back, ["10-25 02:00+01:00", "10-25 03:00+01:00"]);
    }

    // Case: H4
    #[test]
    fn missed_occurrences_are_made_by_policy_and_the_next_one_is_in_the_future() {
        let hourly = Recurrence::parse("0 * * * *", "UTC").unwrap();
        let (due, now) = (ms("2026-05-01T01:00:00Z"), ms("2026-05-01T03:20:00Z"));
        let hour = 3_600_000;
        let next_ms = Some(due + 3 * hour);
        let of = |policy| hourly.due(due, now, policy);
        let (all, latest) = (vec![due, due + hour, due + 2 * hour], vec![due + 2 * hour]);
        assert_eq!(of(CatchUp::All), Occurrences { make: all, skipped: 0, next_ms });
        assert_eq!(of(CatchUp::Latest), Occurrences { make: latest, skipped: 2, next_ms });
        assert_eq!(of(CatchUp::Skip), Occurrences { make: vec![], skipped: 3, next_ms });
        let on_time = hourly.due(due, due + 5_000, CatchUp::Skip);
        assert_eq!((on_time.make, on_time.skipped), (vec![due], 0));
        let early = hourly.due(due, due - 1, CatchUp::All);
        assert_eq!(early, Occurrences { next_ms: Some(due), ..Occurrences::default() });
    }

    // Case: H4
    #[test]
    fn a_year_of_missed_minutes_is_bounded_and_ends_with_the_latest() {
        let minutely = Recurrence::parse("* * * * *", "UTC").unwrap();
        let (due, now) = (ms("2025-05-01T00:00:00Z"), ms("2026-05-01T00:00:30Z"));
        let all = minutely.due(due, now, CatchUp::All);
        assert_eq!(all.make.len(), CAUGHT_UP_MAX);
        assert_eq!(all.make.last(), Some(&(now - 30_000)));
        assert_eq!(all.next_ms, Some(now + 30_000));
        let rare = Recurrence::parse("* * 1 1 *", "UTC").unwrap();
        let latest = rare.due(ms("2016-01-01T00:00:00Z"), now, CatchUp::Latest);
        assert_eq!(latest.make, [ms("2026-01-01T23:59:00Z")]);
        assert_eq!(latest.next_ms, Some(ms("2027-01-01T00:00:00Z")));
    }
}
