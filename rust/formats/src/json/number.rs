//! The grammar of numbers, one byte at a time, so that a slice may end anywhere in one.

/// Where in a number the scanner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// After `-`.
    Minus,
    /// After a leading `0`.
    Zero,
    /// Inside the digits before the point.
    Integer,
    /// After the point.
    Point,
    /// Inside the digits behind the point.
    Fraction,
    /// After `e`.
    Exponent,
    /// After the exponent's sign.
    Sign,
    /// Inside the exponent's digits.
    Power,
}

impl Number {
    /// The state after the first byte, which is a digit or the minus sign.
    #[inline(always)]
    pub(super) fn first(byte: u8) -> Self {
        match byte {
            b'-' => Self::Minus,
            b'0' => Self::Zero,
            _ => Self::Integer,
        }
    }

    /// Whether a digit leaves the state as it is.
    #[inline(always)]
    pub(super) fn takes_digits(self) -> bool {
        matches!(self, Self::Integer | Self::Fraction | Self::Power)
    }

    /// The state after one more byte, or `None` when the byte cannot continue the number.
    #[inline(always)]
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Integer, b'0'..=b'9') | (Self::Minus, b'1'..=b'9') => Self::Integer,
            (Self::Minus, b'0') => Self::Zero,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    /// Whether the number is whole and `byte` is none that could belong to a number.
    #[inline(always)]
    pub(super) fn ends_before(self, byte: u8) -> bool {
        // A digit behind `0` does not end the number: `01` is one malformed number, not two.
        self.is_whole() && !byte.is_ascii_digit() && !matches!(byte, b'.' | b'e' | b'E')
    }

    /// Whether the number may end here.
    #[inline(always)]
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}
