//! Decimal numbers as files write them, exactly.

/// `12.34` times `10^digits`, rounded up; also `1.5e+03`. `None` if it is no number from 0 that fits.
pub(super) fn decimal(text: &[u8], digits: u32) -> Option<u64> {
    let text = text.trim_ascii();
    let mut value: u64 = 0;
    let mut at = 0;
    while at < text.len() && text[at].is_ascii_digit() {
        value = value.checked_mul(10)?.checked_add(u64::from(text[at] - b'0'))?;
        at += 1;
    }
    if at == 0 && text.first() != Some(&b'.') {
        return None;
    }
    let mut left = digits;
    let mut rest = false;
    if at < text.len() && matches!(text[at], b'.' | b',') {
        at += 1;
        while at < text.len() && text[at].is_ascii_digit() {
            match left {
                0 => rest |= text[at] != b'0',
                _ => {
                    value = value.checked_mul(10)?.checked_add(u64::from(text[at] - b'0'))?;
                    left -= 1;
                }
            }
            at += 1;
        }
    }
    if at < text.len() {
        return exponent(text, digits);
    }
    value.checked_mul(10_u64.checked_pow(left)?)?.checked_add(u64::from(rest))
}

/// Numbers with an exponent are rare, and measured with fewer digits than they have here.
fn exponent(text: &[u8], digits: u32) -> Option<u64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let scaled = (number * 10_f64.powi(i32::try_from(digits).ok()?)).ceil();
    (0.0..9e15).contains(&scaled).then_some(scaled as u64)
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimals_are_exact_and_rounded_up() {
        assert_eq!(decimal(b"12.34", 2), Some(1234));
        assert_eq!(decimal(b"12", 2), Some(1200));
        assert_eq!(decimal(b"0.001", 2), Some(1));
        assert_eq!(decimal(b"1.5e+03", 0), Some(1500));
        assert_eq!(decimal(b"99999999999999999999", 0), None);
        assert_eq!(decimal(b"-1", 0), None);
        assert_eq!(decimal(b"", 0), None);
        assert_eq!(decimal(b"NaN", 0), None);
        assert_eq!(decimal(b".", 2), Some(0));
    }
}
