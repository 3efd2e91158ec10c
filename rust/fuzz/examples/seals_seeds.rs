//! Writes conversations that went through a client into corpus/seals, with tokens that the target's keeper opens.

use std::path::Path;

use fairlead_formats::identity::Identity;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::seals::{Keeper, Limits};
use fairlead_formats::translate::{Bridge, Face, dialects};
use fairlead_ir::block::Maker;
use fairlead_ir::{Dialect, Text};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/seals");
    std::fs::create_dir_all(&folder)?;
    for (provider, reply) in replies() {
        let reply = serde_json::to_vec(&reply)?;
        for client in Dialect::ALL {
            let mut response = dialects::decode_response(provider, &reply, &Traits::NONE)?;
            let maker = Maker { dialect: provider, provider: Text::word("acme"), account: Text::word("key 1"), model: Text::word("m-1") };
            Keeper::new(&[42; 32], Limits::default())?.wrap(&mut response, &maker, 7, 0);
            let (bridge, mut shown) = (Bridge::default(), Vec::new());
            dialects::encode_response(client, &response, &Face { identity: &Identity::unnamed(), bridge: &bridge }, None, &mut shown);
            // See the target.
            let mut seed = vec![client.number(), provider.number()];
            serde_json::to_writer(&mut seed, &conversation(client, &serde_json::from_slice(&shown)?))?;
            std::fs::write(folder.join(format!("{}-{}", provider.name(), client.name())), seed)?;
        }
    }
    Ok(())
}

fn replies() -> [(Dialect, Value); 2] {
    let thinking = json!({"content": [
        {"type": "thinking", "thinking": "one", "signature": "c2lnMQ=="}, {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "text", "text": "Look."}, {"type": "thinking", "thinking": "two", "signature": "c2lnMg=="},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    ]});
    let signed = json!({"candidates": [{"content": {"parts": [
        {"text": "hm", "thought": true}, {"text": "One. ", "thoughtSignature": "dGV4dA=="}, {"text": "Two."},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "Y2FsbA=="}, {"text": "", "thoughtSignature": "ZW1wdHk="},
    ]}}]});
    [(Dialect::AnthropicMessages, thinking), (Dialect::GeminiGenerate, signed)]
}

fn conversation(client: Dialect, reply: &Value) -> Value {
    match client {
        Dialect::OpenaiChat => json!({"messages": [reply["choices"][0]["message"]]}),
        Dialect::OpenaiResponses => json!({"input": reply["output"]}),
        Dialect::AnthropicMessages => json!({"messages": [{"role": "assistant", "content": reply["content"]}]}),
        Dialect::GeminiGenerate => json!({"contents": [reply["candidates"][0]["content"]]}),
        Dialect::BedrockConverse => json!({"messages": [reply["output"]["message"]]}),
    }
}
