//! Frames between processes that share a secret: encrypted, authenticated, in order, each read
//! once. No I/O.
//!
//! Both sides greet with a fresh random number. Each direction has a key of its own, which HKDF
//! (SHA-256) derives from the secret and both greetings, so a connection has keys that no other
//! ever had, and whoever opens a frame knows that its sender has the secret and read this greeting.
//! Frames are sealed with AES-256-GCM under their number: one that was changed, repeated, left out
//! or sent back does not open. All of it is ring's.

use ring::aead::{AES_256_GCM, Aad, BoundKey, NONCE_LEN, Nonce, NonceSequence, UnboundKey};
use ring::aead::{OpeningKey, SealingKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

use crate::limits::{FRAME_BYTES_MAX, SECRET_BYTES_MIN};
use crate::types::error::ErrorKind;
use crate::types::{Error, Result};

/// Version of all that follows a greeting: frames, errands, reports, and what a merge does.
pub const VERSION: u8 = 1;

const MAGIC: &[u8; 4] = b"AQUC";
const RANDOM_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Bytes of a greeting.
pub const GREETING_BYTES: usize = MAGIC.len() + 1 + RANDOM_BYTES;

/// Bytes before a frame's sealed body: their number.
pub const HEAD_BYTES: usize = 4;

/// What two processes know and nobody else. It cannot be printed, and is not kept as it was given.
#[derive(Clone)]
pub struct Secret(Prk);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret that these bytes are, without the white space around them.
    ///
    /// # Errors
    /// `Invalid` if they are too few.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(Error::invalid(format!(
                "the secret of compactors has {} bytes, and {SECRET_BYTES_MIN} is the least: make \
                 one with `openssl rand -hex 32`",
                bytes.len()
            )));
        }
        Ok(Self(Salt::new(HKDF_SHA256, b"aquifer compactor").extract(bytes)))
    }
}

/// The first bytes of a side; `random` is fresh.
#[must_use]
pub fn greeting(random: [u8; RANDOM_BYTES]) -> [u8; GREETING_BYTES] {
    let mut out = [0; GREETING_BYTES];
    let (magic, rest) = out.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    rest[0] = VERSION;
    rest[1..].copy_from_slice(&random);
    out
}

/// Checks what the other side greets with, which anybody may have sent.
///
/// # Errors
/// `Corrupt` if it is no greeting; `Unsupported` for another version.
pub fn check_greeting(bytes: &[u8; GREETING_BYTES]) -> Result<()> {
    if !bytes.starts_with(MAGIC) {
        return Err(Error::corrupt(
            "what answers there is neither an engine nor a compactor: see that address and port \
             are the compactor's",
        ));
    }
    match bytes[MAGIC.len()] {
        VERSION => Ok(()),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the other side speaks version {other} and this one {VERSION}: run engine and \
                 compactor from the same release"
            ),
        )),
    }
}

/// The end of a connection that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Asks.
    Engine,
    /// Answers.
    Compactor,
}

/// What seals the frames of a side and opens those of the other, from both greetings.
#[must_use]
pub fn keys(
    secret: &Secret,
    side: Side,
    engine: &[u8; GREETING_BYTES],
    compactor: &[u8; GREETING_BYTES],
) -> (Sealer, Opener) {
    let key = |of: &[u8]| -> UnboundKey {
        let info = [of, engine, compactor];
        let derived = secret.0.expand(&info, &AES_256_GCM);
        derived.expect("HKDF gives 32 bytes").into()
    };
    let (from_engine, from_compactor) = (key(b"from engine"), key(b"from compactor"));
    let (own, other) = match side {
        Side::Engine => (from_engine, from_compactor),
        Side::Compactor => (from_compactor, from_engine),
    };
    (Sealer(SealingKey::new(own, Number(0))), Opener(OpeningKey::new(other, Number(0))))
}

/// Numbers of frames: a key never sees one twice.
struct Number(u64);

impl NonceSequence for Number {
    fn advance(&mut self) -> std::result::Result<Nonce, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.0.to_le_bytes());
        self.0 = self.0.checked_add(1).ok_or(Unspecified)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals the frames of one side.
pub struct Sealer(SealingKey<Number>);

impl Sealer {
    /// The next frame: head and sealed body.
    ///
    /// # Errors
    /// `TooLarge` beyond the limit of frames.
    pub fn seal(&mut self, body: &[u8]) -> Result<Vec<u8>> {
        let sealed_bytes = body.len() + TAG_BYTES;
        if sealed_bytes > FRAME_BYTES_MAX {
            let what = format!("a message of {} bytes exceeds the limit of frames", body.len());
            return Err(Error::new(ErrorKind::TooLarge, what));
        }
        let head = (sealed_bytes as u32).to_le_bytes();
        let mut sealed = body.to_vec();
        self.0
            .seal_in_place_append_tag(Aad::from(head), &mut sealed)
            .map_err(|_| Error::new(ErrorKind::Poisoned, "a message could not be sealed"))?;
        Ok([&head[..], &sealed].concat())
    }
}

/// Bytes of the sealed body that follows this head.
///
/// # Errors
/// `Corrupt` if no frame has so many: nothing was allocated for it.
pub fn sealed_bytes(head: [u8; HEAD_BYTES]) -> Result<usize> {
    let bytes = u32::from_le_bytes(head) as usize;
    if (TAG_BYTES..=FRAME_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    Err(Error::corrupt(format!("a frame of {bytes} bytes is none")))
}

/// A frame's body as it came: nobody vouches for it.
pub struct Sealed(pub Vec<u8>);

/// Opens the frames of the other side.
pub struct Opener(OpeningKey<Number>);

impl Opener {
    /// What the next frame says, with this body.
    ///
    /// # Errors
    /// `Corrupt` if it is not the next frame of somebody who has the secret.
    pub fn open(&mut self, Sealed(mut body): Sealed) -> Result<Vec<u8>> {
        let head = (body.len() as u32).to_le_bytes();
        let opened = self.0.open_in_place(Aad::from(head), &mut body);
        let bytes = opened.map(|opened| opened.len()).map_err(|_| {
            Error::corrupt(
                "a frame does not open: the secrets differ, or the bytes were changed on the way",
            )
        })?;
        body.truncate(bytes);
        Ok(body)
    }
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
