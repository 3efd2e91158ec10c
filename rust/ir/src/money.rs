//! Money as integers: prices in pico-dollars per unit, amounts in nano-dollars.
//!
//! US dollars per million tokens × 10⁶ = pico-dollars per token, so every decimal price with up to six places per million is exact.

use std::fmt;

/// A price: 10⁻¹² US dollars per unit (token, request, image …).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PicoUsd(pub u64);

/// An amount: 10⁻⁹ US dollars. Signed, because corrections are entries too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NanoUsd(pub i64);

/// Decimal places of a nano-dollar amount.
const NANO_PLACES: u32 = 9;

impl NanoUsd {
    /// Rounds a sum of pico-dollars up to nano-dollars: the one rounding of a generation. `None` when it does not fit.
    pub fn from_pico_ceil(pico: u128) -> Option<NanoUsd> {
        i64::try_from(pico.div_ceil(1000)).ok().map(NanoUsd)
    }

    /// Reads a plain decimal number of dollars, such as `12.5` or `0.000000001`. No sign but `-`, no exponent, at most nine decimals.
    pub fn parse(text: &str) -> Result<NanoUsd, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let value = i64::try_from(parse_scaled(digits, NANO_PLACES)?).map_err(|_| MoneyError::TooLarge)?;
        Ok(NanoUsd(if negative { -value } else { value }))
    }

    /// Appends the amount in dollars as an exact decimal without trailing zeros: `0`, `0.00000225`, `12.5`. A valid JSON number.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        let nano = self.0.unsigned_abs();
        let (mut whole, mut fraction) = (nano / 1_000_000_000, nano % 1_000_000_000);
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (whole % 10) as u8;
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
        if fraction == 0 {
            return;
        }
        out.push(b'.');
        let mut scale = 100_000_000;
        while fraction > 0 {
            out.push(b'0' + (fraction / scale) as u8);
            fraction %= scale;
            scale /= 10;
        }
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write(&mut text);
        formatter.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Why a decimal text is not an amount or price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyError {
    /// Not digits with at most one point between them.
    NotDecimal,
    /// More decimal places than the unit holds; rounding silently would lose money.
    TooPrecise,
    /// Beyond the integer's range.
    TooLarge,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            MoneyError::NotDecimal => "not a plain decimal number",
            MoneyError::TooPrecise => "more decimal places than can be kept exactly",
            MoneyError::TooLarge => "too large",
        })
    }
}

impl std::error::Error for MoneyError {}

/// Reads an unsigned plain decimal and scales it by 10^`places`, exactly.
///
/// # Errors
/// [`MoneyError`] when the text is not digits with an optional point, has more places, or overflows.
pub fn parse_scaled(text: &str, places: u32) -> Result<u64, MoneyError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) || text.ends_with('.') {
        return Err(MoneyError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = places.checked_sub(fraction.len() as u32).ok_or(MoneyError::TooPrecise)?;
    let mut value = 0u64;
    for byte in whole.bytes().chain(fraction.bytes()) {
        value = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(byte - b'0'))).ok_or(MoneyError::TooLarge)?;
    }
    10u64.checked_pow(missing).and_then(|scale| value.checked_mul(scale)).ok_or(MoneyError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, nano: i64) {
        assert_eq!(NanoUsd::parse(text), Ok(NanoUsd(nano)), "{text}");
    }

    #[test]
    fn amounts_are_read_exactly() {
        check("0", 0);
        check("5", 5_000_000_000);
        check("0.000000001", 1);
        check("-1.50", -1_500_000_000);
        check("12.000000000000", 12_000_000_000);
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", MoneyError::NotDecimal),
            ("1.", MoneyError::NotDecimal),
            (".5", MoneyError::NotDecimal),
            ("1e3", MoneyError::NotDecimal),
            ("+1", MoneyError::NotDecimal),
            ("1.2.3", MoneyError::NotDecimal),
            ("0.0000000001", MoneyError::TooPrecise),
            ("99999999999", MoneyError::TooLarge),
        ] {
            assert_eq!(NanoUsd::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn one_round_up_per_sum() {
        assert_eq!(NanoUsd::from_pico_ceil(0), Some(NanoUsd(0)));
        assert_eq!(NanoUsd::from_pico_ceil(1), Some(NanoUsd(1)));
        assert_eq!(NanoUsd::from_pico_ceil(1000), Some(NanoUsd(1)));
        assert_eq!(NanoUsd::from_pico_ceil(u128::MAX), None);
    }

    proptest! {
        #[test]
        fn text_reads_back(nano in any::<i64>().prop_filter("unsigned_abs parses", |nano| *nano != i64::MIN)) {
            prop_assert_eq!(NanoUsd::parse(&NanoUsd(nano).to_string()), Ok(NanoUsd(nano)));
        }
    }
}
