use super::*;

const REGION_PAGES: u32 = (SSD_REGION_BYTES / PAGE_BYTES) as u32;

fn entry(key: u64, pages: u16) -> Entry {
    Entry { key, crc: 9, pages, hits: 0 }
}

fn region() -> Region {
    let mut region = Region::new(3, Buf::map(SSD_REGION_BYTES).unwrap());
    region.push(entry(5, 1), &[1; PAGE_BYTES]);
    region.push(entry(6, 2), &[2; 2 * PAGE_BYTES]);
    region
}

#[test]
fn what_a_region_holds_is_read_back() {
    let mut region = region();
    assert_eq!(region.room(), REGION_PAGES - 4);
    region.seal(42);
    let page = region.buf.unverified().part(..PAGE_BYTES);
    assert_eq!(decode(3, REGION_PAGES, page), Some((42, vec![entry(5, 1), entry(6, 2)])));
    assert_eq!(decode(4, REGION_PAGES, page), None, "it is of another region");
    assert_eq!(region.buf.bytes()[PAGE_BYTES], 1);
    assert_eq!(region.buf.bytes()[3 * PAGE_BYTES], 2);
}

#[test]
fn a_full_region_is_read_back() {
    let mut region = Region::new(0, Buf::map(SSD_REGION_BYTES).unwrap());
    let mut key = 0;
    while region.room() > 0 {
        key += 1;
        region.push(Entry { key, crc: 1, pages: 1, hits: 0 }, &[0; PAGE_BYTES]);
    }
    region.seal(1);
    let (_, entries) = decode(0, REGION_PAGES, region.buf.unverified()).unwrap();
    assert_eq!(entries.len(), REGION_PAGES as usize - 1);
}

#[test]
fn every_flipped_bit_of_the_page_in_front_is_noticed() {
    let mut region = region();
    region.seal(1);
    let whole = region.buf.bytes()[..PAGE_BYTES].to_vec();
    for bit in (0..PAGE_BYTES * 8).step_by(7) {
        let mut page = whole.clone();
        page[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(3, REGION_PAGES, (&page).into()), None, "bit {bit}");
    }
    assert_eq!(decode(3, REGION_PAGES, (&whole[..100]).into()), None);
}

#[test]
fn kept_extents_move_to_the_front() {
    let region = region();
    let bytes = region.buf.bytes().to_vec();
    let mut kept = Region::new(3, region.buf);
    kept.buf.bytes_mut().copy_from_slice(&bytes);
    kept.keep(Entry { key: 6, crc: 9, pages: 2, hits: 0 }, 2);
    assert_eq!(kept.room(), REGION_PAGES - 3);
    assert_eq!(kept.buf.bytes()[PAGE_BYTES..3 * PAGE_BYTES], [2; 2 * PAGE_BYTES]);
}
