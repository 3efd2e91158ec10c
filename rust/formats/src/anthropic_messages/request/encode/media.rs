//! Pictures and documents. Sound and films are not taken.

use fairlead_ir::block::{Media, MediaClass, MediaSource};
use fairlead_ir::{Block, Severity, Text};

use super::Job;
use super::blocks::Content;
use crate::text::{base64_bytes, escape};
use crate::write::Object;

/// Where media are, as far as it can be said here.
pub(super) enum Source<'r> {
    Base64 { mime: &'static str, data: &'r Text<'r> },
    Url(&'r Text<'r>),
    File(&'r Text<'r>),
    Plain(Text<'r>),
}

/// The block's content, or a loss.
pub(super) fn fit<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, media: &'r Media<'r>) -> Option<Content<'r>> {
    match find_source(media, job.own) {
        Ok(source) => {
            if media.detail.as_ref().is_some_and(|detail| !detail.is("auto")) {
                job.losses.block(block.origin, Severity::Hint, "how closely to look cannot be said here");
            }
            Some(Content::Media { class: media.class, source, title: media.name.as_ref() })
        }
        Err(reason) => {
            job.losses.block(block.origin, Severity::Dropped, reason);
            None
        }
    }
}

fn find_source<'r>(media: &'r Media<'r>, own: bool) -> Result<Source<'r>, &'static str> {
    let is_image = match media.class {
        MediaClass::Image => true,
        MediaClass::Document => false,
        MediaClass::Audio => return Err("the provider takes no sound"),
        MediaClass::Video => return Err("the provider takes no films"),
    };
    match &media.source {
        MediaSource::File(id) if own => Ok(Source::File(id)),
        MediaSource::File(_) => Err("the file was uploaded to another provider"),
        MediaSource::Url { url, .. } if is_web_address(url) => Ok(Source::Url(url)),
        MediaSource::Url { .. } => Err("the provider reads only from web addresses"),
        MediaSource::Plain(text) if !is_image => Ok(Source::Plain(text.borrowed())),
        MediaSource::Plain(_) => Err("a text is no picture"),
        MediaSource::Base64 { mime, data } if is_image => match image_type(mime, data) {
            Some(mime) => Ok(Source::Base64 { mime, data }),
            None => Err("the provider takes pictures as JPEG, PNG, GIF or WebP"),
        },
        MediaSource::Base64 { mime, data } => document(mime, data),
    }
}

fn is_web_address(url: &Text<'_>) -> bool {
    let starts = |scheme: &[u8]| url.as_bytes().get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    // Some writers escape the slashes.
    starts(b"https:") || starts(b"http:")
}

fn image_type(mime: &Text<'_>, data: &Text<'_>) -> Option<&'static str> {
    match mime.as_bytes() {
        b"image/jpeg" | b"image/jpg" | br"image\/jpeg" | br"image\/jpg" => Some("image/jpeg"),
        b"image/png" | br"image\/png" => Some("image/png"),
        b"image/gif" | br"image\/gif" => Some("image/gif"),
        b"image/webp" | br"image\/webp" => Some("image/webp"),
        b"" | b"image/*" | b"application/octet-stream" => image_type_of(data.as_bytes()),
        _ => None,
    }
}

/// What the first bytes of the file tell.
fn image_type_of(base64: &[u8]) -> Option<&'static str> {
    [(&b"/9j/"[..], "image/jpeg"), (br"\/9j\/", "image/jpeg"), (b"iVBOR", "image/png"), (b"R0lG", "image/gif"), (b"UklG", "image/webp")]
        .into_iter()
        .find_map(|(start, mime)| base64.starts_with(start).then_some(mime))
}

fn document<'r>(mime: &Text<'_>, data: &'r Text<'r>) -> Result<Source<'r>, &'static str> {
    match mime.as_bytes() {
        b"application/pdf" | br"application\/pdf" => Ok(Source::Base64 { mime: "application/pdf", data }),
        b"" | b"application/octet-stream" if data.as_bytes().starts_with(b"JVBER") => Ok(Source::Base64 { mime: "application/pdf", data }),
        mime if mime.starts_with(b"text/") || mime.starts_with(br"text\/") => {
            match base64_bytes(data).and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(text) => Ok(Source::Plain(escape(&text).into_owned())),
                None => Err("the document is no text in UTF-8"),
            }
        }
        _ => Err("the provider takes documents as PDF or text"),
    }
}

/// Writes the member `source`.
pub(super) fn write_source(source: &Source<'_>, object: &mut Object<'_>) {
    object.object("source", |object| {
        match source {
            Source::Base64 { mime, data } => object.text("type", "base64").text("media_type", mime).escaped("data", data),
            Source::Url(url) => object.text("type", "url").escaped("url", url),
            Source::File(id) => object.text("type", "file").escaped("file_id", id),
            Source::Plain(text) => object.text("type", "text").text("media_type", "text/plain").escaped("data", text),
        };
    });
}
