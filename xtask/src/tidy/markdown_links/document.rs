//! What a Markdown document offers to links, and where its own links point.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use pulldown_cmark::{BrokenLink, Event, LinkType, Options, Parser, Tag, TagEnd};

/// A link in a document, or an image, or an HTML `href` or `src`.
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) target: String,
}

#[derive(Default)]
pub(super) struct Document {
    pub(super) links: Vec<Link>,
    /// `[text][label]` without a definition of `label`.
    pub(super) undefined: Vec<Link>,
    /// Slugs of the headings, and ids written in HTML.
    pub(super) anchors: HashSet<String>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let line_at = |offset: usize| 1 + text[..offset].matches('\n').count();
        let undefined = RefCell::new(Vec::new());
        let on_broken = |link: BrokenLink<'_>| {
            // `[word]` alone is ordinary text.
            if matches!(
                link.link_type,
                LinkType::Reference | LinkType::ReferenceUnknown
            ) {
                let line = line_at(link.span.start);
                undefined.borrow_mut().push(Link {
                    line,
                    target: link.reference.to_string(),
                });
            }
            None
        };
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_GFM;
        let mut slugs = Slugs::default();
        let mut heading: Option<String> = None;
        for (event, range) in
            Parser::new_with_broken_link_callback(text, options, Some(on_broken)).into_offset_iter()
        {
            match event {
                Event::Start(Tag::Link {
                    link_type: LinkType::Email,
                    ..
                }) => {}
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(Link {
                        line: line_at(range.start),
                        target: dest_url.into_string(),
                    });
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    if let Some(title) = heading.take() {
                        document.anchors.insert(slugs.next(&title));
                    }
                }
                Event::Text(part) | Event::Code(part) => {
                    if let Some(title) = &mut heading {
                        title.push_str(&part);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    for (name, value, offset) in attributes(&html) {
                        match name {
                            "href" | "src" => document.links.push(Link {
                                line: line_at(range.start + offset),
                                target: value.to_owned(),
                            }),
                            _ => {
                                document.anchors.insert(value.to_owned());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        document.undefined = undefined.into_inner();
        document
    }
}

/// Quoted `href`, `src`, `id` and `name` attributes in a piece of HTML, each with its offset.
fn attributes(html: &str) -> Vec<(&'static str, &str, usize)> {
    let mut found = Vec::new();
    for name in ["href", "src", "id", "name"] {
        for (at, _) in html.match_indices(&format!("{name}=\"")) {
            let begins_a_word = html[..at].ends_with(char::is_whitespace);
            let value = &html[at + name.len() + 2..];
            if let (true, Some(end)) = (begins_a_word, value.find('"')) {
                found.push((name, &value[..end], at));
            }
        }
    }
    found
}

/// Slugs of one document's headings, made as GitHub makes them: a repeated one gets `-1`, `-2`, ….
#[derive(Default)]
struct Slugs(HashMap<String, usize>);

impl Slugs {
    fn next(&mut self, title: &str) -> String {
        let slug = slug(title);
        let uses = self.0.entry(slug.clone()).or_default();
        let unique = if *uses == 0 {
            slug
        } else {
            format!("{slug}-{uses}")
        };
        *uses += 1;
        unique
    }
}

fn slug(title: &str) -> String {
    title
        .trim()
        .to_lowercase()
        .chars()
        .filter(|it| it.is_alphanumeric() || " -_".contains(*it))
        .map(|it| if it == ' ' { '-' } else { it })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_as_on_github() {
        assert_eq!(
            slug("5. The log & the `sequencer`!"),
            "5-the-log--the-sequencer"
        );
        assert_eq!(slug("SEND_ACK, kept"), "send_ack-kept");
        assert_eq!(slug("消息的路径（一）"), "消息的路径一");
    }

    #[test]
    fn a_repeated_heading_gets_a_number() {
        let document = Document::parse("# Run\n\n## Test\n\n## `Test`\n");
        let mut anchors: Vec<_> = document.anchors.into_iter().collect();
        anchors.sort();
        assert_eq!(anchors, ["run", "test", "test-1"]);
    }

    #[test]
    fn links_in_code_are_not_links() {
        let document =
            Document::parse("`[a](b.md)`\n\n```\n[a](b.md)\n```\n\na[0][1] and [word]\n");
        assert!(document.links.is_empty());
    }

    #[test]
    fn ids_in_html_are_anchors() {
        assert!(
            Document::parse("<a id=\"here\"></a>\n")
                .anchors
                .contains("here")
        );
    }
}
