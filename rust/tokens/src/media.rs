//! What images, sounds, films and documents cost.
//!
//! An image whose size is not in its first bytes (an address, a file's id) counts as one of 1,024 by 1,024 pixels.

use crate::estimate::Family;
use crate::model::{Name, family};

pub(crate) mod size;

/// Width and height that stand for an unknown size.
const UNKNOWN_SIZE: (u32, u32) = (1024, 1024);
/// Bytes per second of a compressed sound (128 kbit/s) and of a film (1 Mbit/s), and per page of a document.
const SOUND_BYTES_PER_SECOND: u64 = 16_000;
const FILM_BYTES_PER_SECOND: u64 = 125_000;
const BYTES_PER_PAGE: u64 = 50_000;

/// How a model turns media into tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Vision {
    /// OpenAI: a base, and so much for each tile of 512 by 512 after the image is made to fit 2,048 by 2,048 and its short side 768.
    Tiles { base: u64, tile: u64 },
    /// OpenAI: patches of 32 by 32, at most a budget (with `detail: high`, and else), times a factor in thousandths.
    Patches { high: u64, auto: u64, thousandths: u64 },
    /// Anthropic: patches of 28 by 28, the long side and the patches limited.
    Claude { edge: u32, patches: u64 },
    /// Gemini 1 and 2: tiles of 768 by 768, or one if the image is small.
    GeminiTiles,
    /// Gemini 3 and later: a figure per resolution.
    GeminiFixed,
    /// Not published: the same for all.
    Unknown,
}

/// By how names begin; the first row that fits is taken. Sources: OpenAI's guide "Images and vision" (tiles; patches of the models up to
/// o4-mini), and API measurements for later ones (community.openai.com/t/1377015, March 2026; huggingface.co/datasets/JOHNISKING/image-token-cost).
const OPENAI: [(&str, Vision); 18] = [
    ("gpt-4o-mini", Vision::Tiles { base: 2833, tile: 5667 }),
    ("gpt-4.1-mini", Vision::Patches { high: 1536, auto: 1536, thousandths: 1620 }),
    ("gpt-4.1-nano", Vision::Patches { high: 1536, auto: 1536, thousandths: 2460 }),
    ("o4-mini", Vision::Patches { high: 1536, auto: 1536, thousandths: 1720 }),
    ("codex-mini", Vision::Patches { high: 1536, auto: 1536, thousandths: 1720 }),
    ("o1", Vision::Tiles { base: 75, tile: 150 }),
    ("o3", Vision::Tiles { base: 75, tile: 150 }),
    ("gpt-4", Vision::Tiles { base: 85, tile: 170 }),
    ("chatgpt-4o", Vision::Tiles { base: 85, tile: 170 }),
    ("gpt-5-mini", Vision::Patches { high: 1536, auto: 1536, thousandths: 1200 }),
    ("gpt-5-nano", Vision::Patches { high: 1536, auto: 1536, thousandths: 1500 }),
    ("gpt-5-", Vision::Tiles { base: 70, tile: 140 }),
    ("gpt-5.1", Vision::Tiles { base: 70, tile: 140 }),
    ("gpt-5.2", Vision::Patches { high: 1536, auto: 1536, thousandths: 1200 }),
    ("gpt-5.3", Vision::Patches { high: 1536, auto: 1536, thousandths: 1200 }),
    ("gpt-5.4-", Vision::Patches { high: 1536, auto: 1536, thousandths: 1200 }),
    ("gpt-5.", Vision::Patches { high: 2500, auto: 10_000, thousandths: 1200 }),
    ("gpt-5", Vision::Tiles { base: 70, tile: 140 }),
];

impl Vision {
    /// That of a model.
    pub(crate) fn of(model: &str) -> Vision {
        let name = Name::parse(model);
        if let Some((_, vision)) = OPENAI.iter().find(|(listed, _)| name.after(listed).is_some()) {
            return *vision;
        }
        match family(model) {
            Family::O200k | Family::Cl100k => Vision::Patches { high: 2500, auto: 10_000, thousandths: 1200 },
            // platform.claude.com, "Images and vision".
            Family::Claude => Vision::Claude { edge: 1568, patches: 1568 },
            Family::ClaudeFine => Vision::Claude { edge: 2576, patches: 4784 },
            // ai.google.dev, "Understand and count tokens" and "Media resolution".
            Family::Gemini if ["gemini-1", "gemini-2"].iter().any(|old| name.after(old).is_some()) => Vision::GeminiTiles,
            Family::Gemini => Vision::GeminiFixed,
            _ => Vision::Unknown,
        }
    }

    /// Tokens of an image: its size in pixels if known, and what the request says of its detail or resolution.
    pub(crate) fn image(self, size: Option<(u32, u32)>, detail: &str) -> u64 {
        let (width, height) = size.unwrap_or(UNKNOWN_SIZE);
        match self {
            Vision::Tiles { base, .. } if detail == "low" => base,
            Vision::Tiles { base, tile } => base + tile * tiles(width, height),
            Vision::Patches { high, auto, thousandths } => {
                (patches(width, height, if detail == "high" { high } else { auto }) * thousandths).div_ceil(1000)
            }
            Vision::Claude { edge, patches } => claude_patches(width, height, edge, patches),
            Vision::GeminiTiles if detail.ends_with("LOW") => 64,
            Vision::GeminiTiles if width <= 384 && height <= 384 => 258,
            Vision::GeminiTiles => 258 * u64::from(width.div_ceil(768)) * u64::from(height.div_ceil(768)),
            Vision::GeminiFixed if detail.ends_with("ULTRA_HIGH") => 2240,
            Vision::GeminiFixed if detail.ends_with("MEDIUM") => 560,
            Vision::GeminiFixed if detail.ends_with("LOW") => 280,
            Vision::GeminiFixed => 1120,
            Vision::Unknown => 1024,
        }
    }

