//! What a reply says about itself on `/api/v1`: rendered once per generation, spliced into every frame.

use fairlead_ir::Manner;

use crate::json::walk::write_string;

/// The names a caller shall see, with their JSON spelling ready.
#[derive(Clone, Debug)]
pub struct Identity {
    manner: Manner,
    generation_id: Name,
    model: Name,
    provider: Name,
    created_s: u64,
    kept: Option<Vec<u8>>,
}

/// A text and how it stands in JSON.
#[derive(Clone, Debug)]
struct Name {
    text: String,
    json: Vec<u8>,
}

impl Identity {
    /// `generation_id` as text, `model` as the catalogue id, `provider` as the display name, `created_s` in Unix seconds
    /// (used where a provider sends no usable `created`).
    pub fn new(manner: Manner, generation_id: &str, model: &str, provider: &str, created_s: u64) -> Identity {
        // On `/v1` nothing of it is spliced in; only an error in mid-stream names them.
        let name =
            |text: &str| if manner == Manner::Openrouter { Name::new(text) } else { Name { text: text.to_owned(), json: Vec::new() } };
        Identity { manner, generation_id: name(generation_id), model: name(model), provider: name(provider), created_s, kept: None }
    }

    /// The same of a Responses reply that the gateway keeps, which went on from the response `previous`.
    pub fn kept(self, previous: Option<&str>) -> Identity {
        let mut json = Vec::new();
        match previous {
            Some(previous) => write_string(&mut json, previous),
            None => json.extend_from_slice(b"null"),
        }
        Identity { kept: Some(json), ..self }
    }

    /// The identity of a whole reply on `/v1`, into which no name is ever written.
    pub fn unnamed() -> Identity {
        let name = || Name { text: String::new(), json: Vec::new() };
        Identity { manner: Manner::Native, generation_id: name(), model: name(), provider: name(), created_s: 0, kept: None }
    }

    /// The manner of the client's route.
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// The generation id as text.
    pub fn generation_id(&self) -> &str {
        &self.generation_id.text
    }

    /// The catalogue id of the model.
    pub fn model(&self) -> &str {
        &self.model.text
    }

    /// The provider's display name.
    pub fn provider(&self) -> &str {
        &self.provider.text
    }

    /// Unix seconds of the generation's start.
    pub fn created_s(&self) -> u64 {
        self.created_s
    }

    /// Of a reply that the gateway keeps: the id of the response it went on from, as JSON.
    pub(crate) fn kept_after_json(&self) -> Option<&[u8]> {
        self.kept.as_deref()
    }

    /// Whether every reply's own words are changed.
    pub(crate) fn renames(&self) -> bool {
        self.is_openrouter() || self.kept.is_some()
    }

    pub(crate) fn is_openrouter(&self) -> bool {
        self.manner == Manner::Openrouter
    }

    pub(crate) fn generation_id_json(&self) -> &[u8] {
        &self.generation_id.json
    }

    pub(crate) fn model_json(&self) -> &[u8] {
        &self.model.json
    }

    pub(crate) fn provider_json(&self) -> &[u8] {
        &self.provider.json
    }

    /// An id for the tool call at `index` that a provider sent without one, as JSON.
    pub(crate) fn tool_call_id_json(&self, index: usize) -> Vec<u8> {
        let id = &self.generation_id.text;
        let tail = id.rsplit('-').next().unwrap_or(id);
        let mut json = Vec::new();
        write_string(&mut json, &format!("call_{tail}_{index}"));
        json
    }
}

impl Name {
    fn new(text: &str) -> Name {
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(&mut json, text);
        Name { text: text.to_owned(), json }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_once() {
        let identity = Identity::new(Manner::Openrouter, "gen-0-00ff", "a/\"b\"", "Lab", 7);
        assert_eq!(identity.model_json(), br#""a/\"b\"""#);
        assert_eq!(identity.model(), "a/\"b\"");
        assert_eq!(identity.tool_call_id_json(2), br#""call_00ff_2""#);
    }
}
