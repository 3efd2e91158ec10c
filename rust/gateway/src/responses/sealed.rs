//! The bytes of a kept response.
//!
//! ```text
//! file    = head nonce[12] ciphertext tag[16]
//! head    = version[1] key[8] kept_at_ms[8]                little-endian, readable: what is swept by is no secret
//! cipher  = ChaCha20-Poly1305(file key, random nonce, aad = head name, plain)
//! plain   = length of the input[8] input reply
//! name    = HMAC-SHA-256(name key, account[8] id)[..16]
//! keys    = HKDF-SHA-256(server secret), labelled, and salted by what the folder is for: no file of one opens in another
//! ```

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};

use super::Name;

const VERSION: u8 = 1;

/// What can be read of a file without the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The key that made the response.
    pub(crate) key: u64,
    pub(crate) kept_at_ms: u64,
}

impl Head {
    pub(super) const BYTES: usize = 17;

    pub(super) fn read(bytes: &[u8]) -> Option<Head> {
        let (version, rest) = bytes.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (kept_at_ms, _) = rest.split_first_chunk()?;
        (*version == VERSION).then(|| Head { key: u64::from_le_bytes(*key), kept_at_ms: u64::from_le_bytes(*kept_at_ms) })
    }

    fn bytes(self) -> [u8; Head::BYTES] {
        let mut bytes = [VERSION; Head::BYTES];
        bytes[1..9].copy_from_slice(&self.key.to_le_bytes());
        bytes[9..].copy_from_slice(&self.kept_at_ms.to_le_bytes());
        bytes
    }
}

/// What is kept of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    /// All items of the input as an array, those of earlier turns first.
    pub(crate) input: &'a [u8],
    /// The response as the client saw it.
    pub(crate) reply: &'a [u8],
}

/// What the files of a folder are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests go on from them.
    Conversations,
    /// Content is logged.
    Content,
    /// They are given again to requests of the same name.
    Repeats,
}

impl Purpose {
    const fn salt(self) -> &'static [u8] {
        match self {
            Purpose::Conversations => b"fairlead: kept responses",
            Purpose::Content => b"fairlead: logged content",
            Purpose::Repeats => b"fairlead: named replies",
        }
    }
}

/// Seals and opens files, and names them.
pub(super) struct Sealer {
    key: LessSafeKey,
    names: hmac::Key,
    random: SystemRandom,
}

impl Sealer {
    /// `purpose` is what the folder is for.
    pub(super) fn new(secret: &[u8], purpose: Purpose) -> Result<Sealer, String> {
        let failed = |_| "no keys can be made of the server secret".to_owned();
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, purpose.salt()).extract(secret);
        let key = secret.expand(&[b"file key"], &CHACHA20_POLY1305).map_err(failed)?;
        let names = secret.expand(&[b"name key"], hmac::HMAC_SHA256).map_err(failed)?;
        Ok(Sealer { key: LessSafeKey::new(UnboundKey::from(key)), names: hmac::Key::from(names), random: SystemRandom::new() })
    }

    pub(super) fn name(&self, account: u64, id: &str) -> Name {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(&account.to_le_bytes());
        context.update(id.as_bytes());
        let mut name = Name::default();
        let length = name.len();
        name.copy_from_slice(&context.sign().as_ref()[..length]);
        name
    }

    /// `None` when the system's random source fails.
    pub(super) fn seal(&self, name: &Name, head: Head, response: &Response<'_>) -> Option<Vec<u8>> {
        let Response { input, reply } = *response;
        let head = head.bytes();
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut file = Vec::with_capacity(head.len() + nonce.len() + 8 + input.len() + reply.len() + CHACHA20_POLY1305.tag_len());
        file.extend_from_slice(&head);
        file.extend_from_slice(&nonce);
        let plain_at = file.len();
        file.extend_from_slice(&(input.len() as u64).to_le_bytes());
        file.extend_from_slice(input);
        file.extend_from_slice(reply);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, aad(&head, name), &mut file[plain_at..]).ok()?;
        file.extend_from_slice(tag.as_ref());
        Some(file)
    }

    /// `None` for a file that is damaged, of another secret or in another's place.
    pub(super) fn open<'f>(&self, name: &Name, file: &'f mut [u8]) -> Option<(Head, Response<'f>)> {
        let (head, sealed) = file.split_at_mut_checked(Head::BYTES)?;
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let plain = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad(head, name), sealed).ok()?;
        let (input_bytes, rest) = plain.split_first_chunk()?;
        let (input, reply) = rest.split_at_checked(u64::from_le_bytes(*input_bytes) as usize)?;
        Some((Head::read(head)?, Response { input, reply }))
    }
}

fn aad(head: &[u8], name: &Name) -> Aad<Vec<u8>> {
    Aad::from([head, name.as_slice()].concat())
}
