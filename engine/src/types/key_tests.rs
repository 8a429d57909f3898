use crate::types::key::head_u64;

#[test]
fn a_head_is_the_first_eight_bytes_and_zeros() {
    let bytes = [0x81, 0x42, 0xc3, 0x24, 0xa5, 0x66, 0xe7, 0x18, 0x99];
    for len in 0..=bytes.len() {
        let mut padded = [0; 8];
        padded.iter_mut().zip(&bytes[..len]).for_each(|(to, from)| *to = *from);
        assert_eq!(head_u64(&bytes[..len]), u64::from_be_bytes(padded), "{len} bytes");
    }
}
