//! Sealed tokens: a provider's opaque state on its way through a client of another dialect.
//!
//! ```text
//! token   = PREFIX base64(nonce[12] ciphertext tag[16])          standard alphabet, padded: some clients check that it is base64
//! nonce   = HMAC-SHA-256(nonce key, scope plain)[..12]           no randomness: the same state gives the same token
//! cipher  = ChaCha20-Poly1305(token key, nonce, aad = PREFIX scope, plain)
//! plain   = version dialect maker's provider, account, model; slot; the provider's bytes
//! keys    = HKDF-SHA-256(server secret), labelled
//! ```
//!
//! A token of one scope means nothing in another: a client that finds a stranger's token has nothing in its hands.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use fairlead_ir::block::{Maker, ThoughtShape};
use fairlead_ir::{Dialect, Text};
use memchr::memchr2;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};

use super::UnusableSecret;
use super::slot::{Place, Shape, Slot};
use crate::json::TOKEN_START as PREFIX;
use crate::text;

/// The least bytes of a server secret.
pub(super) const LEAST_SECRET_BYTES: usize = 32;

const VERSION: u8 = 1;

/// Takes tokens that lost their padding on the way; ours have it.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What a seal turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A provider's own.
    Bare,
    /// One of our tokens.
    Token(Opened),
    /// Looks like one of our tokens, and is not, or not of this scope.
    Broken,
}

/// What a token holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) maker: Maker<'static>,
    pub(super) slot: Slot,
    pub(super) data: Text<'static>,
}

/// Makes and opens tokens.
#[derive(Debug)]
pub(super) struct Sealer {
    key: LessSafeKey,
    nonces: hmac::Key,
}

impl Sealer {
    pub(super) fn new(secret: &[u8]) -> Result<Sealer, UnusableSecret> {
        if secret.len() < LEAST_SECRET_BYTES {
            return Err(UnusableSecret);
        }
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"fairlead: seals of thoughts").extract(secret);
        let key = secret.expand(&[b"token key"], &CHACHA20_POLY1305).map_err(|_| UnusableSecret)?;
        let nonces = secret.expand(&[b"nonce key"], hmac::HMAC_SHA256).map_err(|_| UnusableSecret)?;
        Ok(Sealer { key: LessSafeKey::new(UnboundKey::from(key)), nonces: hmac::Key::from(nonces) })
    }

    /// The token for `data`, as the provider wrote it between quotes.
    pub(super) fn seal(&self, scope: u64, maker: &Maker<'_>, slot: &Slot, data: &Text<'_>) -> Text<'static> {
        let mut plain = Vec::with_capacity(data.as_bytes().len() + 128);
        plain.extend_from_slice(&[VERSION, maker.dialect.number()]);
        for name in [&maker.provider, &maker.account, &maker.model] {
            put_bytes(name.as_bytes(), &mut plain);
        }
        put_slot(slot, &mut plain);
        plain.extend_from_slice(data.as_bytes());
        let nonce = self.nonce(scope, &plain);
        let mut sealed = nonce.to_vec();
        let Ok(tag) = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(scope), &mut plain) else {
            // The cipher refuses more than 256 GiB only.
            return Text::EMPTY;
        };
        sealed.append(&mut plain);
        sealed.extend_from_slice(tag.as_ref());
        let mut token = String::with_capacity(PREFIX.len() + sealed.len().div_ceil(3) * 4);
        token.push_str(&String::from_utf8_lossy(PREFIX));
        BASE64.encode_string(&sealed, &mut token);
        Text::owned(token.into_bytes())
    }

    /// What `data` is.
    pub(super) fn open(&self, scope: u64, data: &Text<'_>) -> Found {
        if !data.as_bytes().starts_with(PREFIX) {
            return Found::Bare;
        }
        self.decipher(scope, data).map_or(Found::Broken, Found::Token)
    }

    fn decipher(&self, scope: u64, data: &Text<'_>) -> Option<Opened> {
        // Some clients escape `/` and `+` in JSON.
        let token = text::decode(data)?;
        let mut sealed = BASE64.decode(standard(token.as_bytes().get(PREFIX.len()..)?)).ok()?;
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let plain = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad(scope), sealed).ok()?;
        read(plain)
    }

    fn nonce(&self, scope: u64, plain: &[u8]) -> [u8; NONCE_LEN] {
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(&scope.to_le_bytes());
        context.update(plain);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&context.sign().as_ref()[..NONCE_LEN]);
        nonce
    }
}

