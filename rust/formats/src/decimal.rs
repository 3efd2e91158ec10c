//! Reads JSON numbers of providers exactly from their text: amounts of money and counts.

use fairlead_ir::NanoUsd;

use crate::json::walk::{self, Member, as_u64};

/// An amount of dollars as nano-dollars: exact, more than nine decimals round up. Exponents are understood (`1.2e-05`).
/// `None` for a negative amount, one beyond the range, or anything that is no number.
pub(crate) fn nano_usd(number: &[u8]) -> Option<NanoUsd> {
    i64::try_from(scaled_up(number, 9)?).ok().map(NanoUsd)
}

/// A count. Some hosts write `12.0`; what does not fit becomes the largest count, which no price table believes.
/// `None` for a negative number or anything that is no number.
pub(crate) fn count(number: &[u8]) -> Option<u64> {
    // What nearly everybody writes.
    if let Some(count) = as_u64(number) {
        return Some(count);
    }
    scaled_up(number, 0).map(|count| u64::try_from(count).unwrap_or(u64::MAX))
}

/// The count called `name` in a member whose value is an object.
pub(crate) fn count_in(object: &Member<'_>, name: &str) -> Option<u64> {
    count(walk::member(object.value, name).ok()??.value)
}

/// The number times 10^`places`, rounded up; saturates.
fn scaled_up(number: &[u8], places: i64) -> Option<u128> {
    let (negative, unsigned) = match number {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, number),
    };
    let mantissa = Mantissa::read(unsigned)?;
    if negative {
        return (mantissa.value == 0 && !mantissa.remainder).then_some(0);
    }
    Some(mantissa.scale(places))
}

/// The digits of a number as one integer with a power of ten.
struct Mantissa {
    value: u128,
    exponent: i64,
    /// Digits beyond the integer's reach were not all zero.
    remainder: bool,
}

impl Mantissa {
    fn read(text: &[u8]) -> Option<Mantissa> {
        let (digits, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], read_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let mut mantissa = Mantissa { value: 0, exponent, remainder: false };
        let mut after_point = false;
        for byte in digits {
            match byte {
                b'0'..=b'9' => mantissa.push(byte - b'0', after_point),
                b'.' if !after_point => after_point = true,
                _ => return None,
            }
        }
        digits.first().is_some_and(u8::is_ascii_digit).then_some(mantissa)
    }

    fn push(&mut self, digit: u8, after_point: bool) {
        // 10^37 leaves room for one more digit in 128 bits.
        const FULL: u128 = 10_u128.pow(37);
        if self.value < FULL {
            self.value = self.value * 10 + u128::from(digit);
            self.exponent = self.exponent.saturating_sub(i64::from(after_point));
        } else {
            self.remainder |= digit != 0;
            self.exponent = self.exponent.saturating_add(i64::from(!after_point));
        }
    }

    fn scale(&self, places: i64) -> u128 {
        let shift = self.exponent.saturating_add(places);
        let power = u32::try_from(shift.unsigned_abs()).ok().and_then(|shift| 10_u128.checked_pow(shift));
        match power {
            _ if self.value == 0 => u128::from(self.remainder),
            Some(power) if shift >= 0 => self.value.saturating_mul(power).saturating_add(u128::from(self.remainder)),
            Some(power) if self.value.is_multiple_of(power) => self.value / power + u128::from(self.remainder),
            Some(power) => self.value / power + 1,
            None if shift > 0 => u128::MAX,
            None => 1,
        }
    }
}

fn read_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i64, |sum, byte| sum.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, nano: Option<i64>) {
        assert_eq!(nano_usd(text.as_bytes()), nano.map(NanoUsd), "{text}");
    }

    #[test]
    fn amounts() {
        check("0", Some(0));
        check("0.0", Some(0));
        check("-0.0", Some(0));
        check("1", Some(1_000_000_000));
        check("0.00014", Some(140_000));
        check("1.4e-04", Some(140_000));
        check("1.4E-4", Some(140_000));
        check("1e+1", Some(10_000_000_000));
        check("0.0000000001", Some(1));
        check("0.0000000011", Some(2));
        check("5e-324", Some(1));
        check("0e99999999999999999999", Some(0));
        check("0.00000000100000000000000000000000000000000000000000000000001", Some(2));
        check("-0.01", None);
        check("1e99", None);
        check("9223372037", None);
        check("", None);
        check("null", None);
        check("\"0.1\"", None);
        check("1e", None);
        check("{}", None);
    }

    #[test]
    fn counts() {
        for (text, expected) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("1e3", Some(1000)),
            ("0", Some(0)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e400", Some(u64::MAX)),
            ("-1", None),
            ("null", None),
        ] {
            assert_eq!(count(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_reads_back(nano in 0..i64::MAX) {
            prop_assert_eq!(nano_usd(NanoUsd(nano).to_string().as_bytes()), Some(NanoUsd(nano)));
        }

        #[test]
        fn any_double_is_read_within_a_nano(dollars in 0.0..1e6_f64) {
            let read = nano_usd(format!("{dollars}").as_bytes()).map_or(-1, |nano| nano.0);
            prop_assert!((read as f64 - dollars * 1e9).abs() <= 1.0 + dollars * 1e-6, "{} {}", dollars, read);
        }

        #[test]
        fn garbage_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (nano_usd(&bytes), count(&bytes));
        }
    }
}