    /// Tokens of a sound of so many bytes: 10 a second at OpenAI, 32 at Google, whose figure stands for the others.
    pub(crate) fn sound(self, bytes: u64) -> u64 {
        let per_second = if matches!(self, Vision::Tiles { .. } | Vision::Patches { .. }) { 10 } else { 32 };
        bytes.div_ceil(SOUND_BYTES_PER_SECOND) * per_second
    }

    /// Tokens of a film of so many bytes, at one frame a second and with its sound.
    pub(crate) fn film(self, bytes: u64) -> u64 {
        bytes.div_ceil(FILM_BYTES_PER_SECOND) * if self == Vision::GeminiFixed { 70 + 32 } else { 263 }
    }

    /// Tokens of a PDF of so many bytes: a page's picture at Google, its picture and text elsewhere (Anthropic: 1,500 to 3,000 a page).
    pub(crate) fn document(self, bytes: u64) -> u64 {
        bytes.div_ceil(BYTES_PER_PAGE)
            * match self {
                Vision::GeminiTiles => 258,
                Vision::GeminiFixed => 560,
                _ => 3000,
            }
    }
}

fn tiles(width: u32, height: u32) -> u64 {
    let (width, height) = (f64::from(width), f64::from(height));
    let fitted = (2048.0 / width.max(height)).min(1.0);
    let scale = fitted * (768.0 / (width.min(height) * fitted)).min(1.0);
    ((width * scale / 512.0).ceil() * (height * scale / 512.0).ceil()) as u64
}

fn patches(width: u32, height: u32, budget: u64) -> u64 {
    let covering = |width: f64, height: f64| (width / 32.0).ceil() as u64 * (height / 32.0).ceil() as u64;
    let (width, height) = (f64::from(width), f64::from(height));
    let all = covering(width, height);
    if all <= budget {
        return all;
    }
    // The guide's two steps: to the area of the budget, then down to whole patches on the side that needs it.
    let scale = (1024.0 * budget as f64 / (width * height)).sqrt();
    let whole = |side: f64| (side * scale / 32.0).floor().max(1.0) / (side * scale / 32.0);
    let scale = scale * whole(width).min(whole(height));
    covering(width * scale, height * scale).min(budget)
}

fn claude_patches(width: u32, height: u32, edge: u32, most: u64) -> u64 {
    let (width, height) = (f64::from(width), f64::from(height));
    let mut scale = (f64::from(edge) / width.max(height)).min((784.0 * most as f64 / (width * height)).sqrt()).min(1.0);
    loop {
        let covering = (width * scale / 28.0).ceil() as u64 * (height * scale / 28.0).ceil() as u64;
        if covering <= most {
            return covering;
        }
        // One step is a pixel or two.
        scale *= 0.999;
    }
}

#[cfg(test)]
mod tests {
    use super::Vision;

    fn check(model: &str, size: (u32, u32), detail: &str, tokens: u64) {
        assert_eq!(Vision::of(model).image(Some(size), detail), tokens, "{model} {size:?} {detail}");
    }

    #[test]
    fn images_cost_what_the_providers_examples_say() {
        // OpenAI's guide.
        check("gpt-4o", (1024, 1024), "high", 765);
        check("gpt-4o", (2048, 4096), "high", 1105);
        check("gpt-4o", (4096, 8192), "low", 85);
        check("gpt-4o", (512, 512), "auto", 255);
        check("gpt-4o-mini", (128, 64), "high", 8500);
        check("o1", (128, 64), "high", 225);
        check("openai/gpt-4.1-mini", (1024, 1024), "auto", 1659);
        check("gpt-4.1-nano", (1800, 2400), "auto", (1452 * 2460_u64).div_ceil(1000));
        // Measured at the API.
        check("gpt-5.4-mini", (768, 576), "high", 519);
        check("gpt-5.5", (1920, 1080), "auto", 2448);
        check("gpt-6-astra", (256, 256), "auto", 77);
        check("gpt-6-astra", (1280, 720), "high", 1104);
        // Anthropic's guide and measurements.
        check("claude-haiku-4.5", (1024, 1024), "", 1369);
        check("claude-haiku-4.5", (1280, 720), "", 1196);
        check("claude-haiku-4.5", (1920, 1080), "", 1560);
        check("claude-opus-5.5", (1920, 1080), "", 2691);
        // Google's guide.
        check("gemini-2.5-flash", (384, 384), "", 258);
        check("gemini-2.5-flash", (960, 540), "", 516);
        check("gemini-3.1-pro", (4000, 3000), "MEDIA_RESOLUTION_HIGH", 1120);
        check("gemini-3.1-pro", (40, 30), "MEDIA_RESOLUTION_LOW", 280);
        check("acme/fast", (4000, 3000), "", 1024);
    }

    #[test]
    fn an_unknown_size_has_a_figure() {
        for (model, tokens) in [("gpt-4o", 765), ("gpt-6-sol", 1229), ("claude-opus-5.5", 1369), ("gemini-2.5-pro", 1032)] {
            assert_eq!(Vision::of(model).image(None, ""), tokens, "{model}");
        }
    }

    #[test]
    fn no_size_is_too_odd() {
        for model in ["gpt-4o", "gpt-5.5", "claude-opus-4.5", "gemini-2.5-pro"] {
            for size in [(1, 1), (1, u32::MAX), (u32::MAX, u32::MAX), (u32::MAX, 3)] {
                assert!(Vision::of(model).image(Some(size), "high") >= 1, "{model} {size:?}");
            }
        }
    }
}
