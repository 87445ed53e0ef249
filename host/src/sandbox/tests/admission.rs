//! What is let in, what is refused, and with which words.

use super::*;

async fn refused(bytes: Vec<u8>) -> String {
    match engine().admit(bytes).await {
        Err(refusal) => refusal.to_string(),
        Ok(adapter) => panic!("it was admitted: {:?}", adapter.admitted()),
    }
}

#[tokio::test]
async fn the_shipped_adapters_and_the_scripted_one_are_admitted_with_and_without_wasi() {
    let engine = engine();
    for name in ["echo", "echo.wasip2", "webhook", "webhook.wasip2", "script"] {
        let adapter = engine.admit(guest(name)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let admitted = adapter.admitted();
        assert_eq!(admitted.digest.len(), 64);
        let wasi = admitted.imports.iter().any(|import| import.starts_with("wasi:"));
        assert_eq!(wasi, name.ends_with("wasip2"), "{name}: {:?}", admitted.imports);
    }
    let webhook = engine.admit(guest("webhook")).await.unwrap();
    let manifest = webhook.manifest();
    assert!(manifest.declares_send() && manifest.offers.webhook && manifest.offers.progress);
    assert!(!manifest.offers.poll && !manifest.offers.reconcile);
    assert_eq!(manifest.idempotency, Idempotency::ForMs(86_400_000));
    let shown = serde_json::to_value(webhook.admitted()).unwrap();
    assert_eq!(shown["manifest"]["targets"][0]["id"], "callback");
    assert_eq!(shown["manifest"]["targets"][0]["routes"][0]["effect"], "send");
}

#[tokio::test]
async fn an_adapter_without_a_send_route_is_noted() {
    let adapter = engine().admit(guest("echo")).await.unwrap();
    if !adapter.manifest().declares_send() {
        assert!(adapter.admitted().notes[0].contains("takes its word"));
    }
}

#[tokio::test]
async fn components_outside_the_contract_are_refused_by_name() {
    for (name, word) in
        [("no-send-final", "lastword:channel/outbound@0.1.0"), ("foreign-import", "it imports `")]
    {
        let sentence = refused(guest(name)).await;
        assert!(sentence.contains(word), "{name}: {sentence}");
    }
}

#[tokio::test]
async fn what_is_no_component_is_refused_without_a_panic() {
    let module = wat::parse_str("(module (func (export \"f\")))").unwrap();
    assert!(refused(module).await.contains("core WebAssembly module"));
    assert!(refused(b"not wasm at all".to_vec()).await.contains("no WebAssembly component"));
    assert!(refused(Vec::new()).await.contains("no WebAssembly component"));
    let whole = guest("echo");
    for cut in [8, 9, 100, whole.len() / 2, whole.len() - 1] {
        let sentence = refused(whole[..cut].to_vec()).await;
        assert!(!sentence.is_empty(), "cut at {cut}");
    }
    let (env, engine) = (Env::simulated(7, 0), engine());
    for _ in 0..50 {
        let mut noisy = guest("no-send-final");
        for _ in 0..8 {
            let place = usize::try_from(env.random_u64()).unwrap() % noisy.len();
            noisy[place] ^= 1 << (env.random_u64() % 8);
        }
        // Admitted or refused: a changed comment is no harm. It must not panic or hang.
        let _ = engine.admit(noisy).await;
    }
}

#[tokio::test]
async fn a_component_over_the_size_is_refused_unread() {
    let engine =
        engine_with(EngineConfig { component_bytes_max: 1_000, ..EngineConfig::default() });
    let Err(refusal) = engine.admit(guest("echo")).await else { panic!("it was admitted") };
    assert!(refusal.to_string().contains("1000 is the most"), "{refusal}");
}

#[tokio::test]
async fn a_component_that_loops_before_it_says_anything_is_refused_in_time() {
    for name in ["start-loops", "realloc-loops"] {
        let env = Env::system();
        let config = EngineConfig { describe_ms: 300, ..EngineConfig::default() };
        let engine = Engine::new(env.clone(), config).unwrap();
        let begun = env.elapsed();
        let Err(refusal) = engine.admit(guest(name)).await else { panic!("{name} was admitted") };
        assert!(refusal.to_string().contains("describe"), "{name}: {refusal}");
        // Two calls of 300 ms, and tenfold slack.
        assert!(env.elapsed() - begun < std::time::Duration::from_secs(6), "{name}");
    }
}

#[tokio::test]
async fn foreign_exports_are_ignored_and_shown() {
    let adapter = engine().admit(guest("foreign-export")).await;
    match adapter {
        Ok(adapter) => assert!(!adapter.admitted().ignored_exports.is_empty()),
        // Its `describe` traps: what matters is that its export was no reason.
        Err(refusal) => assert!(refusal.to_string().contains("describe"), "{refusal}"),
    }
}

#[tokio::test]
async fn describe_that_traps_is_refused_with_its_words() {
    let sentence = refused(guest("traps")).await;
    assert!(
        sentence.contains("`describe` trapped") && sentence.contains("unreachable"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_version_that_asks_for_more_is_told_apart_by_each_thing_that_it_asks() {
    let engine = engine();
    let old = engine.admit(guest("grows-v1")).await.unwrap();
    let new = engine.admit(guest("grows-v2")).await.unwrap();
    assert_eq!(old.manifest().name, new.manifest().name);
    let settings = json!({ "url": "http://127.0.0.1:1" });
    let settings = settings.as_object().unwrap();
    let grants = Grants { targets: BTreeSet::from(["api".to_owned()]), ..Grants::default() };
    let more = difference(Some(old.manifest()), &grants, settings, new.manifest());
    let all = more.sentences().join("\n");
    assert!(more.is_more(), "{all}");
    for word in ["https://drop.example", "/admin", "token"] {
        assert!(all.contains(word), "{word} is missing in:\n{all}");
    }
    let same = difference(Some(old.manifest()), &grants, settings, old.manifest());
    assert!(!same.is_more(), "{:?}", same.sentences());
}

#[tokio::test]
async fn what_differs_between_two_calls_is_kept_from_describe_and_refused_where_it_gets_in() {
    let first = engine().admit(guest("describe-differs")).await.unwrap();
    Env::system().sleep(std::time::Duration::from_millis(20)).await;
    let second = engine().admit(guest("describe-differs")).await.unwrap();
    assert_eq!(first.admitted(), second.admitted(), "time and chance are always the same ones");
    // Were there another way to tell two calls apart, asking twice would find it.
    let mut leaky = engine();
    let inner = Arc::get_mut(&mut leaky.0).expect("nobody else holds a new engine");
    inner.runner.chance_unbound = |env| crate::sandbox::guest::Chance::Env(env.clone());
    let refusal = leaky.admit(guest("describe-differs")).await.map(|_| ()).unwrap_err();
    assert!(refusal.to_string().contains("two different things"), "{refusal}");
}

#[tokio::test]
async fn compiled_code_is_kept_and_a_hostile_entry_is_compiled_anew() {
    let (dir, env) = (tempfile::tempdir().unwrap(), Env::system());
    let place =
        CachePlace { dir: dir.path().join("cache"), key_file: dir.path().join("cache.key") };
    let config = EngineConfig { cache: Some(place.clone()), ..EngineConfig::default() };
    let entry = || {
        let mut entries: Vec<_> = std::fs::read_dir(&place.dir).unwrap().collect();
        assert_eq!(entries.len(), 1);
        entries.remove(0).unwrap().path()
    };
    let first = engine_with(config.clone()).admit(guest("echo")).await.unwrap();
    let (path, good) = (entry(), std::fs::read(entry()).unwrap());
    let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
    let begun = env.elapsed();
    let again = engine_with(config.clone()).admit(guest("echo")).await.unwrap();
    assert_eq!(again.admitted(), first.admitted());
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        changed,
        "it was written anew"
    );
    let _ = env.elapsed() - begun;
    // A publisher's precompiled file, and one that was changed: neither is ever loaded.
    let mut flipped = good.clone();
    let end = flipped.len() - 1;
    flipped[end] ^= 1;
    for hostile in [good[48..].to_vec(), flipped, b"hostile".to_vec()] {
        std::fs::write(&path, &hostile).unwrap();
        let anew = engine_with(config.clone()).admit(guest("echo")).await.unwrap();
        assert_eq!(anew.admitted(), first.admitted());
        assert_eq!(std::fs::read(&path).unwrap().len(), good.len(), "it was not written anew");
    }
}

#[tokio::test]
async fn a_publishers_precompiled_file_is_no_component() {
    let engine = engine();
    let code = wasmtime::component::Component::new(&engine.0.engine, guest("echo")).unwrap();
    assert!(refused(code.serialize().unwrap()).await.contains("no WebAssembly component"));
}

#[tokio::test]
async fn binding_names_every_problem_and_the_lines_that_mend_it() {
    let adapter = engine().admit(guest("script")).await.unwrap();
    let mut wrong = spec(json!({ "url": 5, "ulr": "x" }), &["api", "nothing"]);
    wrong.grants.private_targets.insert("secured".to_owned());
    wrong.secrets.insert("no-such-slot", vec![Zeroizing::new("x".to_owned())]);
    wrong.secrets.insert("signing", vec![Zeroizing::new("whsec_***".to_owned())]);
    let refusal = adapter
        .bind(wrong, Arc::new(Stored::default()), Arc::new(NoBlobs))
        .await
        .map(|_| ())
        .unwrap_err();
    let all = refusal.sentences.join("\n");
    for word in [
        "settings.url",
        "ulr",
        "targets = [\"api\", \"handed\", \"secured\"]",
        "[channels.hook.grants]",
        "`nothing`",
        "private_targets names `secured`",
        "`no-such-slot`",
        "secret `signing` is not base64",
    ] {
        assert!(all.contains(word), "{word} is missing in:\n{all}");
    }
    assert!(!all.contains("***"), "{all}");
}

#[tokio::test]
async fn addresses_that_a_platform_hands_out_may_stay_ungranted() {
    let adapter = engine().admit(guest("script")).await.unwrap();
    let settings = json!({ "url": "http://127.0.0.1:1" });
    let without = spec(settings.clone(), &["api", "secured"]);
    adapter
        .bind(without, Arc::new(Stored::default()), Arc::new(NoBlobs))
        .await
        .map(|_| ())
        .unwrap();
    let without = spec(settings, &["api", "handed"]);
    let refusal = adapter
        .bind(without, Arc::new(Stored::default()), Arc::new(NoBlobs))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(refusal.to_string().contains("asks for `secured`, which is not granted"), "{refusal}");
}

#[tokio::test]
async fn a_check_that_objects_or_traps_refuses_the_channel() {
    let adapter = engine().admit(guest("script")).await.unwrap();
    for (more, word) in [
        (json!({ "problem": "it will not do" }), "settings.problem: it will not do"),
        (json!({ "check": "!trap oh no" }), "oh no"),
        (json!({ "url": "http://127.0.0.1:1/x?y=z" }), "query"),
    ] {
        let mut settings = json!({ "url": "http://127.0.0.1:1" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec = spec(settings, &["api", "secured", "handed"]);
        let refusal = adapter
            .bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs))
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
}
