//! Why the store did not do what it was asked to: one enum, in sentences for whoever has to act.

/// Why a command was not carried out. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, read-only or broken, the file is no store, or the writer is gone. Intake
    /// answers 503.
    #[error("{}", not_writable(.0))]
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

/// The engine's words for bytes that are no store: no room on the disk mends them.
const DAMAGED: [&str; 2] = ["file is not a database", "disk image is malformed"];
/// The engine's and the system's words for a file that this user may not use.
const BARRED: [&str; 3] =
    ["unable to open database file", "Permission denied", "readonly database"];

fn says(why: &str, words: &[&str]) -> bool {
    words.iter().any(|word| why.contains(word))
}

/// What is to be done depends on what the engine said.
fn not_writable(why: &str) -> String {
    if says(why, &DAMAGED) {
        format!(
            "the store cannot be read: {why}; it is damaged, or another program's: keep a copy of \
             it, then `lastword restore FILE` makes a store of a backup"
        )
    } else if says(why, &BARRED) {
        format!(
            "the store cannot be opened: {why}; see that the disk is there, and who owns the data \
             folder and may write in it"
        )
    } else {
        format!("the store cannot be written: {why}; free space or mend the disk, then it goes on")
    }
}

impl StoreError {
    /// Whether the bytes of the file are at fault.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NotWritable(why) => says(why, &DAMAGED),
            Self::Corrupt(_) => true,
            Self::Busy | Self::Full { .. } | Self::Invalid(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_store_is_not_told_as_a_full_disk() {
        let told = |why: &str| StoreError::NotWritable(why.to_owned()).to_string();
        for why in ["x.db: file is not a database", "x.db: database disk image is malformed"] {
            assert!(told(why).contains("cannot be read") && told(why).contains("restore"), "{why}");
            assert!(!told(why).contains("free space"), "{why}");
        }
        assert!(told("unable to open database file").contains("who owns"));
        assert!(told("database or disk is full").contains("free space"));
    }
}
