//! A request for a generation, in no dialect.

use crate::block::{Block, CacheMark, Origin};
use crate::dialect::Dialect;
use crate::param::Param;
use crate::text::{Member, Raw, Text};

/// A request for a generation. Borrows from the body it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The dialect it was read from: [`rest`](Request::rest), opaque blocks and bare seals mean something there only.
    pub source: Dialect,
    /// The model as the caller names it. Empty where the dialect names it in the path.
    pub model: Text<'a>,
    /// Whether the reply shall be streamed. False where the dialect says so in the path.
    pub stream: bool,
    /// Instructions and messages in order. Leading instructions are the system prompt, whichever member they stood in.
    pub turns: Vec<Turn<'a>>,
    /// The tools on offer, in order.
    pub tools: Vec<Tool<'a>>,
    /// Which tools may or must be called.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether several calls may come at once.
    pub parallel_tool_calls: Option<bool>,
    /// The most tokens of a reply, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// How tokens are chosen.
    pub sampling: Sampling<'a>,
    /// How much is thought, and what of it is shown.
    pub reasoning: Reasoning,
    /// What the reply shall look like.
    pub output: Output<'a>,
    /// What is asked of prompt caches.
    pub cache: Cache<'a>,
    /// What is said about the call rather than to the model.
    pub labels: Labels<'a>,
    /// Top-level members that only [`source`](Request::source) knows.
    pub rest: Vec<Member<'a>>,
    /// Parameters that stood under another name than the usual one of their dialect, with that name.
    pub spelt: Vec<(Param, &'static str)>,
}

impl<'a> Request<'a> {
    /// An empty request read from `source`.
    pub fn new(source: Dialect) -> Request<'a> {
        Request {
            source,
            model: Text::EMPTY,
            stream: false,
            turns: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            max_output_tokens: None,
            sampling: Sampling::default(),
            reasoning: Reasoning::default(),
            output: Output::default(),
            cache: Cache::default(),
            labels: Labels::default(),
            rest: Vec::new(),
            spelt: Vec::new(),
        }
    }

    /// The JSON path of a parameter as its caller wrote it.
    pub fn path(&self, param: Param) -> &'static str {
        let spelt = self.spelt.iter().find(|(other, _)| *other == param);
        spelt.map_or(param.path(self.source), |(_, name)| name)
    }

    /// How many leading turns are instructions: what dialects with a place of its own for the system prompt put there.
    pub fn leading_instructions(&self) -> usize {
        self.turns.iter().take_while(|turn| turn.role.is_instruction()).count()
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order. Answers to tool calls are [`Kind::ToolResult`](crate::block::Kind::ToolResult) in a user's turn.
    pub blocks: Vec<Block<'a>>,
    /// A name for the speaker.
    pub name: Option<Text<'a>>,
    /// Where it stood.
    pub origin: Origin,
    /// Members that only the dialect it was read from knows.
    pub rest: Vec<Member<'a>>,
}

impl<'a> Turn<'a> {
    /// A turn without blocks.
    pub const fn new(role: Role, origin: Origin) -> Turn<'a> {
        Turn { role, blocks: Vec::new(), name: None, origin, rest: Vec::new() }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// An instruction of the operator; OpenAI's older word, everybody else's only one.
    System,
    /// An instruction of the operator in OpenAI's newer word.
    Developer,
    /// The user, and the tools that ran for the model.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Whether it is an instruction.
    pub const fn is_instruction(self) -> bool {
        matches!(self, Role::System | Role::Developer)
    }
}

/// A tool on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool<'a> {
    /// Its name. Empty for some hosted tools.
    pub name: Text<'a>,
    /// What it is for.
    pub description: Option<Text<'a>>,
    /// What it takes and who runs it.
    pub kind: ToolKind<'a>,
    /// Whether arguments must fit the schema exactly.
    pub strict: Option<bool>,
    /// The provider is asked to cache the prompt up to here.
    pub cache: Option<CacheMark>,
    /// Where it stood.
    pub origin: Origin,
    /// Members that only the dialect it was read from knows.
    pub rest: Vec<Member<'a>>,
}

/// What a tool takes and who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolKind<'a> {
    /// A function of the caller: a JSON Schema of its arguments. Absent: it takes none.
    Function {
        /// The schema.
        parameters: Option<Raw<'a>>,
    },
    /// A tool of the caller that takes free text, perhaps bound by a grammar.
    Custom {
        /// OpenAI's `format`: `text`, or `grammar` with syntax and definition.
        format: Option<Raw<'a>>,
    },
    /// A web search that the provider runs; every dialect has one, with options of its own in `raw`.
    WebSearch {
        /// The tool as written.
        raw: Raw<'a>,
    },
    /// Another tool that the provider runs or defines.
    Hosted {
        /// Its `type` word or key.
        word: Text<'a>,
        /// The tool as written.
        raw: Raw<'a>,
    },
}