/// Base64 in the alphabet of addresses, as some clients write it, in the standard one.
fn standard(token: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'-', b'_', token).is_none() {
        return Cow::Borrowed(token);
    }
    let letter = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    token.iter().map(letter).collect()
}

fn aad(scope: u64) -> Aad<[u8; 16]> {
    let mut aad = [0; 16];
    aad[..8].copy_from_slice(PREFIX);
    aad[8..].copy_from_slice(&scope.to_le_bytes());
    Aad::from(aad)
}

// --- plain text -------------------------------------------------------------------------------------------------------

const THOUGHT: u8 = 0;
const TEXT: u8 = 1;
const CALL: u8 = 2;
const OTHER: u8 = 3;

fn put_slot(slot: &Slot, out: &mut Vec<u8>) {
    put_number(slot.place.ordinal.into(), out);
    put_number(slot.place.text_units, out);
    put_number(slot.place.calls.into(), out);
    match &slot.shape {
        Shape::Thought { redacted, id, parts } => {
            out.extend_from_slice(&[THOUGHT, u8::from(*redacted), u8::from(id.is_some())]);
            if let Some(id) = id {
                put_bytes(id.as_bytes(), out);
            }
            put_number(parts.len() as u64, out);
            for (shape, units) in parts {
                out.push(u8::from(*shape == ThoughtShape::Summary));
                put_number(*units, out);
            }
        }
        Shape::Text { units } => {
            out.push(TEXT);
            put_number(*units, out);
        }
        Shape::Call { id } => {
            out.push(CALL);
            put_bytes(id.as_bytes(), out);
        }
        Shape::Other => out.push(OTHER),
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read(plain: &[u8]) -> Option<Opened> {
    let mut rest = plain;
    let (version, dialect) = (take_byte(&mut rest)?, take_byte(&mut rest)?);
    if version != VERSION {
        return None;
    }
    let maker = Maker {
        dialect: Dialect::from_number(dialect)?,
        provider: take_text(&mut rest)?,
        account: take_text(&mut rest)?,
        model: take_text(&mut rest)?,
    };
    let slot = take_slot(&mut rest)?;
    text::is_sound(rest).then(|| Opened { maker, slot, data: Text::owned(rest.to_vec()) })
}

fn take_slot(rest: &mut &[u8]) -> Option<Slot> {
    let ordinal = u32::try_from(take_number(rest)?).ok()?;
    let text_units = take_number(rest)?;
    let calls = u32::try_from(take_number(rest)?).ok()?;
    let shape = match take_byte(rest)? {
        THOUGHT => {
            let (redacted, has_id) = (take_byte(rest)? != 0, take_byte(rest)? != 0);
            let id = if has_id { Some(take_text(rest)?) } else { None };
            let count = take_number(rest)?;
            let mut parts = Vec::new();
            // Each takes two bytes at least: what is not there ends it.
            for _ in 0..count {
                let shape = if take_byte(rest)? == 0 { ThoughtShape::Full } else { ThoughtShape::Summary };
                parts.push((shape, take_number(rest)?));
            }
            Shape::Thought { redacted, id, parts }
        }
        TEXT => Shape::Text { units: take_number(rest)? },
        CALL => Shape::Call { id: take_text(rest)? },
        OTHER => Shape::Other,
        _ => return None,
    };
    Some(Slot { place: Place { ordinal, text_units, calls }, shape })
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(*byte)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_text(rest: &mut &[u8]) -> Option<Text<'static>> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    text::is_sound(bytes).then(|| Text::owned(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn sealer() -> Sealer {
        Sealer::new(&[7; 32]).unwrap()
    }

    fn maker(model: &'static str) -> Maker<'static> {
        Maker { dialect: Dialect::GeminiGenerate, provider: Text::word("google"), account: Text::word("key 1"), model: Text::word(model) }
    }

    fn slot(shape: Shape) -> Slot {
        Slot { place: Place { ordinal: 3, text_units: 70_000, calls: 1 }, shape }
    }

    fn shapes() -> Vec<Shape> {
        let parts = vec![(ThoughtShape::Full, 0), (ThoughtShape::Summary, u64::MAX)];
        vec![
            Shape::Thought { redacted: true, id: None, parts: Vec::new() },
            Shape::Thought { redacted: false, id: Some(Text::word("rs_1")), parts },
            Shape::Text { units: 128 },
            Shape::Call { id: Text::word("call_1") },
            Shape::Other,
        ]
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for shape in shapes() {
            for data in ["", "c2ln", r"a\/b\u00e9", "ü"] {
                let (slot, data) = (slot(shape.clone()), Text::word(data));
                let token = sealer().seal(9, &maker("m"), &slot, &data);
                assert_eq!(sealer().open(9, &token), Found::Token(Opened { maker: maker("m"), slot, data }));
            }
        }
    }

    #[test]
    fn tokens_are_padded_base64_that_can_be_told() {
        for length in 0..4 {
            let token = sealer().seal(9, &maker("m"), &slot(Shape::Other), &Text::owned(vec![b'x'; length]));
            let plain = std::str::from_utf8(token.as_bytes()).unwrap();
            assert_eq!(plain.len() % 4, 0);
            assert!(base64::engine::general_purpose::STANDARD.decode(plain).is_ok(), "{plain}");
            assert!(plain.as_bytes().starts_with(PREFIX));
            assert!(!token.as_bytes().windows(8).any(|window| window == b"fairlead"));
        }
    }

    #[test]
    fn clients_may_spell_a_token_differently() {
        let token = (0..200)
            .map(|number| sealer().seal(number, &maker("m"), &slot(Shape::Other), &Text::word("data")))
            .zip(0..)
            .find(|(token, _)| token.as_bytes().contains(&b'/') && token.as_bytes().contains(&b'+') && token.as_bytes().ends_with(b"="));
        let (token, scope) = token.unwrap();
        let plain = String::from_utf8(token.as_bytes().to_vec()).unwrap();
        for spelling in [
            plain.replace('/', r"\/"),
            plain.replace('+', r"\u002b").replace('=', r"\u003d"),
            plain.replace('+', "-").replace('/', "_"),
            plain.trim_end_matches('=').to_owned(),
        ] {
            assert!(matches!(sealer().open(scope, &Text::owned(spelling.clone().into_bytes())), Found::Token(_)), "{spelling}");
        }
    }

    #[test]
    fn what_was_tampered_with_is_broken() {
        let token = sealer().seal(9, &maker("m"), &slot(Shape::Other), &Text::word("data")).as_bytes().to_vec();
        // Without the padding and what is before it: the padding may be missing, and spare bits do not count.
        for at in 0..token.len() - 3 {
            let mut other = token.clone();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let expected = if at < PREFIX.len() { Found::Bare } else { Found::Broken };
            assert_eq!(sealer().open(9, &Text::escaped(&other)), expected, "byte {at}");
            assert_eq!(sealer().open(9, &Text::escaped(&token[..at])), expected, "cut at {at}");
        }
        assert_eq!(sealer().open(8, &Text::escaped(&token)), Found::Broken, "another scope");
        assert_eq!(Sealer::new(&[8; 32]).unwrap().open(9, &Text::escaped(&token)), Found::Broken, "another secret");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Sealer::new(&[7; 31]).is_err());
    }

    #[test]
    fn a_plain_text_of_another_version_is_not_read() {
        let mut plain = vec![VERSION, 0, 0, 0, 0, 0, 0, 0, OTHER];
        assert!(read(&plain).is_some());
        plain[0] = 2;
        assert!(read(&plain).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_may_be_a_token(bytes in any::<Vec<u8>>(), valid in any::<bool>()) {
            let made = if valid { BASE64.encode(&bytes).into_bytes() } else { bytes.clone() };
            let token = [&PREFIX[..], &made].concat();
            prop_assert_eq!(sealer().open(1, &Text::escaped(&token)), Found::Broken);
            // And any bytes what is inside of one.
            let _ = read(&bytes);
            let _ = read(&[&[VERSION, 1][..], &bytes].concat());
        }

        #[test]
        fn any_state_comes_back(state in any::<String>(), scope in any::<u64>(), units in any::<u64>()) {
            let data = text::escape(&state).into_owned();
            let slot = slot(Shape::Text { units });
            let token = sealer().seal(scope, &maker("m"), &slot, &data);
            let Found::Token(opened) = sealer().open(scope, &token) else { panic!("it opens") };
            prop_assert_eq!((opened.data, opened.slot), (data, slot));
        }
    }
}
