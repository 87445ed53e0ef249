//! The face of what happens later: from when a turn stands in its line. Plain types, as in
//! [`super::face`]; no SQL.

/// From when a new turn stands in the line of its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// At this time of the wall clock, in milliseconds since the epoch, wherever the clock goes
    /// meanwhile: somebody named the time.
    At(i64),
    /// So many milliseconds after now. A clock that goes back behind now makes it due.
    In(u64),
}

/// What one look at the due turns came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fell {
    /// Turns that took their place in line.
    pub turns: u64,
    /// The bound was reached: there may be more.
    pub more: bool,
}
