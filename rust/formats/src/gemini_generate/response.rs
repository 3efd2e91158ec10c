//! Whole replies as clients shall see them, on the byte path; their reader and writer stand below.

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(test)]
pub(crate) mod tests;

use super::wire::Figures;
use super::wire::outline::Outline;
use crate::json::Reject;
use crate::reply::Seen;

/// Takes what a whole reply says into `seen`. `false` when it is no reply: it has neither candidates nor a reason why there are none.
pub(crate) fn read(body: &[u8], seen: &mut Seen) -> Result<bool, Reject> {
    let outline = Outline::read(body)?;
    if outline.error {
        seen.fail(body);
    }
    outline.tell(body, &mut Figures::default(), &mut false, seen);
    Ok(outline.candidates > 0 || seen.finish.is_some())
}
