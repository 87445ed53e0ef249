//! One step at a time, shown as it goes: a spinner with the newest line where somebody watches,
//! plain lines where nobody does. A step's output is kept and shown only where the step fails.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines kept of a step that may fail.
const LINES_KEPT: usize = 1_000;
/// How often a long step says that it lives, where nobody watches.
const STILL_AT_IT: Duration = Duration::from_secs(30);
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A step that is being shown.
pub(crate) struct Step {
    title: String,
    began: Instant,
    spoke: Instant,
    /// `None` where nobody watches.
    bar: Option<ProgressBar>,
}

impl Step {
    pub(crate) fn begin(title: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(None, target).with_message(title.to_owned());
            let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            eprintln!("{title} ...");
        }
        let now = Instant::now();
        Self { title: title.to_owned(), began: now, spoke: now, bar }
    }

    /// Shows the newest line of what goes on.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim();
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {line}", self.title)),
            None if self.spoke.elapsed() > STILL_AT_IT => {
                self.spoke = Instant::now();
                eprintln!("{}, {} s so far: {line}", self.title, self.began.elapsed().as_secs());
            }
            None => {}
        }
    }

    /// Ends the step well.
    pub(crate) fn done(self) -> Duration {
        let took = self.began.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: done in {:.1} s", self.title, took.as_secs_f64());
        took
    }

    /// Ends the step badly. The sentence is for the error to come.
    pub(crate) fn failed(self) -> String {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        format!("{}: failed after {:.1} s", self.title, self.began.elapsed().as_secs_f64())
    }
}

/// Runs a command as a step. Its output is shown where it fails.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<Duration> {
    let mut step = Step::begin(title);
    let mut kept = VecDeque::new();
    let ended = follow(command, &mut |event| match event {
        Heard::Line(line) => {
            step.line(&line);
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(line);
        }
        Heard::Nothing(last) => step.line(last),
    });
    match ended {
        Ok(()) => Ok(step.done()),
        Err(error) => {
            let sentence = step.failed();
            for line in kept {
                eprintln!("{line}");
            }
            Err(error.context(sentence))
        }
    }
}

/// What was heard of a command.
enum Heard<'a> {
    Line(String),
    /// Nothing new for a while; the newest line.
    Nothing(&'a str),
}

fn follow(command: &mut Command, hear: &mut dyn FnMut(Heard<'_>)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be started"))?;
    let (sender, lines) = sync_channel(256);
    if let Some(stdout) = child.stdout.take() {
        read_lines(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(stderr, sender);
    }
    listen(&lines, hear);
    let status = child.wait().with_context(|| format!("{name} cannot be waited for"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

fn listen(lines: &Receiver<String>, hear: &mut dyn FnMut(Heard<'_>)) {
    let mut last = String::new();
    loop {
        match lines.recv_timeout(STILL_AT_IT) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    last.clone_from(&line);
                }
                hear(Heard::Line(line));
            }
            Err(RecvTimeoutError::Timeout) => hear(Heard::Nothing(&last)),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn read_lines(stream: impl Read + Send + 'static, sender: SyncSender<String>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// Runs a command that speaks for itself, and keeps the lines of its stdout that `keep` wants.
pub(crate) fn run_aloud(command: &mut Command, keep: fn(&str) -> bool) -> Result<Vec<String>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be started"))?;
    let mut kept = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.with_context(|| format!("the output of {name} cannot be read"))?;
            println!("{line}");
            if keep(&line) {
                kept.push(line);
            }
        }
    }
    let status = child.wait().with_context(|| format!("{name} cannot be waited for"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_an_error_that_names_step_and_status() {
        let mut command = Command::new("sh");
        let error = run("a step", command.args(["-c", "echo words >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("a step: failed") && text.contains('3'), "{text}");
    }

    #[test]
    fn lines_that_are_wanted_are_kept() {
        let mut command = Command::new("sh");
        let kept = run_aloud(command.args(["-c", "echo a; echo b"]), |line| line == "b").unwrap();
        assert_eq!(kept, ["b"]);
    }
}
