//! Splitting, held against a reading of fences that is written apart from it.

use proptest::prelude::*;

use super::*;

fn limit(most: u32, unit: TextUnit) -> TextLimit {
    TextLimit { most, unit }
}

fn parts(text: &str, most: u32) -> Vec<String> {
    split(text, limit(most, TextUnit::Chars))
}

/// Whether a reader of `text` is inside a code block at its end: the rule of CommonMark, line by
/// line, with a closing line of three columns more indentation at most.
fn ends_in_code(text: &str) -> bool {
    let mut open: Option<(char, usize, usize)> = None;
    for line in text.lines() {
        let bare = line.trim_start_matches([' ', '\t']);
        let indent = line.len() - bare.len();
        let Some(first) = bare.chars().next().filter(|c| *c == '`' || *c == '~') else { continue };
        let run = bare.chars().take_while(|c| *c == first).count();
        let rest = bare[run..].trim();
        match open {
            None if run >= 3 && !(first == '`' && rest.contains('`')) => {
                open = Some((first, run, indent));
            }
            Some((marker, length, at)) if marker == first => {
                if run >= length && rest.is_empty() && indent <= at + 3 {
                    open = None;
                }
            }
            Some(_) | None => {}
        }
    }
    open.is_some()
}

/// What the doc of the module promises of any text and limit.
fn check(text: &str, limit: TextLimit) -> Result<(), TestCaseError> {
    let pieces = pieces(text, limit);
    prop_assert!(!pieces.is_empty());
    let most = limit.most.max(1) as usize;
    let mut at = 0;
    let count = pieces.len();
    for (index, piece) in pieces.iter().enumerate() {
        let gap = &text[at..piece.range.start];
        let in_code = is_carried(piece.reopened);
        let newline = matches!(gap, "" | "\n" | "\r\n");
        let blank = gap.chars().all(is_blank);
        prop_assert!(if in_code { newline } else { blank }, "lost {gap:?}");
        let part = piece.render(text);
        let alone = part.chars().count() == 1;
        prop_assert!(limit.unit.count(&part) <= most || alone, "too long: {part:?}");
        let whole_text_is_blank = text.trim_matches(is_blank).is_empty();
        let shown = !part.trim_matches(is_blank).is_empty();
        prop_assert!(shown || in_code || whole_text_is_blank, "a blank part");
        prop_assert!(index == 0 || piece.range.end > at, "no progress");
        at = piece.range.end;
        if index + 1 < count {
            let next = pieces[index + 1].reopened;
            prop_assert_eq!(piece.closed, next, "what is closed is opened again");
        }
    }
    prop_assert!(text[at..].chars().all(is_blank), "lost at the end");
    Ok(())
}

fn unit() -> impl Strategy<Value = TextUnit> {
    prop::sample::select(vec![TextUnit::Bytes, TextUnit::Utf16Units, TextUnit::Chars])
}

/// Replies as agents write them: prose, lists, code, emoji, long words, crooked fences.
/// `broken` leaves out line ends, so that there are lines that no reply has.
fn reply(broken: bool) -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[a-zé ]{0,30}",
        2 => " {0,5}[a-z🎉👩‍💻 ]{0,20}",
        1 => Just(String::new()),
        1 => "[a-z]{40,90}",
        1 => "[日本語]{1,60}",
        1 => Just("e\u{301}\u{301}🇩🇪🇫🇷👨‍👩‍👧".repeat(4)),
        1 => "[a-z`~ ]{0,12}",
        2 => " {0,5}(```|````|~~~)(rust|py)?",
        2 => Just("```".to_owned()),
    ];
    let ending = prop_oneof![9 => Just("\n"), 2 => Just("\n\n"), 1 => Just("\r\n"), u32::from(broken) => Just("")];
    prop::collection::vec((line, ending), 0..25).prop_map(|lines| {
        lines.into_iter().flat_map(|(line, end)| [line, end.to_owned()]).collect()
    })
}

proptest! {
    // Case: C14
    #[test]
    fn nothing_is_lost_and_every_part_fits(
        text in prop_oneof![reply(true), "\\PC{0,200}", "[ \t\r\n`~x]{0,80}"],
        most in prop_oneof![0_u32..12, 12_u32..200],
        unit in unit(),
    ) {
        check(&text, limit(most, unit))?;
    }

    #[test]
    fn every_part_has_its_fences_closed(text in reply(false), most in 60_u32..200, unit in unit()) {
        let parts = split(&text, limit(most, unit));
        let (last, rest) = parts.split_last().unwrap();
        for part in rest {
            prop_assert!(!ends_in_code(part), "open: {part:?}");
        }
        if !ends_in_code(&text) {
            prop_assert!(!ends_in_code(last), "open: {last:?}");
        }
    }

    #[test]
    fn no_cut_goes_through_a_character_as_people_see_it(
        text in "[a-zé ]{0,20}(👩‍💻|e\u{301}|🇩🇪){5,60}",
        most in 12_u32..40,
    ) {
        use unicode_segmentation::UnicodeSegmentation;
        let boundaries: Vec<_> = text.grapheme_indices(true).map(|(at, _)| at).collect();
        for piece in pieces(&text, limit(most, TextUnit::Utf16Units)) {
            prop_assert!(boundaries.contains(&piece.range.start));
        }
    }
}

