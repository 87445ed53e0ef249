//! The config through its one door: text in, a config or its errors out.

use proptest::prelude::*;

use super::*;

const HANDLER: &str = "[handler]\nkind = \"echo\"\n";

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("lastword.toml"), Path::new("/etc/lastword"))
}

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The whole of what is printed for `text`.
#[track_caller]
fn check_errors(text: &str, expected: &str) {
    let errors = parse(text).map(|_| ()).unwrap_err();
    assert_eq!(errors.to_string(), expected, "for:\n{text}");
}

/// What is printed for a faulty line under a right handler: the faulty part begins in line 3.
#[track_caller]
fn check_rest(rest: &str, expected: &str) {
    check_errors(&format!("{HANDLER}{rest}"), expected);
}

#[test]
fn the_whole_example_of_the_outside_face_is_read() {
    let text = r#"
data_dir = "var/data"
listen = "127.0.0.1:0"
public_url = "https://bot.example/"
[handler]
kind = "exec"
command = ["python3", "agent.py"]
concurrency = 4
[api]
token = "env:LASTWORD_TOKEN"
[lifecycle]
turn_tries = 5
turn_backoff = "200ms"
delivery_backoff = ["1s", "2s"]
claim = "20s"
heartbeat_timeout = "30s"
expire_action = "deliver"
[limits]
body = "1MiB"
send = "5s"
events_per_call = 10
[channels.hook]
adapter = "adapters/webhook.wasm"
on_unknown = "resend"
idempotent = false
[channels.hook.settings]
callback_url = "http://127.0.0.1:9000/replies"
nested = { n = 1, list = [1.5, true] }
[channels.hook.secrets]
outbound-key = "env:HOOK_KEY"
inbound-key = ["file:keys/new", "file:/run/old"]
[channels.hook.grants]
targets = ["callback"]
private_targets = ["callback"]
[channels.hook.limits]
send = "10s"
[channels.hook.lifecycle]
delivery_tries = 2
[channels.plain]
adapter = "/opt/plain.wasm"
"#;
    let config = config(text);
    assert_eq!(config.data_dir, Path::new("/etc/lastword/var/data"));
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.public_url.as_deref(), Some("https://bot.example"));
    let command = vec!["python3".to_owned(), "agent.py".to_owned()];
    assert_eq!(config.handler.kind, HandlerKind::Exec { command });
    assert_eq!(config.handler.concurrency, 4);
    assert_eq!(config.api_token, Some(SecretRef::Variable("LASTWORD_TOKEN".to_owned())));
    assert_eq!(config.lifecycle.turn_tries, 5);
    assert_eq!(config.lifecycle.heartbeat_timeout.map(|time| time.as_secs()), Some(30));
    assert_eq!(config.limits.body_bytes, 1 << 20);
    assert_eq!(config.limits.find.as_secs(), 10, "what is not set follows the claim");

    let hook = &config.channels[&ChannelName::from("hook")];
    assert_eq!(hook.adapter, Path::new("/etc/lastword/adapters/webhook.wasm"));
    assert_eq!((hook.on_unknown, hook.idempotency), (OnUnknown::Resend, Idempotency::Never));
    let settings = serde_json::Value::Object(hook.settings.clone());
    let nested = serde_json::json!({"n": 1, "list": [1.5, true]});
    let url = "http://127.0.0.1:9000/replies";
    assert_eq!(settings, serde_json::json!({"callback_url": url, "nested": nested}));
    let key = |path: &str| SecretRef::File(PathBuf::from(path));
    assert_eq!(hook.secrets["inbound-key"], [key("/etc/lastword/keys/new"), key("/run/old")]);
    assert_eq!(hook.grants.private_targets, ["callback"]);
    assert_eq!((hook.limits.send.as_secs(), hook.limits.events_per_call), (10, 10));
    assert_eq!(hook.lifecycle.delivery_tries, 2);
    assert_eq!(hook.lifecycle.expire_action, ExpireAction::Deliver);

    let plain = &config.channels[&ChannelName::from("plain")];
    assert_eq!(plain.adapter, Path::new("/opt/plain.wasm"));
    assert_eq!((&plain.limits, &plain.lifecycle), (&config.limits, &config.lifecycle.delivery));
    assert_eq!(plain.on_unknown, OnUnknown::Hold);
}

