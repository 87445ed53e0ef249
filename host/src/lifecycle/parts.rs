//! What one reply becomes on a platform: messages that each fit its limits for text, for text
//! beside files, for files in one message, and for the size of one file.
//!
//! A text that fits beside the files goes with the first of them. One that is too long for that
//! goes ahead of them, in messages of its own. More files than fit into one message go in more.
//! A file that the platform cannot take does not stop the reply: a line at the end of the text
//! names it, so that the person knows that there was one.
//!
//! Pure: it knows no row and no manifest.

use super::message::{Attachment, Reply, TextFormat};
use super::split::{self, TextLimit};

/// What fits into one message of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartLimits {
    /// The longest text; none where there is no limit.
    pub text: Option<TextLimit>,
    /// The longest text beside files; none where it is that of `text`. 0: no text beside files.
    pub caption: Option<TextLimit>,
    /// Files in one message; 0 where it takes none.
    pub files: u32,
    /// Bytes of one file; none where there is no limit.
    pub file_bytes: Option<u64>,
}

/// The messages of a reply, in order; at least one.
#[must_use]
pub fn parts_of(mut reply: Reply, limits: &PartLimits) -> Vec<Reply> {
    let (taken, left): (Vec<_>, Vec<_>) =
        std::mem::take(&mut reply.attachments).into_iter().partition(|file| limits.takes(file));
    name_in_text(&mut reply, &left);
    if taken.is_empty() {
        return texts(&reply, limits.text);
    }
    let at_once = usize::try_from(limits.files).unwrap_or(usize::MAX).max(1);
    let mut parts = Vec::new();
    let has_text = !reply.text.trim().is_empty();
    let beside = has_text && limits.fits_beside(&reply.text);
    if has_text && !beside {
        parts = texts(&reply, limits.text);
    }
    for (index, files) in taken.chunks(at_once).enumerate() {
        let text = if beside && index == 0 { reply.text.clone() } else { String::new() };
        parts.push(Reply { text, attachments: files.to_vec(), ..bare(&reply) });
    }
    parts
}

impl PartLimits {
    fn takes(&self, file: &Attachment) -> bool {
        let fits = |most| file.size_bytes.is_none_or(|size| size <= most);
        self.files > 0 && self.file_bytes.is_none_or(fits)
    }

    fn fits_beside(&self, text: &str) -> bool {
        let limits = [self.text, self.caption];
        limits.into_iter().flatten().all(|limit| limit.unit.count(text) <= limit.most as usize)
    }
}

/// Format and extras go with every part.
fn bare(reply: &Reply) -> Reply {
    Reply { format: reply.format, extras: reply.extras.clone(), ..Reply::default() }
}

fn texts(reply: &Reply, limit: Option<TextLimit>) -> Vec<Reply> {
    let texts = match limit {
        Some(limit) => split::split(&reply.text, limit),
        None => vec![reply.text.clone()],
    };
    texts.into_iter().map(|text| Reply { text, ..bare(reply) }).collect()
}

/// In brackets, without a word of any language.
fn name_in_text(reply: &mut Reply, left: &[Attachment]) {
    for file in left {
        let name = file.name.as_deref().unwrap_or(&file.media_type);
        let size = file.size_bytes.map_or(String::new(), |bytes| format!(", {}", size(bytes)));
        let line = format!("[{}{size}]", shown(name, reply.format));
        if !reply.text.is_empty() {
            reply.text.push_str("\n\n");
        }
        reply.text.push_str(&line);
    }
}

