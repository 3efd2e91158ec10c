//! Opaque reasoning: what the dialects call `signature`, `data`, `encrypted_content` or `thoughtSignature`. A seal says where it was
//! made (dialect, account, model, prefix) and over which text, under a code that only this simulator can compute. A caller who
//! alters one, or shows it to somebody else than its maker, is refused as by the real providers.

use crate::base64;
use crate::digest::{Fingerprint, fingerprint};
use crate::ledger::Dialect;
use ring::hmac;

const SEALED_BYTES: usize = 8 * 5 + 1;
const CODE_BYTES: usize = 16;
/// Filled with noise, so that seals are as long as real short ones.
const NOISE_BYTES: usize = 48;

/// Makes and checks the seals of one simulator.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: hmac::Key,
}

/// Where a seal is made or shown. The text is that of the block it belongs to, empty where it covers none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub(crate) dialect: Dialect,
    pub(crate) account: Fingerprint,
    pub(crate) model: Fingerprint,
    /// Everything before the turn, for models that bind it; 0 for others.
    pub(crate) prefix: Fingerprint,
}

/// Why a seal is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is none of this simulator's, or not as it was, or its text is not.
    Altered,
    /// From another dialect, account or model.
    Foreign(&'static str),
    /// What stands before it is not what stood there.
    Prefix,
}

impl Sealer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()) }
    }

    /// A seal over `text`; `nonce` tells apart those that are alike otherwise.
    pub(crate) fn seal(&self, from: Provenance, text: &str, nonce: u64) -> String {
        let mut bytes = magic(from.dialect).to_vec();
        let start = bytes.len();
        bytes.push(from.dialect as u8);
        for part in [from.account, from.model, from.prefix, fingerprint(text), nonce] {
            bytes.extend_from_slice(&part.to_be_bytes());
        }
        let noise = hmac::sign(&self.key, bytes.get(start..).unwrap_or_default());
        bytes.extend(noise.as_ref().iter().cycle().take(NOISE_BYTES).enumerate().map(|(at, byte)| byte.wrapping_mul(at as u8 | 1)));
        let code = hmac::sign(&self.key, &bytes);
        bytes.extend(code.as_ref().iter().take(CODE_BYTES));
        match from.dialect {
            Dialect::OpenaiResponses => base64::encode_for_urls(&bytes),
            _ => base64::encode(&bytes),
        }
    }

    /// Whether `seal` was made at `here` over `text` (`None`: whatever its text was).
    pub(crate) fn check(&self, here: Provenance, seal: &str, text: Option<&str>) -> Result<(), Broken> {
        let bytes = base64::decode(seal).ok_or(Broken::Altered)?;
        let (signed, code) = bytes.split_last_chunk::<CODE_BYTES>().ok_or(Broken::Altered)?;
        let expected = hmac::sign(&self.key, signed);
        if expected.as_ref().get(..CODE_BYTES) != Some(code.as_slice()) {
            return Err(Broken::Altered);
        }
        let sealed = signed.get(signed.len().saturating_sub(SEALED_BYTES + NOISE_BYTES)..).ok_or(Broken::Altered)?;
        let (&dialect, numbers) = sealed.split_first().ok_or(Broken::Altered)?;
        let part = |index: usize| {
            let bytes = numbers.get(8 * index..8 * index + 8).unwrap_or_default();
            bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        if dialect != here.dialect as u8 {
            return Err(Broken::Foreign("API"));
        }
        if part(0) != here.account {
            return Err(Broken::Foreign("account"));
        }
        if part(1) != here.model {
            return Err(Broken::Foreign("model"));
        }
        if text.is_some_and(|text| fingerprint(text) != part(3)) {
            return Err(Broken::Altered);
        }
        if part(2) != here.prefix { Err(Broken::Prefix) } else { Ok(()) }
    }
}

/// How the real ones begin, so that nobody takes one for another at a glance.
fn magic(dialect: Dialect) -> &'static [u8] {
    match dialect {
        // `gAAAAA`
        Dialect::OpenaiResponses => &[0x80, 0, 0, 0, 0],
        // `CiQB`
        Dialect::GeminiGenerate => &[0x0a, 0x24, 0x01],
        // `EqQB`
        _ => &[0x12, 0xa4, 0x01],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Provenance = Provenance { dialect: Dialect::AnthropicMessages, account: 1, model: 2, prefix: 3 };

    #[test]
    fn a_seal_is_good_where_it_was_made() {
        let sealer = Sealer::new(7);
        let seal = sealer.seal(HERE, "thought", 9);
        assert!(seal.starts_with("EqQB") && seal.len() > 100, "{seal}");
        let check = |here: Provenance, text: Option<&str>, expected: Result<(), Broken>| {
            assert_eq!(sealer.check(here, &seal, text), expected, "{here:?} {text:?}");
        };
        check(HERE, Some("thought"), Ok(()));
        check(HERE, None, Ok(()));
        check(HERE, Some("thoughts"), Err(Broken::Altered));
        check(Provenance { dialect: Dialect::OpenaiChat, ..HERE }, None, Err(Broken::Foreign("API")));
        check(Provenance { account: 2, ..HERE }, None, Err(Broken::Foreign("account")));
        check(Provenance { model: 1, ..HERE }, None, Err(Broken::Foreign("model")));
        check(Provenance { prefix: 4, ..HERE }, None, Err(Broken::Prefix));
        assert_eq!(Sealer::new(8).check(HERE, &seal, None), Err(Broken::Altered));
        let other = sealer.seal(Provenance { dialect: Dialect::OpenaiResponses, ..HERE }, "", 1);
        assert!(other.starts_with("gAAAAA"), "{other}");
    }

    proptest! {
        #[test]
        fn any_change_breaks_it(position in 0_usize..150, replacement in "[A-Za-z0-9+/]") {
            let sealer = Sealer::new(7);
            let seal = sealer.seal(HERE, "thought", 9);
            let position = position % (seal.len() - 2);
            let mut changed = seal.clone();
            changed.replace_range(position..=position, &replacement);
            // The last letter before the padding has bits that mean nothing.
            prop_assume!(base64::decode(&changed) != base64::decode(&seal));
            prop_assert_eq!(sealer.check(HERE, &changed, None), Err(Broken::Altered));
        }

        #[test]
        fn any_text_is_refused(text: String) {
            prop_assert!(Sealer::new(7).check(HERE, &text, None).is_err());
        }
    }
}