#[test]
fn what_is_not_set_has_the_defaults_of_the_design_and_they_agree_with_each_other() {
    let config = config(HANDLER);
    assert_eq!(config.lifecycle, Lifecycle::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.listen.to_string().as_str(), config.channels.len()), ("127.0.0.1:8787", 0));
    assert!(config.limits.send <= config.lifecycle.call_most());
    assert!(config.limits.find <= config.lifecycle.call_most());
    assert_eq!(config.lifecycle.claim_renewal().as_secs(), 20);
    assert!(config.limits.fetches <= config.limits.host_calls);
    assert!(u64::from(config.limits.log_lines) * config.limits.log_line_bytes <= 1 << 20);
    assert!(config.limits.body_bytes < config.limits.memory_bytes);
    assert!(config.limits.answer_bytes < config.limits.memory_bytes);
}

// Case: J5
#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "\
data-dir = \"x\"
listen = 8787
[handler]
knd = \"exec\"
[lifecycle]
turn_tries = 0
[channels.Hook]
adaptr = \"x.wasm\"
[channels.hook]
adapter = \"x.wasm\"
[channels.hook.limits]
memory = \"64 megs\"
wombat = 1
";
    check_errors(
        text,
        "\
lastword.toml:1:1: unknown key \"data-dir\" at the top of the file: did you mean \"data_dir\"?
lastword.toml:2:10: listen must be text in quotes, not a number
lastword.toml:3:2: [handler] kind is missing: what answers turns is \"echo\", \"exec\", \"http\" or \"pull\"
lastword.toml:4:1: unknown key \"knd\" in [handler]: did you mean \"kind\"?
lastword.toml:6:14: [lifecycle] turn_tries must be a whole number from 1 to 100
lastword.toml:7:11: \"Hook\" is no name of a channel: one begins with a-z or 0-9 and goes on with a-z, 0-9, _ and -, 64 at most
lastword.toml:7:11: [channels.Hook] adapter is missing: name the component's file, such as adapter = \"webhook.wasm\"
lastword.toml:8:1: unknown key \"adaptr\" in [channels.Hook]: did you mean \"adapter\"?
lastword.toml:12:10: [channels.hook.limits] memory must be a size from 64.0 KiB to 4.0 GiB, such as \"4MiB\"
lastword.toml:13:1: unknown key \"wombat\" in [channels.hook.limits]",
    );
}

// Case: J5
#[test]
fn each_error_names_its_word_and_the_nearest_right_one() {
    let errors = parse(&format!("{HANDLER}[limits]\nhost-calls = 3\n")).unwrap_err();
    let error = &errors.errors[0];
    assert_eq!((error.line, error.column), (4, 1));
    assert_eq!(error.word.as_deref(), Some("host-calls"));
    assert_eq!(error.nearest.as_deref(), Some("host_calls"));
}

