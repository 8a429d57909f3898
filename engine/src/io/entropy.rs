//! The only source of randomness of the engine. Floors above take seeds and nonces as arguments.

use crate::io::sys;
use crate::types::Result;

/// A nonce for the name of an incarnation. Any thread.
///
/// # Errors
/// The kernel's refusal, as under a seccomp profile that forbids `getrandom`.
pub fn nonce() -> Result<u128> {
    let mut bytes = [0; 16];
    sys::random_bytes(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// A seed, or the random part of an object's name. Any thread.
///
/// # Errors
/// As [`nonce`].
pub fn seed() -> Result<u64> {
    let mut bytes = [0; 8];
    sys::random_bytes(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
