//! Media of a request. Their bytes must be here or in S3, and documents have names that occur once.

use std::collections::HashSet;

use fairlead_ir::block::{Media, MediaClass, MediaSource};
use fairlead_ir::{Block, Severity, Text};

use super::{Job, Refusal, refuse};
use crate::bedrock_converse::wire::block::Content;
use crate::bedrock_converse::wire::media::{Source, format_of, guess_format, word};
use crate::text::decode;

/// The names of a request's documents so far.
#[derive(Default)]
pub(super) struct Names {
    used: HashSet<String>,
}

/// As [`fit`], inside a tool's result, where there is no sound.
pub(super) fn fit_in_result<'r>(
    job: &mut Job<'_, 'r>,
    block: &'r Block<'r>,
    media: &'r Media<'r>,
    names: &mut Names,
) -> Result<Option<Content<'r>>, Refusal> {
    if media.class == MediaClass::Audio {
        job.losses.block(block.origin, Severity::Dropped, "sound cannot stand in a tool's result here");
        return Ok(None);
    }
    fit(job, block, media, names)
}

/// The block's content, or a loss. Media behind an address are refused: the reply would be about a prompt without them.
pub(super) fn fit<'r>(
    job: &mut Job<'_, 'r>,
    block: &'r Block<'r>,
    media: &'r Media<'r>,
    names: &mut Names,
) -> Result<Option<Content<'r>>, Refusal> {
    let (source, format) = match &media.source {
        MediaSource::Base64 { mime, data } => {
            let guess = || guess_format(media.class, data.as_bytes(), media.name.as_ref()).filter(|_| !job.own && is_vague(mime));
            (Source::Bytes(data.borrowed()), format_of(media.class, mime).or_else(guess))
        }
        MediaSource::Url { url, mime } if is_s3(url) => {
            let guess = || guess_format(media.class, b"", Some(url));
            (Source::S3(url.borrowed()), mime.as_ref().map_or_else(guess, |mime| format_of(media.class, mime)))
        }
        MediaSource::Url { .. } => {
            return Err(refuse(format!(
                "\"{}\" is behind an address, and this provider takes media only with the request or from S3; send it in base64",
                block.origin
            )));
        }
        MediaSource::Plain(text) if media.class == MediaClass::Document => (Source::Plain(text.borrowed()), Some("txt")),
        MediaSource::Plain(_) => return Ok(lose(job, block, "a text is no picture, film or sound")),
        MediaSource::File(_) => return Ok(lose(job, block, "the file was uploaded to another provider")),
    };
    if format.is_none() && !job.own {
        return Ok(lose(job, block, "the provider does not take this type of file"));
    }
    if media.detail.as_ref().is_some_and(|detail| !detail.is("auto")) {
        job.losses.block(block.origin, Severity::Hint, "how closely to look cannot be said here");
    }
    let name = match (media.class, &media.name) {
        (MediaClass::Document, Some(name)) if job.own => Some(name.borrowed()),
        (MediaClass::Document, name) => Some(name_for(job, block, name.as_ref(), format, names)),
        _ => None,
    };
    Ok(Some(Content::Media { class: media.class, format, name, source }))
}

fn lose<'r>(job: &mut Job<'_, 'r>, block: &Block<'_>, reason: &'static str) -> Option<Content<'r>> {
    job.losses.block(block.origin, Severity::Dropped, reason);
    None
}

/// A type that says nothing.
fn is_vague(mime: &Text<'_>) -> bool {
    mime.is_empty() || mime.as_bytes().ends_with(b"/*") || mime.as_bytes().ends_with(b"octet-stream")
}

fn is_s3(url: &Text<'_>) -> bool {
    url.as_bytes().starts_with(b"s3:")
}

fn name_for(job: &mut Job<'_, '_>, block: &Block<'_>, name: Option<&Text<'_>>, format: Option<&str>, names: &mut Names) -> Text<'static> {
    let original = name.and_then(decode).unwrap_or_default();
    let bare = without_ending(&original, format);
    let sent = names.unique(plain(bare));
    if !original.is_empty() && sent != bare {
        job.losses.block(
            block.origin,
            Severity::Hint,
            "a document's name is letters, digits and few signs here, and occurs once; it was changed",
        );
    }
    // Nothing in it needs an escape.
    Text::owned(sent.into_bytes())
}

/// The name without the ending that the format says again.
fn without_ending<'n>(name: &'n str, format: Option<&str>) -> &'n str {
    match name.rsplit_once('.') {
        Some((bare, ending)) if !bare.is_empty() && format.is_some_and(|format| format.eq_ignore_ascii_case(ending)) => bare,
        _ => name,
    }
}

/// Letters, digits, single spaces, hyphens, parentheses and square brackets, as AWS allows; the rest becomes a hyphen.
fn plain(name: &str) -> String {
    const LONGEST_BYTES: usize = 190;
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || " -()[]".contains(letter);
    let spelled: String = name
        .chars()
        .map(|letter| {
            if letter.is_whitespace() {
                ' '
            } else if allowed(letter) {
                letter
            } else {
                '-'
            }
        })
        .take(LONGEST_BYTES)
        .collect();
    let folded = spelled.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if folded.is_empty() { word(MediaClass::Document).to_owned() } else { folded }
}

impl Names {
    /// `name`, with a number behind it when it was given before.
    fn unique(&mut self, name: String) -> String {
        let mut sent = name.clone();
        let mut again = 2;
        while !self.used.insert(sent.clone()) {
            sent = format!("{name} ({again})");
            again += 1;
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_are_plain_and_occur_once() {
        let mut names = Names::default();
        for (name, format, sent) in [
            ("report.pdf", "pdf", "report"),
            ("report.PDF", "pdf", "report (2)"),
            ("report", "pdf", "report (3)"),
            ("report (2)", "pdf", "report (2) (2)"),
            ("Q3_2026 — final.v2.docx", "docx", "Q3-2026 - final-v2"),
            ("a  b\tc", "txt", "a b c"),
            ("", "txt", "document"),
            ("  ", "txt", "document (2)"),
            (".pdf", "pdf", "-pdf"),
            ("日本", "txt", "--"),
        ] {
            assert_eq!(names.unique(plain(without_ending(name, Some(format)))), sent, "{name}");
        }
        assert!(plain(&"x".repeat(500)).len() <= 190);
    }
}
