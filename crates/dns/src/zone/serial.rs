//! Serial numbers of zones: 32 bits that go round (RFC 1982).

/// True when `left` comes after `right`. Two numbers that are exactly half the round apart are in no order: neither
/// comes after the other.
pub fn is_newer(left: u32, right: u32) -> bool {
    left != right && left.wrapping_sub(right) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round() {
        assert!(is_newer(2, 1) && !is_newer(1, 2) && !is_newer(1, 1));
        assert!(is_newer(0, u32::MAX) && !is_newer(u32::MAX, 0));
        assert!(is_newer(0x7fff_ffff, 0) && !is_newer(0x8000_0000, 0) && !is_newer(0, 0x8000_0000));
    }
}
