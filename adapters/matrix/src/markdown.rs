//! Markdown to the HTML that Matrix carries in `formatted_body`.

use pulldown_cmark::{Event, Options, Parser, html};

/// CommonMark with tables and strikethrough, as the contract has it. HTML within the text is shown
/// as text: an agent's words are words.
pub(crate) fn to_html(text: &str) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let plain = parser.map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        other => other,
    });
    let mut formatted = String::new();
    html::push_html(&mut formatted, plain);
    formatted.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_strikethrough_are_understood() {
        assert_eq!(to_html("**a** ~~b~~"), "<p><strong>a</strong> <del>b</del></p>");
        assert!(to_html("|a|\n|-|\n|b|").contains("<td>b</td>"));
    }

    #[test]
    fn html_within_the_text_is_escaped() {
        assert_eq!(to_html("a <b>c</b>"), "<p>a &lt;b&gt;c&lt;/b&gt;</p>");
        assert!(!to_html("<script>\nx\n</script>").contains("<script"));
        assert_eq!(to_html("1 < 2 & 3"), "<p>1 &lt; 2 &amp; 3</p>");
    }
}