#[test]
fn a_wrong_value_gets_a_sentence_that_says_the_right_form() {
    for (rest, expected) in [
        (
            "[lifecycle]\nclaim = 60\n",
            "4:9: [lifecycle] claim must be a duration with its unit, such as \"30s\", not a number",
        ),
        (
            "[lifecycle]\nclaim = \"60\"\n",
            "4:9: [lifecycle] claim must be a duration from 200ms to 1h, such as \"30s\"",
        ),
        (
            "[lifecycle]\nexpire_action = \"delivr\"\n",
            "4:17: [lifecycle] expire_action must be one of \"fail\", \"deliver\", not \
             \"delivr\": did you mean \"deliver\"?",
        ),
        (
            "[lifecycle]\ndelivery_backoff = []\n",
            "4:20: [lifecycle] delivery_backoff must be a list of 1 to 32 durations, such as \
             [\"5s\", \"25s\", \"2m\"]",
        ),
        (
            "[lifecycle]\nheartbeat_timeout = \"20m\"\n",
            "4:21: [lifecycle] heartbeat_timeout must be shorter than handler_deadline, 10m, or it \
             could never act",
        ),
        (
            "[lifecycle]\nturn_backoff = \"2s\"\nturn_backoff_max = \"1s\"\n",
            "5:20: [lifecycle] turn_backoff_max is shorter than turn_backoff, 2s",
        ),
        (
            "[limits]\nhost_calls = 10\nfetches = 11\n",
            "5:11: [limits] fetches is 11, but a request is a call into the host and host_calls \
             is 10: raise host_calls too",
        ),
        (
            "[limits]\nbody = true\n",
            "4:8: [limits] body must be a size such as \"4MiB\", not true or false",
        ),
        (
            "[limits]\nhandles = 99999999999999999999999\n",
            "4:11: [limits] handles must be a whole number from 1 to 1000000",
        ),
        (
            "[api]\ntoken = \"hunter2\"\n",
            "4:9: [api] token must be a reference, \"env:NAME\" or \"file:PATH\": secrets do not \
             stand in the config",
        ),
        ("channels = 3\n", "3:1: unknown key \"channels\" in [handler]"),
        ("[channels]\nx = 3\n", "4:5: [channels.x] must be a table, not a number"),
        (
            "[channels.x]\nadapter = \"\"\n",
            "4:11: [channels.x] adapter is empty: name the component's file",
        ),
        (
            "[channels.x]\nadapter = \"a\"\nsettings.big = 1e999\n",
            "5:16: [channels.x.settings] big is a number that JSON cannot carry: write one within \
             64 bits, or text in quotes",
        ),
        (
            "[channels.x]\nadapter = \"a\"\ngrants.targets = [\"api\"]\ngrants.private_targets = \
             [\"apy\"]\n",
            "6:27: [channels.x.grants] private_targets names \"apy\", which [channels.x.grants] \
             targets does not grant: did you mean \"api\"?",
        ),
        (
            "[channels.x]\nadapter = \"a\"\nsecrets.key = [\"env:A\", \"env:B\", \"env:C\"]\n",
            "5:15: [channels.x.secrets] key must be one reference, or two while a secret is being \
             rotated, the new one first",
        ),
    ] {
        check_rest(rest, &format!("lastword.toml:{expected}"));
    }
}

#[test]
fn a_call_may_last_half_of_the_claim_and_no_longer() {
    check_rest(
        "[limits]\nsend = \"31s\"\n",
        "lastword.toml:4:8: [limits] send is 31s, but at most half of [lifecycle] claim, 30s, is \
         safe: a call must have ended before its row can be claimed again",
    );
    let found = config(&format!("{HANDLER}[lifecycle]\nclaim = \"10s\"\n"));
    assert_eq!((found.limits.send.as_secs(), found.limits.find.as_secs()), (5, 5));
    let text = "[channels.x]\nadapter = \"a\"\nlimits.find = \"40s\"\n";
    check_rest(
        text,
        "lastword.toml:5:15: [channels.x.limits] find is 40s, but at most half of [lifecycle] \
         claim, 30s, is safe: a call must have ended before its row can be claimed again",
    );
}

