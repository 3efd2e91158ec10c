//! The estimator's bounds. Its error per kind of text is measured by `benches/micro/tokens.py` and bounded by `tests/unit/test_tokens.py`.

use fairlead_tokens::estimate::{Estimation, estimate};
use fairlead_tokens::{Encoding, Family};
use proptest::prelude::*;

#[test]
fn only_nothing_is_nothing() {
    assert_eq!(estimate("", Family::O200k), 0);
    for text in ["a", " ", "\n", "\0", "é", "中", "👍", "\u{10ffff}"] {
        assert!(estimate(text, Family::O200k) >= 1, "{text:?}");
    }
}

#[test]
fn families_differ_where_their_vocabularies_do() {
    let hindi = "मशीन अनुवाद एक प्रक्रिया है जिसमें पाठ का अनुवाद कंप्यूटर द्वारा किया जाता है।";
    assert!(estimate(hindi, Family::Cl100k) > 2 * estimate(hindi, Family::O200k));
    let digits = "0123456789".repeat(10);
    assert!(estimate(&digits, Family::Qwen) > estimate(&digits, Family::O200k) * 3 / 2);
    let prose = "The quick brown fox jumps over the lazy dog and goes home.";
    assert!(estimate(prose, Family::ClaudeFine) > estimate(prose, Family::Claude));
}

#[test]
fn a_run_of_a_script_is_not_as_many_beginnings() {
    assert!(estimate(&"я".repeat(100), Family::O200k) < 50 * estimate("я", Family::O200k));
}

proptest! {
    #[test]
    fn an_estimate_has_bounds(text in "\\PC{1,60}|[a-z]{1,80}|[ -~\n\t]{1,80}|[\u{80}-\u{2ffff}]{1,30}") {
        let (exact, estimated) = (Encoding::O200kBase.count(&text), estimate(&text, Family::O200k));
        prop_assert!(estimated >= 1 && estimated <= text.len() as u64);
        prop_assert!(exact <= 10 * estimated + 2, "{exact} tokens, {estimated} estimated");
    }

    #[test]
    fn pieces_are_estimated_as_the_whole(pieces in prop::collection::vec("\\PC{0,8}", 0..8)) {
        let mut estimation = Estimation::new(Family::Gemini);
        for piece in &pieces {
            estimation.add(piece);
        }
        prop_assert_eq!(estimation.tokens(), estimate(&pieces.concat(), Family::Gemini));
    }
}
