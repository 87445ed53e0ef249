//! Compilation in a child process: it ends in time and within its memory, it is gone afterwards,
//! and what it was for is refused with a sentence. In a process that was started as a child, the
//! first test plays it.

use std::time::Duration;

use super::*;
use crate::sandbox::child::{Mode, TEST_VARIABLE, play};

/// Ends the process where it was started as a child; else it is no child and has nothing to play.
fn play_if_started(mode: Mode) {
    if crate::env::variable(TEST_VARIABLE).is_some() {
        let code = play(mode);
        #[allow(clippy::disallowed_methods, reason = "the child ends here, as the binary does")]
        std::process::exit(code.into());
    }
}

#[test]
fn a_child_started_by_a_test_compiles() {
    play_if_started(Mode::Compile);
}

#[test]
fn a_child_started_by_a_test_serves() {
    play_if_started(Mode::Serve);
}

#[test]
fn a_child_started_by_a_test_probes() {
    play_if_started(Mode::Probe);
}

/// `count` functions of `bytes` each: branches over many variables, dear to any allocator of
/// registers.
pub(in crate::sandbox) fn bomb(count: u32, bytes: usize) -> Vec<u8> {
    fn leb(out: &mut Vec<u8>, mut number: u32) {
        while number > 0x7f {
            out.push(number as u8 & 0x7f | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }
    fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
        out.push(id);
        leb(out, u32::try_from(content.len()).unwrap());
        out.extend_from_slice(content);
    }
    // One group of 100 locals, each an i32.
    let mut body = vec![1, 100, 0x7f];
    let mut number = 0_u8;
    while body.len() < bytes {
        let local = |add: u8| number.wrapping_mul(31).wrapping_add(add) % 100;
        // block; local.get; br_if 0; local.get; local.get; i32.mul; local.set; end
        body.extend([0x02, 0x40, 0x20, local(0), 0x0d, 0, 0x20, local(7), 0x20, local(13)]);
        body.extend([0x6c, 0x21, local(41), 0x0b]);
        number = number.wrapping_add(1);
    }
    body.push(0x0b);
    let (mut functions, mut code) = (Vec::new(), Vec::new());
    leb(&mut functions, count);
    leb(&mut code, count);
    functions.extend(std::iter::repeat_n(0, count as usize));
    for _ in 0..count {
        leb(&mut code, u32::try_from(body.len()).unwrap());
        code.extend_from_slice(&body);
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &functions);
    section(&mut module, 10, &code);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, &module);
    component
}

/// A helper whose children are found by a mark of this test's own.
pub(super) struct Marked {
    mark: String,
    pub(super) config: EngineConfig,
}

impl Marked {
    pub(super) fn new(config: EngineConfig) -> Self {
        let mark = format!("{:016x}", Env::system().random_u64());
        let helper = Helper::own().unwrap().marked(mark.clone());
        Self { mark, config: EngineConfig { helper: Some(helper), ..config } }
    }

    pub(super) fn children(&self) -> Vec<i32> {
        let folders = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
        let ours = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(self.mark.len()).any(|piece| piece == self.mark.as_bytes())
        };
        pids.filter(ours).collect()
    }

    pub(super) async fn seen(&self) -> Vec<i32> {
        loop {
            let children = self.children();
            if !children.is_empty() {
                return children;
            }
            Env::system().sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn gone(&self) {
        let (env, begun) = (Env::system(), Env::system());
        while !self.children().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(5), "a child is still there");
            env.sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is refused, and after how long.
    async fn refused(&self, bytes: Vec<u8>) -> (String, Duration) {
        let (env, engine) = (Env::system(), engine_with(self.config.clone()));
        let begun = env.elapsed();
        let Err(refusal) = engine.admit(bytes).await else { panic!("it was admitted") };
        assert_eq!(self.children(), [0; 0], "a child is left behind");
        (refusal.to_string(), env.elapsed() - begun)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compilation_that_takes_too_long_is_stopped_and_other_channels_serve_meanwhile() {
    let marked = Marked::new(EngineConfig { compile_ms_max: 1_500, ..EngineConfig::default() });
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let bomb = bomb(400, 60_000);
    let refusing = marked.refused(bomb);
    let sending = async {
        marked.seen().await;
        for _ in 0..5 {
            let call = send(&channel, "meanwhile").await;
            assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
        }
        assert!(!marked.children().is_empty(), "the bomb was none: it ended before it was stopped");
    };
    let ((sentence, took), ()) = tokio::join!(refusing, sending);
    assert!(sentence.contains("not compiled within 1500 ms") && sentence.contains("`compile`"));
    assert!((1_500..6_000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_compilation_that_takes_too_much_memory_is_stopped() {
    let marked = Marked::new(EngineConfig {
        compile_memory_bytes_max: 128 << 20,
        ..EngineConfig::default()
    });
    let (sentence, _) = marked.refused(bomb(1, 4_000_000)).await;
    assert!(sentence.contains("134217728 bytes of memory"), "{sentence}");
    // What fits is compiled under the same cap.
    engine_with(marked.config.clone()).admit(guest("echo")).await.unwrap();
    assert_eq!(marked.children(), [0; 0]);
}

/// Until the kernel filters what a child asks of it: a compiler needs no file and no network.
async fn shut_in(marked: &Marked) {
    loop {
        let child = marked.seen().await[0];
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        if status.contains("Seccomp:\t2") {
            return;
        }
        Env::system().sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_compilation_that_nobody_waits_for_any_more_is_stopped() {
    let marked = Marked::new(EngineConfig::default());
    let engine = engine_with(marked.config.clone());
    let admitting = engine.admit(bomb(400, 60_000));
    tokio::select! {
        biased;
        _ = admitting => panic!("the bomb was none"),
        () = shut_in(&marked) => {}
    }
    marked.gone().await;
}

#[tokio::test]
async fn torn_and_random_bytes_are_refused_with_a_sentence() {
    let marked = Marked::new(EngineConfig::default());
    let whole = guest("no-send-final");
    for length in [8, 9, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let (sentence, _) = marked.refused(whole[..length].to_vec()).await;
        assert!(!sentence.is_empty() && !sentence.contains("panicked"), "{length}: {sentence}");
    }
    let env = Env::simulated(11, 0);
    for _ in 0..5 {
        let mut noise = vec![0; 4_096];
        env.fill(&mut noise);
        noise[..8].copy_from_slice(&whole[..8]);
        let (sentence, _) = marked.refused(noise).await;
        assert!(sentence.contains("cannot be compiled"), "{sentence}");
    }
}