/// A name that Markdown shows as it is.
fn shown(name: &str, format: TextFormat) -> String {
    let steers = |c: char| format == TextFormat::Markdown && c.is_ascii_punctuation();
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if steers(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = tenths.div_ceil(1_024);
        unit += 1;
    }
    match (unit, tenths % 10) {
        (0, _) | (_, 0) => format!("{} {}", tenths / 10, UNITS[unit]),
        (_, tenth) => format!("{}.{tenth} {}", tenths / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::AttachmentSource;
    use super::super::split::TextUnit;
    use super::*;

    fn file(name: &str, bytes: u64) -> Attachment {
        Attachment {
            name: Some(name.to_owned()),
            media_type: "image/png".to_owned(),
            size_bytes: Some(bytes),
            source: AttachmentSource::Blob("b".to_owned()),
            access: Default::default(),
        }
    }

    fn reply(text: &str, files: &[(&str, u64)]) -> Reply {
        let attachments = files.iter().map(|(name, bytes)| file(name, *bytes)).collect();
        Reply { text: text.to_owned(), attachments, ..Reply::default() }
    }

    fn chars(most: u32) -> Option<TextLimit> {
        Some(TextLimit { most, unit: TextUnit::Chars })
    }

    /// Text and names of each part.
    fn shape(reply: Reply, limits: PartLimits) -> Vec<(String, Vec<String>)> {
        let parts = parts_of(reply, &limits).into_iter();
        let names = |part: &Reply| part.attachments.iter().filter_map(|f| f.name.clone()).collect();
        parts.map(|part| (part.text.clone(), names(&part))).collect()
    }

    fn part(text: &str, files: &[&str]) -> (String, Vec<String>) {
        (text.to_owned(), files.iter().map(|name| (*name).to_owned()).collect())
    }

    const TWO: &[(&str, u64)] = &[("a", 1), ("b", 2)];

    #[test]
    fn a_text_that_fits_goes_with_the_first_files_and_more_files_go_in_more_messages() {
        let limits = PartLimits { text: chars(20), files: 1, ..PartLimits::default() };
        let parts = shape(reply("hello", TWO), limits);
        assert_eq!(parts, [part("hello", &["a"]), part("", &["b"])]);
        let together = shape(reply("hello", TWO), PartLimits { files: 9, ..limits });
        assert_eq!(together, [part("hello", &["a", "b"])]);
    }

    #[test]
    fn a_text_too_long_beside_a_file_goes_ahead_in_messages_of_its_own() {
        for caption in [chars(3), chars(0)] {
            let limits = PartLimits { text: chars(20), caption, files: 2, ..PartLimits::default() };
            assert_eq!(
                shape(reply("hello", TWO), limits),
                [part("hello", &[]), part("", &["a", "b"])]
            );
        }
        let limits = PartLimits { text: chars(5), files: 2, ..PartLimits::default() };
        let long = shape(reply("hello world", TWO), limits);
        assert_eq!(long, [part("hello", &[]), part("world", &[]), part("", &["a", "b"])]);
    }

    #[test]
    fn a_file_alone_makes_one_message_without_text() {
        let limits = PartLimits { text: chars(5), caption: chars(0), files: 1, file_bytes: None };
        assert_eq!(shape(reply(" \n", &[("a", 1)]), limits), [part("", &["a"])]);
    }

    #[test]
    fn what_the_platform_cannot_take_is_named_in_the_text() {
        let none = PartLimits::default();
        let parts = shape(reply("see", &[("a.pdf", 12_698)]), none);
        assert_eq!(parts, [part("see\n\n[a.pdf, 12.5 KiB]", &[])]);
        assert_eq!(shape(reply("", &[("a", 5)]), none), [part("[a, 5 B]", &[])]);
        let small = PartLimits { files: 4, file_bytes: Some(10), ..none };
        let parts = shape(reply("see", &[("big", 11), ("ok", 10)]), small);
        assert_eq!(parts, [part("see\n\n[big, 11 B]", &["ok"])]);
        let mut rich = reply("", &[("a_b*.md", 0)]);
        rich.format = TextFormat::Markdown;
        assert_eq!(shape(rich, none), [part("[a\\_b\\*\\.md, 0 B]", &[])]);
    }

    #[test]
    fn a_reply_without_files_is_split_as_ever() {
        let limits = PartLimits { text: chars(5), ..PartLimits::default() };
        assert_eq!(
            shape(reply("hello world", &[]), limits),
            [part("hello", &[]), part("world", &[])]
        );
        let one = parts_of(reply("x", &[]), &PartLimits::default());
        assert_eq!(one, [reply("x", &[])]);
    }
}
