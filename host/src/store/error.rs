//! Why the store did not do what it was asked to: one enum, in sentences for whoever has to act.

/// Why a command was not carried out. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, read-only or broken, or the writer is gone. Intake answers 503.
    #[error("the store cannot be written: {0}; free space or mend the disk, then it goes on")]
    NotWritable(String),
    /// The writer's queue is full. Intake answers 503.
    #[error("the store is busy: too many commands wait for its writer; try again in a moment")]
    Busy,
    /// Too many unfinished turns. Intake answers 429.
    #[error("{pending} turns are unfinished, which is the limit; accept again when some are done")]
    Full { pending: u64 },
    /// The command itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A row says what no row may say.
    #[error("the store holds what it should not: {0}")]
    Corrupt(String),
}
