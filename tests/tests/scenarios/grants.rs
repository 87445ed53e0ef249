//! What an operator does with strangers' components: reads what they ask, grants it, and mends what
//! was refused with the lines that the refusal names.

use lastword_tests::harness::host::at_rest;
use lastword_tests::harness::{Answer, Channel, Config, Sink, Site, component, eventually};
use serde_json::{Value, json};

use crate::SOON;

/// A config as a person writes one, with no grants yet.
fn written_by_hand(sink: &Sink) -> String {
    format!(
        "# my bot\nlisten = \"127.0.0.1:0\"  # any\n\n[handler]\nkind = \"echo\"\n\n[lifecycle]\n\
         delivery_tries = 1\nturn_tries = 1\n\n# the hook of the kitchen\n[channels.hook]\n\
         adapter = \"{}\"\n[channels.hook.settings]\ncallback_url = \"{}\" # the kitchen's\n",
        component("webhook").display(),
        sink.url()
    )
}

fn text_of(site: &Site) -> String {
    std::fs::read_to_string(site.path().join("lastword.toml")).unwrap()
}

#[tokio::test]
async fn a_grant_is_shown_asked_for_and_written_without_touching_anything_else() {
    let sink = Sink::start().await;
    let by_hand = written_by_hand(&sink);
    let site = Site::with_text(&by_hand);
    let file = component("webhook").display().to_string();
    let seen = site.cli(&["adapter", "inspect", &file]).await;
    for words in ["it may reach {setting.callback_url}", "makes a message appear", "`outbound-key`"]
    {
        assert!(seen.stdout.contains(words), "`{words}` is not in\n{}", seen.stdout);
    }
    let line = site.cli(&["adapter", "inspect", &file, "--signing"]).await.stdout;
    assert!(line.starts_with("lastword:1 name:webhook version:"), "{line}");
    let check = site.cli(&["check"]).await;
    let told = format!("{}{}", check.stdout, check.stderr);
    assert_eq!(check.code, 1, "{told}");
    assert!(told.contains("lastword adapter grant hook"), "{told}");

    // Nobody is there to answer: nothing is written.
    let asked = site.cli(&["adapter", "grant", "hook"]).await;
    assert_eq!((asked.code, text_of(&site)), (3, by_hand.clone()), "{}", asked.stderr);
    for words in ["it may reach http://127.0.0.1", "targets = [\"callback\"]"] {
        assert!(asked.stdout.contains(words), "`{words}` is not in\n{}", asked.stdout);
    }
    let told = "nothing was written: standard input is no terminal: add `--yes`";
    assert!(asked.stderr.contains(told), "{}", asked.stderr);
    // A target that has no address would keep the channel from starting.
    let files = site.cli(&["adapter", "grant", "hook", "--private", "files", "--yes"]).await;
    assert_eq!((files.code, text_of(&site)), (2, by_hand.clone()), "{}", files.stderr);
    assert!(files.stderr.contains("it needs setting `files_origin`"), "{}", files.stderr);
    let nobody = site.cli(&["adapter", "grant", "nobody", "--yes"]).await;
    assert_eq!((nobody.code, text_of(&site)), (3, by_hand.clone()), "{}", nobody.stderr);

    let written: Vec<Value> = site.json(&["adapter", "grant", &file, "--yes"]).await;
    assert_eq!((&written[0]["changes"], &written[0]["written"]), (&true.into(), &true.into()));
    let granted = format!("{by_hand}\n[channels.hook.grants]\ntargets = [\"callback\"]\n");
    assert_eq!(text_of(&site), granted);
    let again: Vec<Value> = site.json(&["adapter", "grant", "hook", "--yes"]).await;
    assert_eq!((&again[0]["changes"], text_of(&site)), (&false.into(), granted.clone()));
    assert_eq!(site.cli(&["check"]).await.code, 0);
    site.cli(&["adapter", "grant", "hook", "--private", "callback", "--yes"]).await;
    assert_eq!(text_of(&site), format!("{granted}private_targets = [\"callback\"]\n"));
}

#[tokio::test]
async fn the_lines_that_a_denial_names_are_pasted_and_the_request_passes() {
    let sink = Sink::start().await;
    let by_hand = written_by_hand(&sink);
    let site =
        Site::with_text(&format!("{by_hand}\n[channels.hook.grants]\ntargets = [\"callback\"]\n"));
    let host = site.start().await;
    host.platform("hook").say("m1", "kitchen", "hello").await;
    let log = eventually("the denial in the log", SOON, || async {
        let log = site.log();
        log.contains("request denied").then_some(log)
    })
    .await;
    assert_eq!(sink.arrivals().len(), 0);
    host.terminate().await;
    let line = log.lines().find(|line| line.contains("request denied")).unwrap();
    let lines = line.split("config=").nth(1).unwrap();
    let lines: String = serde_json::from_str(&lines[..lines.rfind('"').unwrap() + 1]).unwrap();
    let table = lines.replace(" | ", "\n");
    assert!(table.starts_with("[channels.hook.grants]\n"), "{table}");
    site.write("lastword.toml", &format!("{by_hand}\n{table}\n"));
    let host = site.start().await;
    host.platform("hook").say("m2", "kitchen", "hello again").await;
    eventually("the reply", SOON, || async {
        sink.arrivals().iter().any(|it| it.text() == "hello again").then_some(())
    })
    .await;
    host.terminate().await;
}

