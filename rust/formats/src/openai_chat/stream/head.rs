//! What every chunk of a stream repeats, rendered once, and what ends the stream: for chat and for legacy completions.

use std::sync::Arc;

use fairlead_ir::{NanoUsd, Text, Usage};

use crate::error::Skeleton;
use crate::identity::Identity;
use crate::openai_chat::wire::usage::write_usage;
use crate::text::decode;
use crate::write::Object;

/// The beginning of all chunks of one stream.
#[derive(Debug)]
pub(crate) struct ChunkHead {
    identity: Arc<Identity>,
    /// What a chunk is called.
    object: &'static str,
    /// What the client has been told.
    id: String,
    model: String,
    created_s: u64,
    tier: Option<Text<'static>>,
    /// A chunk up to the list of choices.
    bytes: Vec<u8>,
}

impl ChunkHead {
    /// Before the provider said who it is.
    pub(crate) fn new(identity: Arc<Identity>, object: &'static str) -> ChunkHead {
        let (id, model) = (identity.generation_id().to_owned(), identity.model().to_owned());
        let created_s = identity.created_s();
        let mut head = ChunkHead { identity, object, id, model, created_s, tier: None, bytes: Vec::new() };
        head.render();
        head
    }

    /// Takes the provider's own names, which are shown on `/v1` where it has some.
    pub(crate) fn start(&mut self, id: &Text<'_>, model: &Text<'_>, created_s: Option<u64>) {
        self.created_s = created_s.unwrap_or(self.created_s);
        if !self.identity.is_openrouter() {
            let own = |text: &Text<'_>| decode(text).filter(|text| !text.is_empty()).map(|text| text.into_owned());
            self.id = own(id).unwrap_or_else(|| self.identity.generation_id().to_owned());
            self.model = own(model).unwrap_or_else(|| self.identity.model().to_owned());
        }
        self.render();
    }

    /// From here on each chunk says who serves it.
    pub(crate) fn tier(&mut self, tier: &Text<'_>) {
        self.tier = Some(tier.clone().into_owned());
        self.render();
    }

    fn render(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(b"data: ");
        let mut chunk = Object::open(&mut self.bytes);
        chunk.text("id", &self.id).text("object", self.object).number("created", self.created_s).text("model", &self.model);
        if self.identity.is_openrouter() {
            chunk.raw("provider", self.identity.provider_json()).raw("system_fingerprint", b"null");
        }
        chunk.optional_escaped("service_tier", self.tier.as_ref());
        chunk.key("choices").push(b'[');
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What an error's frame repeats.
    pub(crate) fn skeleton(&self) -> Skeleton<'_> {
        Skeleton { id: &self.id, model: &self.model, provider: self.identity.provider(), created_s: self.created_s, sequence_number: 0 }
    }

    /// Appends the chunk of the usage, for a client that asked for it or is always told, and the terminal.
    pub(crate) fn end(&self, usage: Option<&Usage>, cost: Option<NanoUsd>, asked: bool, out: &mut Vec<u8>) {
        let is_openrouter = self.identity.is_openrouter();
        let usage = usage.copied().or_else(|| cost.map(|_| Usage::default()));
        if let Some(usage) = usage.filter(|_| is_openrouter || asked) {
            out.extend_from_slice(&self.bytes);
            out.extend_from_slice(b"],\"usage\":");
            let mut object = Object::open(out);
            write_usage(&usage, cost, is_openrouter, &mut object);
            object.close();
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