#[test]
fn a_reply_that_fits_is_left_alone_to_the_byte() {
    for text in ["", " ", "hello", "  \n hello \n\n", "```\nopen"] {
        assert_eq!(parts(text, 20), [text]);
    }
}

// Case: C14
#[test]
fn a_long_reply_with_fences_and_emoji_fits_4096_utf16_units_with_fences_balanced() {
    let prose = "Some words of an answer, with 🎉 and 👩‍💻 in it, and more of them to come.\n";
    let code = "    let answer = compute(\"🎉\", 42); // and a comment behind it\n";
    let mut text = String::new();
    while text.chars().count() < 40_000 {
        text += &prose.repeat(12);
        text += "\n```rust\n";
        text += &code.repeat(150);
        text += "```\n\n";
    }
    let limit = limit(4096, TextUnit::Utf16Units);
    check(&text, limit).unwrap();
    let parts = split(&text, limit);
    let units: usize = parts.iter().map(|part| part.encode_utf16().count()).sum();
    assert!(parts.len() <= units / 2048 + 1, "parts are at least half full: {}", parts.len());
    for part in &parts {
        assert!(part.encode_utf16().count() <= 4096);
        assert!(!ends_in_code(part), "{part}");
        assert_eq!(part.matches("```").count() % 2, 0);
    }
    let joined: String = parts
        .iter()
        .flat_map(|part| part.lines())
        .filter(|line| !line.starts_with("```"))
        .flat_map(str::chars)
        .filter(|char| !char.is_whitespace())
        .collect();
    let said: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    assert_eq!(joined, said.replace("```rust", "").replace("```", ""));
}

#[test]
fn a_cut_goes_between_paragraphs_then_lines_then_words_then_characters() {
    assert_eq!(parts("one two\n\nthree\nfour", 14), ["one two", "three\nfour"]);
    assert_eq!(parts("one two\nthree four", 12), ["one two", "three four"]);
    assert_eq!(parts("one two three four", 9), ["one two", "three", "four"]);
    assert_eq!(parts("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    assert_eq!(parts("three\n  - two", 11), ["three", "  - two"]);
}

#[test]
fn a_fence_is_closed_at_a_cut_and_opened_again_with_its_first_line() {
    let text = "Look:\n```rust\nlet a = 1;\nlet b = 2;\nlet c = 3;\n```\nDone.";
    assert_eq!(
        parts(text, 40),
        ["Look:\n```rust\nlet a = 1;\nlet b = 2;\n```", "```rust\nlet c = 3;\n```\nDone."]
    );
    let nested = "- item\n  ~~~~py\n  a\n  ~~~\n  bbbbbbbbbbbbb\n  cccccccc\n  ~~~~";
    assert_eq!(
        parts(nested, 48),
        ["- item\n  ~~~~py\n  a\n  ~~~\n  bbbbbbbbbbbbb\n  ~~~~", "  ~~~~py\n  cccccccc\n  ~~~~"]
    );
}

#[test]
fn a_fence_line_too_long_for_the_limit_is_cut_as_text() {
    let text = format!("```{}\ncode\n```\nafter", "x".repeat(50));
    check(&text, limit(20, TextUnit::Chars)).unwrap();
    let joined: String = parts(&text, 20).concat();
    assert_eq!(joined.replace('\n', ""), text.replace('\n', ""), "no line is added");
}

#[test]
fn an_indentation_beside_which_nothing_fits_makes_no_blank_part() {
    for (text, most) in [("   🎉\u{200d}👩\n", 6), ("\n  ~~~\n", 5), ("        x", 4)] {
        check(text, limit(most, TextUnit::Bytes)).unwrap();
    }
}

#[test]
fn an_emoji_that_passes_the_limit_goes_alone_and_is_not_torn() {
    assert_eq!(split("🎉a🎉", limit(1, TextUnit::Utf16Units)), ["🎉", "a", "🎉"]);
    assert_eq!(split("é🎉", limit(0, TextUnit::Bytes)), ["é", "🎉"]);
}

#[test]
fn megabytes_without_a_place_to_cut_take_no_longer_than_others() {
    // Quadratic work would be some 10^12 steps here; linear work is done before one notices.
    for text in ["x".repeat(2_000_000), " ".repeat(2_000_000), "`".repeat(2_000_000)] {
        let most = 200;
        let parts = parts(&text, most);
        assert!(parts.len() <= 2_000_000 / most as usize * 2);
    }
}