/// A credential, and the forms in which a platform echoes it; each with what of it may be nowhere.
const CREDENTIAL: &str = "canary/tok+en=9f3a";
const ECHOED: [(&str, &str); 11] = [
    (CREDENTIAL, "tok+en=9f3a"),
    ("Y2FuYXJ5L3Rvaytlbj05ZjNh", "L3Rvaytlbj05"),
    ("dWNhbmFyeS90b2srZW49OWYzYQ==", "eS90b2srZW49"),
    ("dXVjYW5hcnkvdG9rK2VuPTlmM2E=", "kvdG9rK2VuPT"),
    ("dXVjYW5hcnkvdG9rK2VuPTlmM2E%3D", "kvdG9rK2VuPT"),
    ("63616e6172792f746f6b2b656e3d39663361", "746f6b2b656e"),
    ("63616E6172792F746F6B2B656E3D39663361", "746F6B2B656E"),
    ("canary%2Ftok%2Ben%3D9f3a", "tok%2Ben%3D9f"),
    ("canary%2ftok%2ben%3d9f3a", "tok%2ben%3d9f"),
    ("canary/tok%2Ben=9f3a", "tok%2Ben=9f"),
    ("canary\\/tok\\u002ben\\u003D9f3a", "u002ben"),
];

fn bytes_of(folder: &std::path::Path, all: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            bytes_of(&path, all);
        } else {
            all.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
}

// Threat 19, 21.
#[tokio::test]
async fn what_a_platform_echoes_of_a_credential_is_found_nowhere_in_any_form() {
    let echo: Vec<&str> = ECHOED.iter().map(|(form, _)| *form).collect();
    let said = echo.join(" and ");
    let id = format!("{{\"id\":\"{}\"}}", echo[..10].join(" "));
    let sink = Sink::start().await;
    sink.answer_by(move |arrival| match arrival.path.as_str() {
        "/send" => Answer::Body(200, id.clone()),
        "/secured" => Answer::Body(401, said.clone()),
        _ => Answer::Take,
    });
    let channel =
        Channel::script("rough", sink.origin()).set(".secrets", "token", "\"env:TOKEN_OF_IT\"");
    let site = Site::new(&Config::new().channel(channel))
        .with_variable("TOKEN_OF_IT", CREDENTIAL)
        .with_variable("LASTWORD_LOG", "debug,lastword=trace,cranelift_codegen=info,wasmtime=info");
    let host = site.start().await;
    let platform = host.platform("rough");
    for (id, script) in [
        ("m1", "!fetch GET secured /secured\n!send"),
        ("m2", "!fetch GET secured /secured\n!on 1 trap after the echo"),
        ("m3", "!fetch GET secured /secured\n!say rejected"),
    ] {
        let message = json!({"id": id, "conversation": id, "text": script, "sender": "ann"});
        platform.tell(&message).await;
    }
    let turns = eventually("three ends", SOON, || async {
        let turns = site.turns().await;
        let ended = turns.iter().filter(|turn| at_rest(&turn.state)).count();
        (ended == 3).then_some(turns)
    })
    .await;
    let seen = sink.arrivals_at("/secured");
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|it| it.headers["authorization"] == format!("Bearer {CREDENTIAL}")));
    let mut all = site.log().into_bytes();
    assert!(site.log().contains("fetched") && site.log().contains("[redacted]"), "{}", site.log());
    for turn in &turns {
        let shown = site.cli(&["turns", "show", &turn.id, "--payload", "--json"]).await;
        all.extend(shown.stdout.into_bytes());
    }
    for path in ["/metrics", "/readyz"] {
        all.extend(platform.get(path).await.unwrap().text().into_bytes());
    }
    all.extend(site.cli(&["outbox", "list", "--json"]).await.stdout.into_bytes());
    all.extend(site.status().await.to_string().into_bytes());
    assert!(host.terminate().await.success());
    bytes_of(&site.path().join("data"), &mut all);
    for (_, canary) in ECHOED {
        let found = all.windows(canary.len()).position(|bytes| bytes == canary.as_bytes());
        let around = found.map(|at| {
            let near = &all[at.saturating_sub(80)..(at + 80).min(all.len())];
            String::from_utf8_lossy(near).into_owned()
        });
        assert_eq!(around, None, "{canary}");
    }
}
