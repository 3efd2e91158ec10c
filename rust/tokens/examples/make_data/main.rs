//! Makes the files of `data/` anew: `cargo run -p fairlead-tokens --example make_data -- FOLDER`.
//!
//! FOLDER holds `o200k_base.tiktoken` and `cl100k_base.tiktoken` as OpenAI publishes them: a line per token, its bytes as base64 and its rank.

mod classes;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args().nth(1).ok_or("name the folder with the .tiktoken files")?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for name in ["o200k_base", "cl100k_base"] {
        let ranks = std::fs::read_to_string(Path::new(&source).join(format!("{name}.tiktoken")))?;
        std::fs::write(data.join(format!("{name}.vocabulary")), vocabulary(&ranks)?)?;
    }
    std::fs::write(data.join("character.classes"), classes::table()?)?;
    Ok(())
}

/// The number of tokens (u32, little endian), the length of each (u8), then their bytes, in the order of their ranks.
fn vocabulary(ranks: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut tokens = Vec::new();
    for (number, line) in ranks.lines().enumerate() {
        let (token, rank) = line.split_once(' ').ok_or("a line without a rank")?;
        if rank.parse() != Ok(number) {
            return Err(format!("rank {rank} in line {number}").into());
        }
        tokens.push(base64(token)?);
    }
    let mut out = u32::try_from(tokens.len())?.to_le_bytes().to_vec();
    for token in &tokens {
        out.push(u8::try_from(token.len())?);
    }
    out.extend(tokens.into_iter().flatten());
    Ok(out)
}

fn base64(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for digit in text.trim_end_matches('=').chars() {
        bits = bits << 6 | u32::try_from(DIGITS.find(digit).ok_or("no base64")?)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Ok(out)
}
