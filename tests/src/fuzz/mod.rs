//! Fuzzing: what operators, handlers, platforms, programs and a damaged disk may hand to the host,
//! as targets that take bytes and panic where a promise is broken.
//!
//! Two engines feed them. `cargo xtask fuzz` is guided by coverage and runs as long as it is told;
//! the default suite runs the committed corpus (`tests/fuzz/corpus`) and some thousands of seeded
//! mutations of it (`mutate`). An input that was once a finding stays in the corpus.
//!
//! Components have targets of their own beside the sandbox.

mod config;
pub mod guided;
mod handler;
pub mod mutate;
mod requests;
mod rows;

use std::path::PathBuf;

use crate::harness::built::repository;

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The text of a config file.
    Config,
    /// What a handler writes: NDJSON, and the bodies of `http` handlers and of pull workers.
    Handler,
    /// Bodies of webhooks, through the real component in its sandbox to the store.
    Webhook,
    /// Bodies, queries and paths of the API, to the store.
    Api,
    /// Columns of stored rows that hold what the host never wrote.
    Rows,
}

impl Target {
    pub const ALL: [Self; 5] = [Self::Config, Self::Handler, Self::Webhook, Self::Api, Self::Rows];

    /// Its name on the command line, and of its folder in the corpus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Handler => "handler",
            Self::Webhook => "webhook",
            Self::Api => "api",
            Self::Rows => "rows",
        }
    }

    /// The target of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// What of it stands in the repository.
    #[must_use]
    pub fn corpus_folder(self) -> PathBuf {
        repository().join("tests/fuzz/corpus").join(self.name())
    }

    /// The corpus, in the order of its names.
    ///
    /// # Panics
    /// Where it is empty or cannot be read.
    #[must_use]
    pub fn corpus(self) -> Vec<(String, Vec<u8>)> {
        let folder = self.corpus_folder();
        let mut inputs: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} is empty", folder.display());
        inputs
    }
}

/// A target that is ready to take inputs.
pub struct Fuzzer(Kind);

enum Kind {
    Config,
    Handler,
    Requests(Box<requests::Requests>),
    Rows(Box<rows::Rows>),
}

impl Fuzzer {
    /// Prepares what the target needs: for some a store, for some a whole host.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self(match target {
            Target::Config => Kind::Config,
            Target::Handler => Kind::Handler,
            Target::Webhook => Kind::Requests(requests::Requests::of_webhooks()),
            Target::Api => Kind::Requests(requests::Requests::of_the_api()),
            Target::Rows => Kind::Rows(Box::new(rows::Rows::new())),
        })
    }

    /// Takes one input.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn take(&mut self, input: &[u8]) {
        match &mut self.0 {
            Kind::Config => config::take(input),
            Kind::Handler => handler::take(input),
            Kind::Requests(requests) => requests.take(input),
            Kind::Rows(rows) => rows.take(input),
        }
    }
}