/// Which tools may or must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// The model decides.
    Auto,
    /// None may be called.
    None,
    /// At least one must be called.
    Required,
    /// This one must be called.
    Named(Text<'a>),
    /// Only these may be called.
    Allowed {
        /// Whether one of them must be.
        required: bool,
        /// Their names.
        names: Vec<Text<'a>>,
    },
    /// Something that only the dialect it was read from knows.
    Other(Raw<'a>),
}

/// How tokens are chosen. Numbers as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampling<'a> {
    /// `temperature`.
    pub temperature: Option<Raw<'a>>,
    /// `top_p`.
    pub top_p: Option<Raw<'a>>,
    /// `top_k`.
    pub top_k: Option<Raw<'a>>,
    /// `min_p`, of open models' servers.
    pub min_p: Option<Raw<'a>>,
    /// `top_a`, of open models' servers.
    pub top_a: Option<Raw<'a>>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<Raw<'a>>,
    /// `presence_penalty`.
    pub presence_penalty: Option<Raw<'a>>,
    /// `repetition_penalty`, of open models' servers.
    pub repetition_penalty: Option<Raw<'a>>,
    /// `seed`.
    pub seed: Option<Raw<'a>>,
    /// Texts at which the model stops.
    pub stop: Vec<Text<'a>>,
    /// How many replies.
    pub choices: Option<u64>,
    /// Whether probabilities are wanted.
    pub logprobs: Option<bool>,
    /// How many alternatives with their probabilities.
    pub top_logprobs: Option<u64>,
    /// Token id → bias, as OpenAI writes it.
    pub logit_bias: Option<Raw<'a>>,
    /// Text that the reply will mostly repeat, as OpenAI writes it.
    pub prediction: Option<Raw<'a>>,
}

/// How much is thought, and what of it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reasoning {
    /// How hard.
    pub effort: Option<Effort>,
    /// At most so many tokens.
    pub budget_tokens: Option<u64>,
    /// On or off, said apart from how hard (`thinking.type`, `reasoning.enabled`). `Some(true)` with neither of the above: the model decides how much.
    pub enabled: Option<bool>,
    /// What is shown.
    pub show: Option<Show>,
    /// Whether the seals of thoughts are asked for (Responses' `include`). Other dialects always send them.
    pub seals: Option<bool>,
}

impl Reasoning {
    /// The parameter that says whether to think.
    pub const fn said_whether(&self) -> Param {
        match (self.enabled, self.budget_tokens) {
            (Some(_), _) => Param::ReasoningEnabled,
            (None, Some(_)) => Param::ReasoningBudget,
            (None, None) => Param::Effort,
        }
    }

    /// The parameter that says how much to think.
    pub const fn said_how_much(&self) -> Param {
        match (self.enabled, self.effort, self.budget_tokens) {
            (Some(false), ..) | (_, None, None) => Param::ReasoningEnabled,
            (_, Some(_), _) => Param::Effort,
            (_, None, Some(_)) => Param::ReasoningBudget,
        }
    }
}

/// How hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// Not at all.
    None,
    /// The least.
    Minimal,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// Much.
    High,
    /// Very much.
    Xhigh,
    /// As much as can be.
    Max,
}

impl Effort {
    /// Every step, least first.
    pub const ALL: [Effort; 7] = [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];

    /// As OpenAI and OpenRouter write it.
    pub const fn word(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Xhigh => "xhigh",
            Effort::Max => "max",
        }
    }

    /// The step that is written so.
    pub fn from_word(word: &[u8]) -> Option<Effort> {
        Effort::ALL.into_iter().find(|effort| effort.word().as_bytes() == word)
    }

    /// The nearest step among `offered` (least first); of two equally near ones the lesser. `None` when nothing is offered.
    pub fn nearest(self, offered: &[Effort]) -> Option<Effort> {
        offered.iter().copied().min_by_key(|effort| (*effort as u8).abs_diff(self as u8))
    }

    /// The share of the output limit that becomes a budget of thinking tokens, in thousandths (OpenRouter's documented ratios).
    pub const fn budget_per_mille(self) -> u64 {
        match self {
            Effort::None => 0,
            Effort::Minimal => 100,
            Effort::Low => 200,
            Effort::Medium => 500,
            Effort::High => 800,
            Effort::Xhigh | Effort::Max => 950,
        }
    }
}

/// What is shown of the thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Show {
    /// As much as the provider shows.
    Full,
    /// A summary.
    Summary,
    /// Nothing readable; seals still travel.
    Nothing,
}

/// What the reply shall look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output<'a> {
    /// The form of the text.
    pub format: Option<Format<'a>>,
    /// `low`, `medium`, `high`.
    pub verbosity: Option<Text<'a>>,
    /// What kinds of output, as written (OpenAI's lower-case list of words, Gemini's upper-case one).
    pub modalities: Option<Raw<'a>>,
    /// Voice and format of spoken output, as written.
    pub audio: Option<Raw<'a>>,
}

/// The form of the text of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format<'a> {
    /// Free text, said explicitly.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// A name for it; OpenAI demands one.
        name: Option<Text<'a>>,
        /// What it is for.
        description: Option<Text<'a>>,
        /// The JSON Schema.
        schema: Raw<'a>,
        /// Whether it must fit exactly.
        strict: Option<bool>,
    },
    /// Something that only the dialect it was read from knows.
    Other(Raw<'a>),
}

/// What is asked of prompt caches beside the marks on blocks and tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache<'a> {
    /// Calls with the same key should meet the same cache (`prompt_cache_key`).
    pub key: Option<Text<'a>>,
    /// How long, as OpenAI writes it (`prompt_cache_retention`).
    pub retention: Option<Text<'a>>,
    /// Mark the last block that can be marked (Anthropic's top-level `cache_control`).
    pub automatic: Option<CacheMark>,
}

/// What is said about the call rather than to the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    /// The end user (`user`, `safety_identifier`, `metadata.user_id`).
    pub user: Option<Text<'a>>,
    /// Labels of the caller, as written: an object of strings.
    pub metadata: Option<Raw<'a>>,
    /// How fast and how dear, as written.
    pub service_tier: Option<Text<'a>>,
    /// Whether the provider shall keep the reply.
    pub store: Option<bool>,
    /// Whether the client wants the usage chunk of a chat stream.
    pub include_usage: Option<bool>,
}
