//! Asks the CPU for a cache line before it is needed.

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Prefetches the line of `place` into all cache levels; any address is allowed.
#[inline]
pub fn prefetch<T>(place: &T) {
    prefetch_at(std::ptr::from_ref(place).cast());
}

#[inline]
fn prefetch_at(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint; it never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Prefetches every line of `items`.
#[inline]
pub fn prefetch_all<T>(items: &[T]) {
    let start = items.as_ptr().cast::<u8>();
    for at in (0..size_of_val(items)).step_by(LINE_BYTES) {
        prefetch_at(start.wrapping_add(at));
    }
}
