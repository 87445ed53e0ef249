//! Text of strangers, made fit for operators' terminals, logs and pages: nothing in it moves a
//! cursor, hides, or turns the reading direction. It knows nothing else.

/// `text` with control and direction characters spelled out, cut to `bytes_max`.
pub(super) fn visible(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars() {
        let before = out.len();
        if hides(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > bytes_max {
            out.truncate(before);
            break;
        }
    }
    out
}

/// A sentence as `visible` left it, with its line ends as line ends again: for places that indent what
/// goes on.
pub fn lines(visible: &str) -> String {
    visible.replace("\\n", "\n")
}

/// The first line of such a sentence.
pub fn first_line(visible: &str) -> &str {
    visible.split("\\n").next().unwrap_or_default().lines().next().unwrap_or_default()
}

/// Control characters, and those of Unicode that are invisible or turn the direction.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_newlines_and_direction_marks_are_spelled_out() {
        let text = "a\u{1b}[2Jb\r\nc\u{202e}d\u{85}\u{7f}";
        assert_eq!(visible(text, 1_000), "a\\u{1b}[2Jb\\r\\nc\\u{202e}d\\u{85}\\u{7f}");
        assert_eq!(visible("gr\u{fc}n \u{1f600} \u{5e9}", 100), "gr\u{fc}n \u{1f600} \u{5e9}");
    }

    #[test]
    fn line_ends_that_were_spelled_out_are_found_again() {
        let seen = visible("make it say:\n[x]\nnone", 100);
        assert_eq!(seen, "make it say:\\n[x]\\nnone");
        assert_eq!(lines(&seen), "make it say:\n[x]\nnone");
        assert_eq!(
            (first_line(&seen), first_line("a\nb"), first_line("")),
            ("make it say:", "a", "")
        );
    }

    #[test]
    fn a_cut_falls_between_characters_and_between_escapes() {
        assert_eq!(visible("\u{e9}\u{e9}", 3), "\u{e9}");
        assert_eq!(visible("ab\u{1b}", 6), "ab");
        assert_eq!(visible(&"x".repeat(1 << 20), 4_096).len(), 4_096);
    }
}
