//! What is known about an endpoint beside how to call it: sets of names from fixed vocabularies, made for comparing on the request path.

use std::fmt;
use std::marker::PhantomData;

/// A fixed list of names, 32 at most.
pub trait Vocabulary {
    /// What one of them is called in messages.
    const WHAT: &'static str;
    /// The names; a name's position is its bit.
    const NAMES: &'static [&'static str];
}

/// Names from one vocabulary, each once. Compares, unites and contains in one instruction.
pub struct Names<V> {
    bits: u32,
    vocabulary: PhantomData<V>,
}

impl<V: Vocabulary> Names<V> {
    /// No name.
    pub const NONE: Names<V> = Names { bits: 0, vocabulary: PhantomData };

    /// Every name of the vocabulary.
    pub const fn all() -> Names<V> {
        Names { bits: ((1u64 << V::NAMES.len()) - 1) as u32, vocabulary: PhantomData }
    }

    /// The set of one name; `None` where the vocabulary does not have it.
    pub fn one(name: &str) -> Option<Names<V>> {
        let position = V::NAMES.iter().position(|known| *known == name)?;
        Some(Names { bits: 1 << position, vocabulary: PhantomData })
    }

    /// The set of these names.
    ///
    /// # Errors
    /// The position of the first that the vocabulary does not have.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<Names<V>, usize> {
        names
            .iter()
            .enumerate()
            .try_fold(Names::NONE, |set, (position, name)| Names::one(name.as_ref()).map(|one| set.with(one)).ok_or(position))
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Names<V>) -> Names<V> {
        Names { bits: self.bits | other.bits, vocabulary: PhantomData }
    }

    /// Whether every name of `other` is in this set.
    pub const fn contains(self, other: Names<V>) -> bool {
        self.bits & other.bits == other.bits
    }

    /// The names of this set that `other` does not have.
    #[must_use]
    pub const fn without(self, other: Names<V>) -> Names<V> {
        Names { bits: self.bits & !other.bits, vocabulary: PhantomData }
    }

    /// Whether there is no name in it.
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The names, in the vocabulary's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        V::NAMES.iter().enumerate().filter(move |(position, _)| self.bits >> position & 1 == 1).map(|(_, name)| *name)
    }
}

// By hand: a derive would ask the same of the vocabulary.
impl<V> Clone for Names<V> {
    fn clone(&self) -> Names<V> {
        *self
    }
}

impl<V> Copy for Names<V> {}

impl<V> PartialEq for Names<V> {
    fn eq(&self, other: &Names<V>) -> bool {
        self.bits == other.bits
    }
}

impl<V> Eq for Names<V> {}

impl<V: Vocabulary> fmt::Debug for Names<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

/// What prompts and replies may hold.
pub enum Modality {}

/// A set of modalities.
pub type Modalities = Names<Modality>;

impl Vocabulary for Modality {
    const WHAT: &'static str = "modality";
    const NAMES: &'static [&'static str] = &["text", "image", "file", "audio", "video", "embeddings", "rerank", "speech", "transcription"];
}

impl Modalities {
    /// What a prompt may hold beside text: the names from `image` to `video`.
    pub const MEDIA: Modalities = Names { bits: 0b1_1110, vocabulary: PhantomData };
    /// PDFs and the like.
    pub const FILE: Modalities = Names { bits: 0b100, vocabulary: PhantomData };
    /// What is made of a text that is no reply to it.
    pub const EMBEDDINGS: Modalities = Names { bits: 0b10_0000, vocabulary: PhantomData };
    /// What only endpoints of their own do: embeddings and what follows it.
    pub const NO_CHAT: Modalities = Names { bits: 0b1_1110_0000, vocabulary: PhantomData };
}

/// What a request may ask for, under OpenRouter's names.
pub enum Parameter {}

/// A set of parameters.
pub type Parameters = Names<Parameter>;

impl Vocabulary for Parameter {
    const WHAT: &'static str = "parameter";
    const NAMES: &'static [&'static str] = &[
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "top_a",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "max_tokens",
        "max_completion_tokens",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "prediction",
        "seed",
        "response_format",
        "structured_outputs",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "include_reasoning",
        "reasoning",
        "reasoning_effort",
        "web_search_options",
        "verbosity",
    ];
}

impl Parameters {
    /// `tools`.
    pub const TOOLS: Parameters = Names { bits: 1 << 18, vocabulary: PhantomData };
}

/// How weights are stored.
pub enum Quantization {}

/// A set of quantizations; an endpoint has exactly one.
pub type Quantizations = Names<Quantization>;

impl Vocabulary for Quantization {
    const WHAT: &'static str = "quantization";
    const NAMES: &'static [&'static str] =
        &["unknown", "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32"];
}

/// How often and how much one credential may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialLimits {
    /// Its share of the requests, relative to the provider's other credentials; 0: only when no other can be used.
    pub weight: u32,
    /// Most requests per minute; `None`: unknown.
    pub rpm: Option<u64>,
    /// Most tokens per minute; `None`: unknown.
    pub tpm: Option<u64>,
    /// Most requests at a time; `None`: unknown.
    pub max_concurrency: Option<u64>,
}

impl CredentialLimits {
    /// What a provider without credentials is called under.
    pub const NONE: CredentialLimits = CredentialLimits { weight: 1, rpm: None, tpm: None, max_concurrency: None };
}

#[cfg(test)]
mod tests;