#[test]
fn what_was_a_constant_is_a_setting_that_reaches_the_config() {
    let text = "\
log_payloads = true
[handler]
kind = \"exec\"
command = [\"a\"]
line_bytes = \"2KiB\"
output_bytes = \"3KiB\"
events = 7
linger = \"1s\"
stderr_lines = 8
stderr_line_bytes = \"100B\"
[limits]
pending_turns = 5
context_messages = 0
component_bytes = \"4MiB\"
compile = \"9s\"
compile_memory = \"100MiB\"
calls_at_once = 3
[channels.x]
adapter = \"a\"
[channels.x.limits]
send_requests = 2
";
    let config = config(text);
    let caps = HandlerCaps {
        line_bytes: 2048,
        output_bytes: 3072,
        events: 7,
        linger: std::time::Duration::from_secs(1),
        stderr_lines: 8,
        stderr_line_bytes: 100,
    };
    assert_eq!((config.handler.caps, config.log_payloads), (caps, LogPayloads::Yes));
    let limits = HostLimits {
        pending_turns: 5,
        context_messages: 0,
        component_bytes: 4 << 20,
        compile: std::time::Duration::from_secs(9),
        compile_memory_bytes: 100 << 20,
    };
    assert_eq!(config.host_limits, limits);
    let channel = &config.channels[&ChannelName::from("x")].limits;
    assert_eq!((channel.calls_at_once, channel.send_requests), (3, 2));
    assert_eq!(config.limits.send_requests, 1);
}

#[test]
fn a_setting_that_would_not_act_where_it_stands_is_refused_there() {
    check_errors(
        "[handler]\nkind = \"echo\"\nlinger = \"1s\"\n",
        "lastword.toml:3:1: [handler] linger acts only with kind = \"exec\" or \"http\": leave it \
         out",
    );
    check_errors(
        "[handler]\nkind = \"http\"\nurl = \"http://127.0.0.1/\"\nstderr_lines = 3\n",
        "lastword.toml:4:1: [handler] stderr_lines acts only with kind = \"exec\": leave it out",
    );
    check_rest(
        "[channels.x]\nadapter = \"a\"\n[channels.x.limits]\npending_turns = 1\n",
        "lastword.toml:6:1: unknown key \"pending_turns\" in [channels.x.limits]: it is not per \
         channel: it belongs in [limits]",
    );
}

#[test]
fn what_is_made_by_a_command_is_unknown_and_says_so() {
    check_rest(
        "[schedules.daily]\n",
        "lastword.toml:3:2: unknown key \"schedules\" at the top of the file: schedules are \
         made by `lastword schedules add`, while a host runs or not",
    );
}

#[test]
fn workers_that_fetch_turns_have_their_settings_and_no_others() {
    let found = config("[handler]\nkind = \"pull\"\nlease = \"20s\"\nwaiting_max = 3\n");
    match found.handler.kind {
        HandlerKind::Pull(pull) => {
            let seconds = (pull.lease.as_secs(), pull.lease_max.as_secs());
            assert_eq!((seconds, pull.waiting_max), ((20, 600), 3));
        }
        other => panic!("{other:?}"),
    }
    check_errors(
        "[handler]\nkind = \"pull\"\nconcurrency = 4\nlease = \"2m\"\nlease_max = \"1m\"\n\
         [lifecycle]\nheartbeat_timeout = \"1m\"\n",
        "lastword.toml:3:1: [handler] concurrency does not act with kind = \"pull\": as many turns \
         run as are fetched: leave it out\n\
         lastword.toml:4:9: [handler] lease is longer than lease_max\n\
         lastword.toml:7:1: [lifecycle] heartbeat_timeout does not act with kind = \"pull\", where \
         `lease` in [handler] bounds the silence: leave it out",
    );
    check_errors(
        "[handler]\nkind = \"echo\"\nlease = \"20s\"\n",
        "lastword.toml:3:1: [handler] lease acts only with kind = \"pull\": leave it out",
    );
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
    check_errors(
        &format!("drain = \"5s\"\n{HANDLER}"),
        "lastword.toml:1:1: unknown key \"drain\" at the top of the file: it belongs in \
         [lifecycle]",
    );
    check_rest(
        "[channels.x]\nadapter = \"a\"\n[channels.x.lifecycle]\nclaim = \"1s\"\n",
        "lastword.toml:6:1: unknown key \"claim\" in [channels.x.lifecycle]: it is not per \
         channel: it belongs in [lifecycle]",
    );
}

#[test]
fn a_handler_has_what_its_kind_needs_and_nothing_else() {
    check_errors(
        "[handler]\nkind = \"exec\"\nurl = \"http://127.0.0.1/\"\n",
        "\
lastword.toml:1:2: [handler] command is missing: kind = \"exec\" needs it
lastword.toml:3:1: [handler] url acts only with kind = \"http\": leave it out",
    );
    check_errors(
        "[handler]\nkind = \"http\"\nurl = \"ftp://user:secret@host/\"\n",
        "lastword.toml:3:7: [handler] url must be an address, such as \
         \"http://127.0.0.1:8000/turn\"",
    );
    check_errors(
        "[handler]\nkind = \"exec\"\ncommand = \"python3 agent.py\"\n",
        "lastword.toml:3:11: [handler] command must be a list, not text",
    );
    check_errors(
        "data_dir = \"x\"\n",
        "lastword.toml:1:1: [handler] is missing: say what answers turns, such as kind = \
         \"exec\" and command = [\"python3\", \"agent.py\"]",
    );
}

#[test]
fn what_is_no_toml_is_reported_with_what_was_wrong_before_it_and_not_behind_it() {
    let text = "lisen = \"127.0.0.1:0\"\n[handler\nkind = \"echo\"\nwombat = 3\n";
    let errors = parse(text).unwrap_err().to_string();
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(
        lines[0],
        "lastword.toml:1:1: unknown key \"lisen\" at the top of the file: did you mean \"listen\"?"
    );
    assert!(lines[1].starts_with("lastword.toml:2:9: this is no TOML: "), "{errors}");
    assert!(!errors.contains("wombat") && !errors.contains("missing"), "{errors}");

    let twice = parse(&format!("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n{HANDLER}"));
    let errors = twice.unwrap_err().to_string();
    assert_eq!(errors, "lastword.toml:2:1: this is no TOML: duplicate key");
}

#[test]
fn an_error_never_repeats_a_value_that_may_be_a_secret() {
    let text = format!(
        "{HANDLER}[api]\ntoken = \"canary\"\n[channels.x]\nadapter = \"a\"\n[channels.x.secrets]\n\
         key = \"canary\"\nother = [\"canary\"]\nthird = {{ a = \"canary\" }}\nx = \"env:canary!\"\n"
    );
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.errors.len(), 5);
    assert!(!format!("{errors} {errors:?}").contains("canary"), "{errors}");
    let broken = parse("[api]\ntoken = canary\"\n").unwrap_err();
    assert!(!format!("{broken} {broken:?}").contains("canary"), "{broken}");
}

