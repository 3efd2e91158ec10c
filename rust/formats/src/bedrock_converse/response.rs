//! Whole replies: what one tells the record stands here; the reader and the writer stand below.

pub(crate) mod decode;
pub(crate) mod encode;

#[cfg(test)]
mod tests;

use fairlead_ir::{Kind, Tier, block::Arguments};

use crate::reply::{Figured, Missing, Seen};
use crate::text;
use crate::traits::Traits;

/// Reads a body that is known to be JSON into `seen`; false where it is no reply.
pub(crate) fn read(body: &[u8], seen: &mut Seen) -> bool {
    let Ok(reply) = decode::decode(body, &Traits::NONE) else { return false };
    if let Some(usage) = reply.usage {
        seen.take_figures(Figured { usage, missing: Missing::default(), cost: None, tier: None });
    }
    seen.tier = reply.service_tier.as_ref().and_then(|tier| Tier::from_word(tier.as_bytes()));
    for choice in &reply.choices {
        for block in &choice.blocks {
            let bytes = match &block.kind {
                Kind::Text { text, .. } | Kind::Refusal(text) => text.as_bytes().len(),
                Kind::Thought(thought) => thought.parts.iter().map(|part| part.text.as_bytes().len()).sum(),
                Kind::ToolCall(call) => match &call.arguments {
                    Arguments::Json(json) => json.as_bytes().len(),
                    Arguments::Quoted(text) | Arguments::Free(text) => text.as_bytes().len(),
                },
                Kind::Media(_) | Kind::ToolResult(_) | Kind::Opaque { .. } => 0,
            };
            seen.take_content(bytes > 0 || matches!(block.kind, Kind::ToolCall(_) | Kind::Media(_)), bytes as u64);
        }
        if let Some(stop) = &choice.stop {
            let native = text::decode(&stop.native).unwrap_or_default();
            seen.take_finish(stop.reason.finish().name(), &native, stop.sequence.is_some());
        }
    }
    true
}
