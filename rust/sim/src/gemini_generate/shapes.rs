//! What the body of a request for content may hold, as tables.

use crate::shape::{Kind, OPEN, Shape, closed};

static BLOB: Shape = closed(&[("mimeType", Kind::Text), ("data", Kind::Text), ("displayName", Kind::Text)], &[]);
static FILE: Shape = closed(&[("mimeType", Kind::Text), ("fileUri", Kind::Text), ("displayName", Kind::Text)], &[]);
static CALL: Shape = closed(
    &[
        ("id", Kind::Text),
        ("name", Kind::Text),
        ("args", Kind::Object(&OPEN)),
        ("partialArgs", Kind::List(&Kind::Any)),
        ("willContinue", Kind::Bool),
    ],
    &[],
);
static RESULT: Shape = closed(
    &[
        ("id", Kind::Text),
        ("name", Kind::Text),
        ("response", Kind::Object(&OPEN)),
        ("parts", Kind::List(&Kind::Object(&RESULT_PART))),
        ("scheduling", Kind::Text),
        ("willContinue", Kind::Bool),
    ],
    &[],
);
static RESULT_PART: Shape = closed(&[("inlineData", Kind::Object(&BLOB)), ("fileData", Kind::Object(&FILE))], &[]);
/// Of these a part has one.
pub(super) const DATA: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];
static PART: Shape = closed(
    &[
        ("text", Kind::Text),
        ("inlineData", Kind::Object(&BLOB)),
        ("fileData", Kind::Object(&FILE)),
        ("functionCall", Kind::Object(&CALL)),
        ("functionResponse", Kind::Object(&RESULT)),
        ("executableCode", Kind::Object(&OPEN)),
        ("codeExecutionResult", Kind::Object(&OPEN)),
        ("toolCall", Kind::Object(&OPEN)),
        ("toolResponse", Kind::Object(&OPEN)),
        ("thought", Kind::Bool),
        ("thoughtSignature", Kind::Text),
        ("videoMetadata", Kind::Object(&OPEN)),
        ("mediaResolution", Kind::Any),
        ("partMetadata", Kind::Object(&OPEN)),
    ],
    &[],
);
static CONTENT: Shape = closed(&[("role", Kind::Text), ("parts", Kind::List(&Kind::Object(&PART)))], &[]);
/// The part of OpenAPI's schemas that Google knows.
static SCHEMA: Shape = closed(
    &[
        ("type", Kind::Text),
        ("format", Kind::Text),
        ("title", Kind::Text),
        ("description", Kind::Text),
        ("nullable", Kind::Bool),
        ("enum", Kind::List(&Kind::Text)),
        ("items", Kind::Object(&SCHEMA)),
        ("minItems", Kind::Any),
        ("maxItems", Kind::Any),
        ("properties", Kind::Map(&Kind::Object(&SCHEMA))),
        ("propertyOrdering", Kind::List(&Kind::Text)),
        ("required", Kind::List(&Kind::Text)),
        ("minProperties", Kind::Any),
        ("maxProperties", Kind::Any),
        ("minLength", Kind::Any),
        ("maxLength", Kind::Any),
        ("pattern", Kind::Text),
        ("minimum", Kind::Number),
        ("maximum", Kind::Number),
        ("example", Kind::Any),
        ("default", Kind::Any),
        ("anyOf", Kind::List(&Kind::Object(&SCHEMA))),
    ],
    &[],
);
static DECLARATION: Shape = closed(
    &[
        ("name", Kind::Text),
        ("description", Kind::Text),
        ("parameters", Kind::Object(&SCHEMA)),
        ("parametersJsonSchema", Kind::Any),
        ("response", Kind::Object(&OPEN)),
        ("responseJsonSchema", Kind::Any),
        ("behavior", Kind::OneOf(&["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"])),
    ],
    &[],
);
static TOOL: Shape = closed(
    &[
        ("functionDeclarations", Kind::List(&Kind::Object(&DECLARATION))),
        ("googleSearch", Kind::Object(&OPEN)),
        ("googleSearchRetrieval", Kind::Object(&OPEN)),
        ("codeExecution", Kind::Object(&OPEN)),
        ("urlContext", Kind::Object(&OPEN)),
        ("fileSearch", Kind::Object(&OPEN)),
        ("computerUse", Kind::Object(&OPEN)),
        ("googleMaps", Kind::Object(&OPEN)),
        ("mcpServers", Kind::List(&Kind::Any)),
    ],
    &[],
);
static CALLING: Shape = closed(
    &[
        ("mode", Kind::OneOf(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"])),
        ("allowedFunctionNames", Kind::List(&Kind::Text)),
        ("streamFunctionCallArguments", Kind::Bool),
    ],
    &[],
);
static TOOL_CONFIG: Shape = closed(
    &[
        ("functionCallingConfig", Kind::Object(&CALLING)),
        ("retrievalConfig", Kind::Object(&OPEN)),
        ("includeServerSideToolInvocations", Kind::Bool),
    ],
    &[],
);
static THINKING: Shape = closed(
    &[
        ("includeThoughts", Kind::Bool),
        ("thinkingBudget", Kind::Integer),
        (
            "thinkingLevel",
            Kind::OneOf(&[
                "THINKING_LEVEL_UNSPECIFIED",
                "MINIMAL",
                "LOW",
                "MEDIUM",
                "HIGH",
                "XHIGH",
                "minimal",
                "low",
                "medium",
                "high",
                "xhigh",
            ]),
        ),
    ],
    &[],
);
static GENERATION: Shape = closed(
    &[
        ("temperature", Kind::Number),
        ("topP", Kind::Number),
        ("topK", Kind::Number),
        ("candidateCount", Kind::Integer),
        ("maxOutputTokens", Kind::Integer),
        ("stopSequences", Kind::List(&Kind::Text)),
        ("presencePenalty", Kind::Number),
        ("frequencyPenalty", Kind::Number),
        ("seed", Kind::Integer),
        ("responseLogprobs", Kind::Bool),
        ("logprobs", Kind::Integer),
        ("responseMimeType", Kind::Text),
        ("responseSchema", Kind::Object(&SCHEMA)),
        ("responseJsonSchema", Kind::Any),
        ("responseModalities", Kind::List(&Kind::Text)),
        ("speechConfig", Kind::Object(&OPEN)),
        ("mediaResolution", Kind::Text),
        ("thinkingConfig", Kind::Object(&THINKING)),
        ("imageConfig", Kind::Object(&OPEN)),
        ("enableEnhancedCivicAnswers", Kind::Bool),
    ],
    &[],
);
/// The whole body.
pub(super) static REQUEST: Shape = closed(
    &[
        ("model", Kind::Text),
        ("contents", Kind::List(&Kind::Object(&CONTENT))),
        ("systemInstruction", Kind::Object(&CONTENT)),
        ("tools", Kind::List(&Kind::Object(&TOOL))),
        ("toolConfig", Kind::Object(&TOOL_CONFIG)),
        ("safetySettings", Kind::List(&Kind::Object(&OPEN))),
        ("generationConfig", Kind::Object(&GENERATION)),
        ("cachedContent", Kind::Text),
        ("labels", Kind::Map(&Kind::Text)),
        ("store", Kind::Bool),
        ("serviceTier", Kind::Text),
        ("sim", Kind::Any),
    ],
    &[],
);