#[test]
fn a_file_that_is_no_config_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lastword.toml");
    let sentence = Config::load(&path).unwrap_err().to_string();
    assert!(sentence.contains("`lastword init` writes a config"), "{sentence}");
    std::fs::write(&path, b"listen = \"x\"\n\xff").unwrap();
    let sentence = Config::load(&path).unwrap_err().to_string();
    assert!(sentence.contains("line 2 holds bytes that are no UTF-8"), "{sentence}");
    std::fs::write(&path, "\n".repeat(5_000_000)).unwrap();
    let sentence = Config::load(&path).unwrap_err().to_string();
    assert!(sentence.contains("this is no config"), "{sentence}");
    std::fs::write(&path, HANDLER).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.data_dir, folder.path().join("data"));
}

#[test]
fn ten_thousand_errors_are_cut_to_what_a_person_can_read() {
    let text: String = (0..10_000).map(|n| format!("x{n} = 1\n")).collect();
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.errors.len(), 201);
    assert!(errors.to_string().ends_with("and 9801 more errors"), "{errors}");
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(parse(&deep).is_err(), "depth is bounded");
}

/// Text that gets past the first line of the parser: fragments of configs, right and wrong.
fn config_like() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        Just("[handler]\n".to_owned()),
        Just("[limits]\n".to_owned()),
        Just("[channels.x]\n".to_owned()),
        Just("[channels.x.lifecycle]\n".to_owned()),
        Just("[[channels]]\n".to_owned()),
        Just("kind = \"exec\"\n".to_owned()),
        ("[a-z_]{1,12}", "\\PC{0,12}").prop_map(|(key, value)| format!("{key} = \"{value}\"\n")),
        ("[a-z_.]{1,12}", any::<i128>()).prop_map(|(key, value)| format!("{key} = {value}\n")),
        (
            prop::sample::select(vec!["send", "cpu", "memory", "claim", "adapter", "secrets"]),
            prop_oneof![
                "[0-9]{0,24}(\\.[0-9]{0,3})?(ms|s|m|h|KiB|GB)?".prop_map(|v| format!("\"{v}\"")),
                Just("nan".to_owned()),
                Just("[[], {}, 1]".to_owned()),
                Just("{ a.b = 1e400 }".to_owned()),
                Just("1979-05-27T07:32:00Z".to_owned()),
            ]
        )
            .prop_map(|(key, value)| format!("{key} = {value}\n")),
        "\\PC{0,20}\n",
    ];
    prop::collection::vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_config_panic(text in prop_oneof![".{0,200}", config_like()]) {
        if let Err(errors) = parse(&text) {
            prop_assert!(!errors.errors.is_empty());
            let lines = u32::try_from(text.matches('\n').count()).unwrap() + 1;
            prop_assert!(errors.errors.iter().all(|error| error.line <= lines));
            let escape = errors.to_string().contains('\u{1b}');
            prop_assert!(!escape);
        }
    }
}
