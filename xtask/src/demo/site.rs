//! The demo's folder: config, adapter, agent, and where the host leaves its store and its log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The demo's one channel.
pub(super) const CHANNEL: &str = "demo";
/// Lines of the log that a failure shows.
const LOG_LINES_SHOWN: usize = 40;

/// An agent as people write it: reads one line, says what it does, answers.
const PYTHON_AGENT: &str = r#"import json
import sys

turn = json.loads(sys.stdin.readline())


def say(event):
    print(json.dumps(event), flush=True)


text = turn["message"]["text"]
say({"type": "tool", "text": "counting the words"})
words = len(text.split())
say({"type": "final", "text": f"You said: {text} ({words} words)"})
"#;

/// The same where there is no Python. The text is taken as it stands in the document's JSON, and
/// goes back into JSON as it is.
const SHELL_AGENT: &str = r#"read -r turn
text=$(printf '%s' "$turn" |
    sed -n 's/.*"message":{.*"text":"\(\([^"\\]\|\\.\)*\)","attachments".*/\1/p')
printf '{"type":"tool","text":"looking for the text"}\n'
printf '{"type":"final","text":"You said: %s"}\n' "$text"
"#;

/// A laid-out folder, held by this demo as long as it lives.
pub(super) struct Site {
    folder: PathBuf,
    agent: &'static str,
    _lock: File,
}

impl Site {
    /// Empties the folder of an earlier demo and lays it out anew.
    pub(super) fn lay_out(folder: &Path, adapter: &Path, callback_url: &str) -> Result<Self> {
        let lock = hold(folder)?;
        let (agent, interpreter, script) = match has_python() {
            true => ("agent.py", "python3", PYTHON_AGENT),
            false => ("agent.sh", "sh", SHELL_AGENT),
        };
        let site = Self { folder: folder.join("site"), agent, _lock: lock };
        if site.folder.exists() {
            fs::remove_dir_all(&site.folder)
                .with_context(|| format!("cannot empty {}", site.folder.display()))?;
        }
        fs::create_dir_all(site.folder.join("adapters"))
            .with_context(|| format!("cannot make {}", site.folder.display()))?;
        site.write(agent, script)?;
        site.write("lastword.toml", &config(interpreter, agent, callback_url))?;
        fs::copy(adapter, site.folder.join("adapters/webhook.wasm"))
            .with_context(|| format!("cannot copy {}", adapter.display()))?;
        Ok(site)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("lastword.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("host.log")
    }

    pub(super) fn agent(&self) -> String {
        self.folder.join(self.agent).display().to_string()
    }

    pub(super) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// One demo at a time: the other one's store is not to be pulled from under it.
fn hold(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("demo.lock");
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if lock.try_lock().is_err() {
        bail!("another demo runs in {}: end it first", folder.display());
    }
    Ok(lock)
}

fn has_python() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import json"]).stdin(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

fn config(interpreter: &str, agent: &str, callback_url: &str) -> String {
    format!(
        r#"data_dir = "data"
listen = "127.0.0.1:0"

[handler]
kind = "exec"
command = ["{interpreter}", "{agent}"]

[channels.{CHANNEL}]
adapter = "adapters/webhook.wasm"

[channels.{CHANNEL}.settings]
callback_url = "{callback_url}"

[channels.{CHANNEL}.grants]
targets = ["callback"]
# The sink is on this machine, which adapters may not reach unless the operator says so.
private_targets = ["callback"]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// What an agent says to a message.
    fn ask(command: &[&str], script: &str, text: &str) -> Vec<serde_json::Value> {
        let document = format!(
            r#"{{"turn":{{"id":"t1"}},"message":{{"sender":{{"id":"a"}},"text":{},"attachments":[]}},"context":[],"delivered":[]}}"#,
            serde_json::Value::from(text)
        );
        let mut agent = Command::new(command.first().unwrap())
            .args(command.get(1..).unwrap_or_default())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(agent.stdin.take().unwrap(), "{document}").unwrap();
        let output = agent.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn both_sample_agents_answer_with_the_text_they_were_given() {
        let text = "two \"words\" \\ and\na line";
        for (command, script) in [(["python3", "-c"], PYTHON_AGENT), (["sh", "-c"], SHELL_AGENT)] {
            if command.first() == Some(&"python3") && !has_python() {
                continue;
            }
            let said = ask(&command, script, text);
            let last = said.last().unwrap();
            assert_eq!(last["type"], "final");
            let reply = last["text"].as_str().unwrap();
            assert!(reply.starts_with(&format!("You said: {text}")), "{reply}");
        }
    }
}
